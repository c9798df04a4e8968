"""Processes of one job: join it, agree on values, and end together. No other file calls jax.distributed.

Processes exchange small JSON values through the key-value store of JAX's coordination service, which needs no device
and no time limit: one process may read a large checkpoint while the others wait for its answer. In a job of one process
every function returns at once.
"""

import contextlib
import ctypes
import itertools
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
from jax._src import distributed  # the key-value store has no public name

from bert_jax import process, status_line
from bert_jax.config import HostsConfig
from bert_jax.errors import MISTAKE, STOPPED, Stopped, UserError, first_line, listed
from bert_jax.launchers import Job, find_job
from bert_jax.terminal import announce, clipped, one_line

T = TypeVar("T")

HEARTBEAT_SECONDS = 30  # without a sign of life, after which a process counts as lost; JAX waits 100
POLL_SECONDS = 1.0
NOTE_SECONDS = 30.0  # of waiting for other processes, before a note says for which
FAILURE_SECONDS = 5.0  # in which the reason of a lost connection may still arrive
LOST_CONNECTION = ("onnection", "UNAVAILABLE", "ABORTED", "CANCELLED", "DEADLINE_EXCEEDED", "NCCL", "Gloo")  # in errors
_FAILED, _EXCHANGED = "bert_jax/failed/", "bert_jax/exchanged/"
_SIGNAL_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_int)

_numbers = itertools.count()  # of exchanges; the same in all processes
_not_deleted: list[int] = []
_abort_handler: Any = None  # referenced as long as the process lives


class OtherProcessFailed(UserError):
    """An error of another process of the job, which has printed it."""


def join(config: HostsConfig) -> None:
    """Join the other processes of the job, if there are any. Call this before the first use of a device.

    Raises UserError where the job is named in part, or its first process cannot be reached.
    """
    if jax.distributed.is_initialized():
        return
    job = find_job(config)
    if job is None:
        return
    jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM from us
    waiting = threading.Timer(NOTE_SECONDS, _note_waiting, [job])
    waiting.daemon = True
    waiting.start()
    if process.is_command:
        _explain_aborts(job)  # also where another process is lost before all have joined
    try:
        jax.distributed.initialize(
            job.coordinator,
            job.count,
            job.index,
            local_device_ids=job.local_devices,
            cluster_detection_method="deactivate",
            initialization_timeout=config.timeout,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"process {job.index} of {job.count} could not join the job at {job.coordinator} within {config.timeout} "
            f"seconds: {first_line(error)}. Start all {job.count} processes, with the same coordinator"
        ) from None
    finally:
        waiting.cancel()
    process.is_quiet = job.index > 0
    if process.is_command:
        threading.Thread(target=_end_when_another_fails, name="other processes", daemon=True).start()


def require_single_process(work: str) -> None:
    """Raise UserError where a launcher started this process as one of several. Such a process must not join them."""
    job = find_job(HostsConfig())
    if job is not None:
        raise UserError(f"{work} needs a single process, this is one of {job.count}. Start it on one host")


def count() -> int:
    """Return the number of processes in the job."""
    return distributed.global_state.num_processes if jax.distributed.is_initialized() else 1


def index() -> int:
    """Return the number of this process."""
    return distributed.global_state.process_id if jax.distributed.is_initialized() else 0


def is_first() -> bool:
    """Return whether this process writes the files of the job, and prints for all."""
    return index() == 0


def gather(value: Any) -> list[Any]:
    """Return the JSON value of each process, by its number. All processes have to call this.

    Raises OtherProcessFailed where another process fails meanwhile.
    """
    if count() == 1:
        return [value]
    number = next(_numbers)
    _store().key_value_set(f"{_EXCHANGED}{number}/{index()}", json.dumps(value))
    values = [json.loads(_receive(number, sender)) for sender in range(count())]
    if is_first():  # every process has read the exchanges before this one
        for earlier in _not_deleted:
            _store().key_value_delete(f"{_EXCHANGED}{earlier}/")
        _not_deleted[:] = [number]
    return values


def once(action: Callable[[], T]) -> T:
    """Run `action` in the first process, and return its JSON value in all. All processes have to call this.

    Its UserError is raised in the first process; the others raise OtherProcessFailed when that one has failed.
    """
    if count() == 1:
        return action()
    number = next(_numbers)
    if not is_first():
        return json.loads(_receive(number, 0))
    result = action()
    _store().key_value_set(f"{_EXCHANGED}{number}/0", json.dumps(result))
    _not_deleted.append(number)
    return result


def wait_for_all() -> None:
    """Wait until every process of the job has called this.

    A collective operation has to begin in all processes within 30 seconds of each other on a CPU, so processes meet
    after work that may take longer in some.
    """
    gather(None)


def require_same(values: dict[str, Any], hint: str) -> None:
    """Raise UserError where a value is not the same in all processes."""
    gathered = gather(values)
    for name, value in gathered[0].items():
        others = [i for i, other in enumerate(gathered) if other.get(name) != value]
        if others:
            raise UserError(
                f"{name} differs between the processes of the job: {value!r} in process 0, "
                f"{gathered[others[0]].get(name)!r} in process {others[0]}. {hint}"
            )


@contextlib.contextmanager
def ending_together() -> Iterator[None]:
    """End all processes of the job when the block fails in one, each with one line.

    Raises Stopped where another process is lost.
    """
    try:
        yield
    except (OtherProcessFailed, Stopped):
        raise
    except jax.errors.JaxRuntimeError as error:
        if count() == 1:
            raise
        if not any(word in str(error) for word in LOST_CONNECTION):
            _report_failure(first_line(error))
            raise
        process.exits_at_once = True
        if reason := _wait_for_failure():
            raise OtherProcessFailed(reason) from None
        raise Stopped(_lost(first_line(error), index(), count())) from None
    except Exception as error:
        _report_failure(first_line(error))
        raise


def describe() -> str:
    """Return the number of this process and its host, for messages; empty in a job of one process."""
    return _place(index(), count()) if count() > 1 else ""


def _place(number: int, processes: int) -> str:
    return f"process {number} of {processes} on {socket.gethostname()}"


def _store() -> Any:
    return distributed.global_state.client


def _receive(number: int, sender: int) -> str:
    """Wait for the value that a process gives in an exchange."""
    key = f"{_EXCHANGED}{number}/{sender}"
    start = time.monotonic()
    is_noted = False
    while True:
        try:
            return _store().blocking_key_value_get(key, int(POLL_SECONDS * 1000))
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise
        if failure := _failure():
            process.exits_at_once = True
            raise OtherProcessFailed(failure)
        if not is_noted and time.monotonic() - start > NOTE_SECONDS:
            is_noted = True
            announce(f"note: process {index()} waits for process {sender} of {count()}")


def _failure() -> str | None:
    """Return the error of another process, or None."""
    failures = _store().key_value_dir_get(_FAILED)
    messages = {int(key.rpartition("/")[2]): message for key, message in failures}
    others = sorted(number for number in messages if number != index())
    return f"process {others[0]} of {count()}: {messages[others[0]]}" if others else None


def _report_failure(message: str) -> None:
    """Tell the other processes of an error, and give them time to read it: this process may be the coordinator."""
    if count() == 1:
        return
    process.exits_at_once = True
    with contextlib.suppress(jax.errors.JaxRuntimeError):
        _store().key_value_set(f"{_FAILED}{index()}", clipped(one_line(message)))
        if is_first():
            time.sleep(2 * POLL_SECONDS)


def _wait_for_failure() -> str | None:
    """Return the error of another process as soon as it is known, or None after a few seconds.

    The connection to a process that fails may break before its error is read.
    """
    end = time.monotonic() + FAILURE_SECONDS
    with contextlib.suppress(jax.errors.JaxRuntimeError):
        while time.monotonic() < end:
            if failure := _failure():
                return failure
            time.sleep(POLL_SECONDS / 4)
    return None


def _end_when_another_fails() -> None:
    """End this process when another one has failed: it may wait for that one in a collective operation."""
    while True:
        time.sleep(POLL_SECONDS)
        if process.exits_at_once or not jax.distributed.is_initialized():
            return
        try:
            failure = _failure()
        except jax.errors.JaxRuntimeError:
            return  # JAX ends the process, and _explain_aborts says why
        if failure:
            time.sleep(POLL_SECONDS)  # where the main thread raises OtherProcessFailed itself
            if not process.exits_at_once:
                end_process(failure, MISTAKE)


def end_process(message: str, code: int) -> None:
    """Print a line and end the process at once, from any thread, without waiting for devices or other processes."""
    status_line.clear()
    announce(f"bert-jax: {clipped(one_line(message))}")
    os._exit(code)


def _explain_aborts(job: Job) -> None:
    """Make JAX's abort after the loss of a process end with our line and exit code 75, below its own messages.

    JAX calls abort() from a thread of its own. A handler written in Python would only run later in the main thread, so
    this one is installed as a C function. Python's own handler functions cannot do this.
    """
    global _abort_handler
    reason = "JAX has ended this process, see above"
    message = f"bert-jax: {_lost(reason, job.index, job.count)}\n".encode()

    def explain(number: int) -> None:
        os.write(2, message)
        os._exit(STOPPED)

    _abort_handler = _SIGNAL_HANDLER(explain)
    install = getattr(ctypes.CDLL(None), "signal", None)
    if install is not None:
        install.argtypes, install.restype = (ctypes.c_int, _SIGNAL_HANDLER), ctypes.c_void_p
        install(signal.SIGABRT, _abort_handler)


def _lost(reason: str, number: int, processes: int) -> str:
    return (
        f"{_place(number, processes)}: another process was lost ({reason}). Steps since the last checkpoint are lost, "
        "the same command goes on from there"
    )


def _note_waiting(job: Job) -> None:
    others = [number for number in range(job.count) if number != job.index]
    announce(f"note: process {job.index} of {job.count} waits at {job.coordinator} for the others, {listed(others, 3)}")
