"""Run a function over many tasks in processes of this machine."""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any, Generic, Protocol, TypeVar

from bert_jax.errors import UserError
from bert_jax.wording import counted
from data_prep.job.task_cost import TaskCost, TaskReporter

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")

ATTEMPTS = 2  # of a task whose worker dies


class Engine(Protocol):
    """A way to run `function(task, report)` for every task, here or elsewhere.

    Calls `on_done(index, result, cost)` for each task, in any order, and may call `on_progress(index, share)`. If a
    worker dies, its task is tried again. A UserError of a task ends the run at once. Tasks whose workers keep dying
    raise one UserError at the end.
    """

    def __call__(
        self,
        function: Callable[[TaskT, TaskReporter], ResultT],
        tasks: Sequence[TaskT],
        *,
        on_progress: Callable[[int, float], None],
        on_done: Callable[[int, ResultT, TaskCost], None],
    ) -> None: ...


def run_task(function: Callable[[TaskT, TaskReporter], ResultT], task: TaskT, report: TaskReporter) -> ResultT:
    """Run one task and return its result. Raises UserError if memory runs out."""
    try:
        return function(task, report)
    except MemoryError:
        raise UserError(f"{task}: out of memory. Use fewer --workers, or a smaller --part-mb") from None


def run_tasks(
    function: Callable[[TaskT, TaskReporter], ResultT],
    tasks: Sequence[TaskT],
    *,
    workers: int,
    on_progress: Callable[[int, float], None],
    on_done: Callable[[int, ResultT, TaskCost], None],
) -> None:
    """Run tasks in processes of this machine (an `Engine`). With one worker or task, runs them in this process."""
    if workers == 1 or len(tasks) < 2:
        for index, task in enumerate(tasks):
            report = TaskReporter(lambda share, index=index: on_progress(index, share))  # type: ignore[misc]
            result = run_task(function, task, report)
            on_done(index, result, report.cost())
        return
    waiting = list(range(len(tasks)))[::-1]
    attempts = [0] * len(tasks)
    lost: dict[int, str] = {}
    with _worker_pool(function, min(workers, len(tasks))) as pool:
        while waiting or any(worker.index is not None for worker in pool):
            for worker in pool:
                if worker.index is None and waiting:
                    attempts[waiting[-1]] += 1
                    worker.send(waiting[-1], tasks[waiting.pop()])
            busy = {worker.inbox: worker for worker in pool if worker.index is not None}
            for inbox in multiprocessing.connection.wait(list(busy)):
                worker = busy[inbox]  # type: ignore[index]
                assert worker.index is not None
                index = worker.index
                try:
                    kind, value = worker.inbox.recv()
                except (EOFError, OSError):
                    reason = worker.reason_of_death()
                    pool[pool.index(worker)] = _Worker(function)
                    if attempts[index] < ATTEMPTS:
                        waiting.append(index)
                    else:
                        lost[index] = reason
                    continue
                if kind == "progress":
                    on_progress(index, value)
                    continue
                worker.index = None
                if kind == "user error":
                    raise UserError(value)
                if kind == "error":
                    raise RuntimeError(f"a worker failed:\n{value}")
                on_done(index, *value)
    if lost:
        reasons = "; ".join(f"{tasks[index]}: {reason}" for index, reason in sorted(lost.items())[:3])
        raise UserError(
            f"{len(lost)} of {counted(len(tasks), 'part')} failed twice ({reasons}). Start the job again to retry them"
        )


class _Worker(Generic[TaskT, ResultT]):
    """A process that runs one task after another. `index` is that of its current task."""

    def __init__(self, function: Callable[[TaskT, TaskReporter], ResultT]) -> None:
        context = multiprocessing.get_context("spawn")
        self.index: int | None = None
        self.inbox, outbox = context.Pipe()
        self.process = context.Process(target=_serve, args=(outbox, function), daemon=True)
        with _interrupts_blocked():
            self.process.start()
        outbox.close()

    def send(self, index: int, task: TaskT) -> None:
        """Start a task."""
        self.index = index
        with contextlib.suppress(OSError):  # the worker has died: the next read finds out
            self.inbox.send(task)

    def reason_of_death(self) -> str:
        """Return why the process died. Raises UserError if it ended by itself, since the next one would, too."""
        self.inbox.close()
        self.process.join(10)
        code = self.process.exitcode
        if code is not None and code < 0:
            hint = ", perhaps because memory ran out: use fewer --workers" if code == -signal.SIGKILL else ""
            return f"its worker was killed by signal {-code}{hint}"
        raise UserError(f'a worker ended with code {code}; a script needs `if __name__ == "__main__":` around the call')

    def stop(self) -> None:
        """End the process, even in the middle of a task."""
        self.inbox.close()
        if self.index is not None:
            self.process.terminate()
        self.process.join(10)


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block SIGINT in processes started within. A terminal sends Ctrl-C to all; the parent process ends the workers."""
    resource_tracker.ensure_running()  # otherwise the first worker starts it, and that unblocks SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _worker_pool(function: Callable, size: int) -> Iterator[list[_Worker]]:
    """Start workers, and stop them at the end."""
    # One worker uses one core, so threads of libraries would compete.
    one_thread = {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    before = {name: os.environ.get(name) for name in one_thread}
    os.environ.update(one_thread)
    pool: list[_Worker] = []
    try:
        for _ in range(size):
            pool.append(_Worker(function))  # one by one, so that an interrupt between two loses none
        yield pool
    finally:
        for worker in pool:
            worker.stop()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _serve(outbox: Connection, function: Callable[[Any, TaskReporter], Any]) -> None:
    """Run tasks from the pipe until its other end is closed."""
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            task = outbox.recv()
            report = TaskReporter(lambda share: outbox.send(("progress", share)))
            try:
                result = run_task(function, task, report)
                answer: tuple[str, object] = "done", (result, report.cost())
            except UserError as error:
                answer = "user error", str(error)
            except (BrokenPipeError, ConnectionResetError):
                raise
            except Exception:
                answer = "error", traceback.format_exc()
            outbox.send(answer)
