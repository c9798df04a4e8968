"""Runs a function over many tasks in processes of this machine."""

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
from data_prep.job.effort import Effort, Report

Task = TypeVar("Task")
Result = TypeVar("Result")

ATTEMPTS = 2  # a task whose worker died is tried once more


class Engine(Protocol):
    """`function(task, report)` has run for every task, wherever; `on_done` was called for each, in any order.

    `on_progress(index, share)` may be called, too. A worker that dies costs its task only, which is tried again. A
    UserError ends the run at once; tasks that cannot be done because their workers die are told together at the end.
    """

    def __call__(
        self,
        function: Callable[[Task, Report], Result],
        tasks: Sequence[Task],
        *,
        on_progress: Callable[[int, float], None],
        on_done: Callable[[int, Result, Effort], None],
    ) -> None: ...


def attempt(function: Callable[[Task, Report], Result], task: Task, report: Report) -> Result:
    """The result of one task; what a person can mend raises UserError."""
    try:
        return function(task, report)
    except MemoryError:
        raise UserError(f"{task}: out of memory. Use fewer --workers, or a smaller --part-mb") from None


def run_tasks(
    function: Callable[[Task, Report], Result],
    tasks: Sequence[Task],
    *,
    workers: int,
    on_progress: Callable[[int, float], None],
    on_done: Callable[[int, Result, Effort], None],
) -> None:
    """An `Engine` of processes of this machine. With one worker or task it all happens in this process."""
    if workers == 1 or len(tasks) < 2:
        for index, task in enumerate(tasks):
            report = Report(lambda share, index=index: on_progress(index, share))  # type: ignore[misc]
            result = attempt(function, task, report)
            on_done(index, result, report.effort())
        return
    waiting = list(range(len(tasks)))[::-1]
    attempts = [0] * len(tasks)
    lost: dict[int, str] = {}
    with _crew(function, min(workers, len(tasks))) as crew:
        while waiting or any(worker.index is not None for worker in crew):
            for worker in crew:
                if worker.index is None and waiting:
                    attempts[waiting[-1]] += 1
                    worker.give(waiting[-1], tasks[waiting.pop()])
            busy = {worker.inbox: worker for worker in crew if worker.index is not None}
            for inbox in multiprocessing.connection.wait(list(busy)):
                worker = busy[inbox]  # type: ignore[index]
                assert worker.index is not None
                index = worker.index
                try:
                    kind, value = worker.inbox.recv()
                except (EOFError, OSError):
                    epitaph = worker.bury()
                    crew[crew.index(worker)] = _Worker(function)
                    if attempts[index] < ATTEMPTS:
                        waiting.append(index)
                    else:
                        lost[index] = epitaph
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
        told = "; ".join(f"{tasks[index]}: {why}" for index, why in sorted(lost.items())[:3])
        raise UserError(
            f"{len(lost)} of {counted(len(tasks), 'part')} failed twice ({told}). Start the job again for these alone"
        )


class _Worker(Generic[Task, Result]):
    """A process that takes one task after the other."""

    def __init__(self, function: Callable[[Task, Report], Result]) -> None:
        context = multiprocessing.get_context("spawn")
        self.index: int | None = None
        self.inbox, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, function), daemon=True)
        with _deaf_to_interrupts():
            self.process.start()
        theirs.close()

    def give(self, index: int, task: Task) -> None:
        self.index = index
        with contextlib.suppress(OSError):  # it has died: reading from it will tell
            self.inbox.send(task)

    def bury(self) -> str:
        """The process was killed by a signal; says by which. UserError where it ended by itself: so would the next."""
        self.inbox.close()
        self.process.join(10)
        code = self.process.exitcode
        if code is not None and code < 0:
            hint = ", perhaps for want of memory: use fewer --workers" if code == -signal.SIGKILL else ""
            return f"its worker was killed by signal {-code}{hint}"
        raise UserError(f'a worker ended with code {code}; a script needs `if __name__ == "__main__":` around the call')

    def dismiss(self) -> None:
        self.inbox.close()
        if self.index is not None:
            self.process.terminate()
        self.process.join(10)


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """What is started within never sees a Ctrl-C: the terminal sends it to all, and the first process ends the rest."""
    resource_tracker.ensure_running()  # otherwise the first process starts it, and that lets interrupts through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _crew(function: Callable, size: int) -> Iterator[list[_Worker]]:
    # Each worker is a core already: the threads of the libraries would only get in each other's way.
    quiet = {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    before = {name: os.environ.get(name) for name in quiet}
    os.environ.update(quiet)
    crew: list[_Worker] = []
    try:
        for _ in range(size):
            crew.append(_Worker(function))  # one by one, so that an interrupt between two loses none
        yield crew
    finally:
        for worker in crew:
            worker.dismiss()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _serve(outbox: Connection, function: Callable[[Any, Report], Any]) -> None:
    """The life of a worker; ends when the other end of the pipe is closed."""
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            task = outbox.recv()
            report = Report(lambda share: outbox.send(("progress", share)))
            try:
                result = attempt(function, task, report)
                answer: tuple[str, object] = "done", (result, report.effort())
            except UserError as error:
                answer = "user error", str(error)
            except (BrokenPipeError, ConnectionResetError):
                raise
            except Exception:
                answer = "error", traceback.format_exc()
            outbox.send(answer)
