"""Write a file of predictions line by line. It appears when it is complete; an interrupted job can be resumed."""

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
    """Yield a file for lines, and the number of lines that an interrupted run of the same `job` has written.

    output     path of the output; until it is complete, the lines are in a hidden file beside it
    job        identifies the job; lines of another job are discarded
    resumable  False to start anew in any case
    finish     makes the output (second argument) from the file of all lines (first argument)

    After a UserError in the block, nothing is left; a full disk leaves the lines. Raises UserError if another process
    is writing the same file.
    """
    target = Path(os.path.realpath(output))
    partial = target.with_name(f".{target.name}.answers")
    note = target.with_name(f".{target.name}.job")
    complete = False
    try:
        with partial.open("a+b") as locked:
            _lock(locked, partial, output)
            finished = _cut_to_lines(locked) if resumable and _is_note_of(note, job) else 0
            if not finished:
                locked.truncate(0)  # before the note is written, so that no job takes the lines of another for its own
                note.write_text(job)
            else:
                say(f"resuming after {counted(finished, 'row')}", to_stderr=True)
            with partial.open("a", encoding="utf-8") as file:
                yield file, finished
            complete = True
            finish(partial, target)
            _remove(partial, note)
    except UserError:
        if not (complete and resumable):
            _remove(partial, note)
        raise
    except BlockingIOError:
        raise UserError(f"{output}: another process is writing it. Wait for it, or choose another --output") from None
    except OSError as error:
        if error.errno != errno.ENOSPC or not resumable:
            _remove(partial, note)
            raise UserError(f"{output}: {error.strerror}. Make room, or choose another --output") from None
        raise UserError(f"{output}: {error.strerror}. Make room and run the same command again to resume") from None


def _lock(file: BinaryIO, path: Path, output: Path) -> None:
    """Lock the open file at `path` until it is closed. Raises BlockingIOError if another process has locked it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return  # a file system without locks
    if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
        raise BlockingIOError(f"{output} was finished by another process just now")


def _is_note_of(note: Path, job: str) -> bool:
    """Return whether the note of an interrupted job is that of `job`."""
    try:
        return read_text(note, limit=SETTINGS_BYTES) == job
    except UserError:  # missing or damaged
        return False


def _cut_to_lines(file: BinaryIO) -> int:
    """Cut off an incomplete last line, and return the number of lines."""
    count = end = offset = 0
    file.seek(0)
    for line in file:
        offset += len(line)
        if line.endswith(b"\n"):
            count, end = count + 1, offset
    file.truncate(end)
    return count


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
