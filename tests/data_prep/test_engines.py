import os
import signal
from functools import partial
from pathlib import Path

import pytest

from bert_jax.errors import UserError
from data_prep.engines import Report, run_tasks


def square(task: int, report: Report) -> int:
    report(0.5)
    return task * task


def die_once(folder: Path, times: int, task: int, report: Report) -> int:
    """Task 2 is killed the first `times` times, as the kernel does it when memory runs out."""
    marks = list(folder.iterdir())
    if task == 2 and len(marks) < times:
        (folder / str(len(marks))).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return task * task


def refuse(task: int, report: Report) -> int:
    raise UserError(f"task {task} is not to my liking")


def fail(task: int, report: Report) -> int:
    raise KeyError("a defect")


def run(function, tasks=range(5), workers=2) -> tuple[dict[int, int], dict[int, float]]:
    results, shares = {}, {}
    run_tasks(function, list(tasks), workers=workers, on_progress=shares.__setitem__, on_done=results.__setitem__)
    return results, shares


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_is_done_and_told(workers):
    results, shares = run(square, workers=workers)
    assert results == {i: i * i for i in range(5)}
    assert shares == dict.fromkeys(range(5), 0.5)


def test_a_killed_worker_costs_its_task_only(tmp_path):
    assert run(partial(die_once, tmp_path, 1))[0] == {i: i * i for i in range(5)}


def test_a_task_that_kills_two_workers_is_named_and_the_others_are_done(tmp_path):
    done = {}
    with pytest.raises(UserError, match=r"1 of 5 parts failed twice .*killed by signal 9") as error:
        run_tasks(
            partial(die_once, tmp_path, 2),
            list(range(5)),
            workers=2,
            on_progress=lambda index, share: None,
            on_done=done.__setitem__,
        )
    assert "\n" not in str(error.value)
    assert done == {i: i * i for i in (0, 1, 3, 4)}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_users_mistake_comes_back_as_one_line(workers):
    with pytest.raises(UserError, match=r"^task \d is not to my liking$"):
        run(refuse, workers=workers)


def test_a_defect_comes_back_with_its_traceback():
    with pytest.raises(RuntimeError, match=r"(?s)a worker failed.*KeyError: 'a defect'"):
        run(fail)
