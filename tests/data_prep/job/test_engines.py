"""Tasks in worker processes: results, failures, cost, and the number of workers."""

import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from bert_jax.errors import UserError
from data_prep.job import worker_count
from data_prep.job.engines import run_tasks
from data_prep.job.task_cost import TaskCost, TaskReporter


def square(task: int, report: TaskReporter) -> int:
    report(0.5)
    return task * task


def die_once(folder: Path, times: int, task: int, report: TaskReporter) -> int:
    """Kill the worker of task 2 the first `times` times, as the kernel does when memory runs out."""
    deaths = list(folder.iterdir())
    if task == 2 and len(deaths) < times:
        (folder / str(len(deaths))).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return task * task


def refuse(task: int, report: TaskReporter) -> int:
    raise UserError(f"task {task} is refused")


def fail(task: int, report: TaskReporter) -> int:
    raise KeyError("a defect")


def exhaust(task: int, report: TaskReporter) -> int:
    raise MemoryError


def leave(task: int, report: TaskReporter) -> int:
    os._exit(3)


def run(function, tasks=range(5), workers=2) -> tuple[dict[int, int], dict[int, float]]:
    results, shares = {}, {}

    def done(index: int, result: int, cost: TaskCost) -> None:
        assert 1 << 20 < cost.peak_bytes < 1 << 40 and cost.seconds["other"] >= 0
        results[index] = result

    run_tasks(function, list(tasks), workers=workers, on_progress=shares.__setitem__, on_done=done)
    return results, shares


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_is_done_and_reported(workers):
    results, shares = run(square, workers=workers)
    assert results == {i: i * i for i in range(5)}
    assert shares == dict.fromkeys(range(5), 0.5)


def test_task_of_a_killed_worker_is_tried_again(tmp_path):
    assert run(partial(die_once, tmp_path, 1))[0] == {i: i * i for i in range(5)}


def test_task_that_kills_two_workers_is_named_and_the_others_are_done(tmp_path):
    results = {}
    with pytest.raises(UserError, match=r"1 of 5 parts failed twice .*killed by signal 9") as error:
        run_tasks(
            partial(die_once, tmp_path, 2),
            list(range(5)),
            workers=2,
            on_progress=lambda index, share: None,
            on_done=lambda index, result, cost: results.update({index: result}),
        )
    assert "\n" not in str(error.value)
    assert results == {i: i * i for i in (0, 1, 3, 4)}


@pytest.mark.parametrize("workers", [1, 2])
def test_user_error_of_a_worker_is_raised_as_one_line(workers):
    with pytest.raises(UserError, match=r"^task \d is refused$"):
        run(refuse, workers=workers)


def test_defect_in_a_worker_is_raised_with_its_traceback():
    with pytest.raises(RuntimeError, match=r"(?s)a worker failed.*KeyError: 'a defect'"):
        run(fail)


@pytest.mark.parametrize("workers", [1, 2])
def test_memory_error_names_the_task_in_one_line(workers):
    with pytest.raises(UserError, match=r"^\d: out of memory. Use fewer --workers, or a smaller --part-mb$"):
        run(exhaust, workers=workers)


def test_workers_that_exit_are_not_restarted_forever():
    with pytest.raises(UserError, match=r"a worker ended with code 3; a script needs `if __name__"):
        run(leave, tasks=range(50))


def test_time_is_counted_for_the_innermost_stage():
    report = TaskReporter()
    with report.stage("outer"):
        time.sleep(0.02)
        for _ in report.each("inner", (time.sleep(0.03) for _ in range(2))):
            time.sleep(0.01)
    seconds = report.cost().seconds
    assert seconds["inner"] >= 0.06 and 0.04 <= seconds["outer"] < seconds["inner"] + 0.05
    assert set(seconds) == {"other", "outer", "inner"}


def test_reports_of_progress_are_rate_limited():
    shares: list[float] = []
    report = TaskReporter(shares.append)
    for step in range(1000):
        report(step / 1000)
    assert shares[0] == 0 and len(shares) < 10


@pytest.mark.parametrize(
    "files, expected",
    [
        ({}, 64),
        ({"cpu.max": "max 100000"}, 64),
        ({"cpu.max": "350000 100000"}, 3),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 64),
        ({"cpu/cpu.cfs_quota_us": "700000", "cpu/cpu.cfs_period_us": "100000"}, 7),
    ],
)
def test_worker_count_respects_the_cpu_quota_of_a_container(tmp_path, monkeypatch, files, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert worker_count.granted_cores(tmp_path) == expected
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "2")
    assert worker_count.granted_cores(tmp_path) == min(2, expected)


def test_worker_count_respects_the_memory(tmp_path, monkeypatch):
    (tmp_path / "meminfo").write_text("MemTotal: 99 kB\nMemAvailable:    5242880 kB\n")
    assert worker_count.memory_bytes(tmp_path, tmp_path / "meminfo") == 5 << 30
    (tmp_path / "memory.max").write_text(f"{3 << 30}\n")
    assert worker_count.memory_bytes(tmp_path, tmp_path / "meminfo") == 3 << 30
    monkeypatch.setattr(worker_count, "granted_cores", lambda: 64)
    monkeypatch.setattr(worker_count, "memory_bytes", lambda: 7 << 29)
    assert worker_count.default_workers() == 3
    monkeypatch.setattr(worker_count, "memory_bytes", lambda: 1 << 20)
    assert worker_count.default_workers() == 1
