"""A file of answers that grows a line at a time and appears when it is whole; interrupted, it goes on."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

from bert_jax.errors import UserError
from bert_jax.files import SETTINGS_BYTES, read_text
from bert_jax.output import replace_file
from bert_jax.terminal import say
from bert_jax.wording import counted


@contextlib.contextmanager
def answer_file(
    output: Path, job: str, *, resumable: bool, finish: Callable[[Path, Path], None] = replace_file
) -> Iterator[tuple[TextIO, int]]:
    """Where lines go, and how many are there from the same `job`, which was interrupted.

    `finish` makes the output, its second argument, of the file of all lines, its first.
    Until all are written they lie beside, under a name of their own, with a note of the job: another job starts afresh,
    and so does one that is not `resumable`. A mistake in the input leaves nothing; a full disk keeps what is there.
    Raises UserError where another process is writing the same file.
    """
    target = Path(os.path.realpath(output))
    beside = target.with_name(f".{target.name}.answers")
    note = target.with_name(f".{target.name}.job")
    complete = False  # whether all lines are there
    try:
        with beside.open("a+b") as held:
            _lock(held, beside, output)
            finished = _cut_to_lines(held) if resumable and _is_of(note, job) else 0
            if not finished:
                held.truncate(0)  # before the note, so that no job takes another's lines for its own
                note.write_text(job)
            else:
                say(f"going on after {counted(finished, 'row')}", to_stderr=True)
            with beside.open("a", encoding="utf-8") as file:
                yield file, finished
            complete = True
            finish(beside, target)
            _remove(beside, note)
    except UserError:
        if not (complete and resumable):
            _remove(beside, note)
        raise
    except BlockingIOError:
        raise UserError(f"{output}: another process is writing it. Wait for it, or choose another --output") from None
    except OSError as error:
        if error.errno != errno.ENOSPC or not resumable:
            _remove(beside, note)
            raise UserError(f"{output}: {error.strerror}. Make room, or choose another --output") from None
        raise UserError(f"{output}: {error.strerror}. Make room and start the same command again: it goes on") from None


def _lock(held: BinaryIO, beside: Path, output: Path) -> None:
    """From now on until it is closed no other process writes the file. Raises BlockingIOError where one does."""
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return  # a file system without locks
    if not beside.exists() or not os.path.samestat(os.fstat(held.fileno()), beside.stat()):
        raise BlockingIOError(f"{output} was finished by another process just now")


def _is_of(note: Path, job: str) -> bool:
    """Return whether the lines that an interrupted job left belong to this job."""
    try:
        return read_text(note, limit=SETTINGS_BYTES) == job
    except UserError:  # none was left, or it is damaged
        return False


def _cut_to_lines(held: BinaryIO) -> int:
    """Whole lines of a file; what follows the last is cut off."""
    count = end = offset = 0
    held.seek(0)
    for line in held:
        offset += len(line)
        if line.endswith(b"\n"):
            count, end = count + 1, offset
    held.truncate(end)
    return count


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
