"""Write files and folders atomically: complete or not at all. Standard library only.

A new folder is filled under a temporary name beside its target and then renamed. A folder that exists already (a mount
point, the target of a link, an empty folder with a read-only parent) cannot be replaced by renaming: it is filled in a
hidden folder inside it, whose entries are then moved up, those named `last` after all others.
"""

import contextlib
import errno
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from bert_jax.errors import UserError

MAKING = ".making"  # hidden folder inside an existing folder, with the entries that have not been moved up yet
MOVED = "MOVED"  # file in the hidden folder with the names that are being moved up
FOREIGN = {"lost+found"}  # entries that a file system puts into its root
LOCK = ".lock"  # in a run folder: locked while a process writes the run
IGNORED = FOREIGN | {LOCK}  # entries of a folder that counts as empty
ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+")  # a Path of gs://bucket/run keeps one slash only
_NOT_RENAMED = (errno.EBUSY, errno.EACCES, errno.EPERM, errno.EROFS, errno.EXDEV)  # the target cannot be renamed over


def check_new_folder(path: Path, *, flag: str = "--output") -> None:
    """Raise UserError if no new folder can be made at `path`, before any work is done.

    An empty folder may exist there; a lock without a run and leftovers of an interrupted `whole_folder` do not count.
    """
    folder = Path(os.path.realpath(path))
    check_folder(path, flag=flag)
    if folder.is_dir() and (entries := _entries(folder)):
        shown = ", ".join(sorted(entries)[:3])
        raise UserError(f"{path} exists and is not empty ({shown}). Choose another {flag}, or remove it")


def require_local(path: Path | str, what: str) -> None:
    """Raise UserError for an address such as gs://bucket/run, where `what` needs a path of a file system."""
    match = ADDRESS.match(str(path))
    if match and match[1] != "file" and not os.path.lexists(path):
        address = f"{match[1]}://{str(path)[match.end() :]}"
        raise UserError(
            f"{address}: {what} has to be a path of a file system that all hosts see. Mount the bucket, for example "
            "with gcsfuse or s3fs, and give the path of the mount"
        )


def check_folder(path: Path, *, flag: str = "--output") -> None:
    """Raise UserError if no files can be written into a folder at `path`, which may exist and need not be empty."""
    require_local(path, flag)
    folder = Path(os.path.realpath(path))
    if os.path.lexists(folder) and not folder.is_dir():
        raise UserError(f"{path} exists and is not a folder. Choose another {flag}")
    ancestor = folder
    while not os.path.lexists(ancestor):
        ancestor = ancestor.parent
    if not ancestor.is_dir():
        raise UserError(f"{path} cannot be made: {ancestor} is not a folder. Choose another {flag}")
    _require_writable(ancestor, path, flag)


def check_new_file(path: Path, *, flag: str = "--output", overwrite: bool = False) -> None:
    """Raise UserError if no file can be written at `path`, before any work is done."""
    require_local(path, flag)
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise UserError(f"{path} is a folder. Name a file for {flag}")
    if os.path.lexists(target) and not overwrite and stat.S_ISREG(target.stat().st_mode):  # a device is written to
        raise UserError(f"{path} exists. Choose another {flag}, or remove it")
    if not target.parent.is_dir():
        raise UserError(f"{path}: its folder does not exist. Make it first")
    _require_writable(target if target.exists() else target.parent, path, flag)


@contextlib.contextmanager
def whole_folder(path: Path, *, last: Sequence[str] = (), flag: str = "--output") -> Iterator[Path]:
    """Yield an empty folder to fill; when the block ends without an error, its content is at `path`.

    After an error, `path` is as it was before. `last` names the entries that mark a finished folder. Raises UserError
    as `check_new_folder` does, and for errors of the file system.
    """
    check_new_folder(path, flag=flag)
    folder = Path(os.path.realpath(path))
    exists = folder.is_dir()
    making = folder / MAKING if exists else folder.with_name(f".{folder.name}{MAKING}")
    new_parents = [parent for parent in folder.parents if not parent.exists()]
    try:
        if exists:
            clear_leftovers(folder)
        else:
            shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        yield making
        if exists:
            _move_up(making, folder, last)
        else:
            making.rename(folder)
    except OSError as error:
        if error.filename and error.errno != errno.ENOSPC and not Path(error.filename).is_relative_to(folder.parent):
            raise  # an error of another file
        raise UserError(f"{path} cannot be made: {_reason(error)}") from None
    finally:
        if exists:
            clear_leftovers(folder)
        else:
            shutil.rmtree(making, ignore_errors=True)
            with contextlib.suppress(OSError):  # not empty: `folder` was made
                for parent in new_parents:
                    parent.rmdir()


def clear_leftovers(folder: Path) -> None:
    """Remove leftovers of an interrupted `whole_folder`: its hidden folder and the entries already moved up."""
    making = folder / MAKING
    for name in _moved(folder):
        _remove(folder / name)
    shutil.rmtree(making, ignore_errors=True)


def remove_content(folder: Path) -> None:
    """Empty a folder without removing it: it may be a mount point or the target of a link."""
    for entry in list(folder.iterdir()):
        if entry.name not in FOREIGN:
            _remove(entry)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a binary file to write; when the block ends without an error, its content is at `path`.

    Links are followed; a device or a pipe (/dev/stdout) is written to directly. After an error, `path` is as it was
    before. Raises UserError for errors of the file system.
    """
    target = Path(os.path.realpath(path))
    try:
        if os.path.lexists(target) and not stat.S_ISREG(target.stat().st_mode):
            with target.open("wb") as file:
                yield file
            return
        temporary = _open_temporary(target)
        try:
            with temporary:
                yield temporary
            replace_file(Path(temporary.name), target)
        finally:
            Path(temporary.name).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {_reason(error)}") from None


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8 with unix line ends, whole or not at all. Raises UserError as `whole_file` does."""
    try:
        content = text.encode("utf-8")
    except UnicodeEncodeError as error:  # for example a file name in another encoding
        shown = text[max(0, error.start - 40) : error.end].strip()
        raise UserError(f"{path}: {shown!r} cannot be written in UTF-8. Choose another name or text") from None
    with whole_file(path) as file:
        file.write(content)


def replace_file(source: Path, target: Path) -> None:
    """Move a finished file to `target`: by renaming, or by copying if the target cannot be renamed over.

    A file that is mounted into a container cannot be renamed over.
    """
    try:
        source.replace(target)
    except OSError as error:
        if error.errno not in _NOT_RENAMED or not target.exists():
            raise
        shutil.copyfile(source, target)
        source.unlink()


def _open_temporary(target: Path) -> BinaryIO:
    """Open the file that will become `target`: beside it, or in the temporary folder if that is not allowed."""
    try:
        return target.with_name(f".{target.name}.writing").open("wb")
    except OSError as error:
        if error.errno not in _NOT_RENAMED or not target.exists():
            raise
        handle, name = tempfile.mkstemp(prefix="bert-jax-")
        os.close(handle)
        return open(name, "wb")


def _entries(folder: Path) -> set[str]:
    """Return the names in a folder, without our leftovers, locks and entries of the file system."""
    return {entry.name for entry in folder.iterdir()} - IGNORED - {MAKING} - set(_moved(folder))


def _moved(folder: Path) -> list[str]:
    """Return the names of the entries that an interrupted `whole_folder` was moving up."""
    try:
        return (folder / MAKING / MOVED).read_text(encoding="utf-8", errors="surrogateescape").split("\n")[:-1]
    except OSError:
        return []


def _move_up(making: Path, folder: Path, last: Sequence[str]) -> None:
    """Move the entries of `making` into `folder`, those in `last` after all others."""
    names = sorted((entry.name for entry in making.iterdir()), key=lambda name: (name in last, name))
    listing = "".join(f"{name}\n" for name in names)
    (making / f"{MOVED}.writing").write_text(listing, encoding="utf-8", errors="surrogateescape")
    (making / f"{MOVED}.writing").rename(making / MOVED)
    for name in names:
        (making / name).rename(folder / name)
    (making / MOVED).unlink()  # now the folder counts as finished


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _require_writable(existing: Path, path: Path, flag: str) -> None:
    """Raise UserError if `existing`, which `path` is or will be in, cannot be written."""
    if not os.access(existing, os.W_OK):
        reason = "the file system is read-only" if os.statvfs(existing).f_flag & os.ST_RDONLY else "no permission"
        raise UserError(f"{path} cannot be written: {reason}. Choose another {flag}")


def _reason(error: OSError) -> str:
    reason = os.strerror(error.errno) if error.errno else str(error)
    return f"{reason}. Make room, and start the same command again" if error.errno == errno.ENOSPC else reason
