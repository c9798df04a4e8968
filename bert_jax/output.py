"""Write files and folders whole or not at all, wherever they lie. Standard library only.

A new folder is filled under another name beside its place and renamed. A folder that is already there (a mount point of
a container, what a link leads to, an empty folder whose parent is read-only) cannot be renamed over: it is filled in
a hidden folder within, whose entries are then moved up, the ones named `last` after all others.
"""

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from bert_jax.errors import UserError

MAKING = ".making"  # within a folder that is there; holds what is not moved up yet
MOVED = "MOVED"  # in it: the names that are being moved up
FOREIGN = {"lost+found"}  # what a file system puts into its root
_ASIDE = (errno.EBUSY, errno.EACCES, errno.EPERM, errno.EROFS, errno.EXDEV)  # a file that cannot be renamed over


def check_new_folder(path: Path, *, flag: str = "--output") -> None:
    """Raise UserError where no new folder can be made at `path`, before any work is done.

    There may be nothing, or an empty folder; what an interrupted `whole_folder` left counts as nothing.
    """
    folder = Path(os.path.realpath(path))
    check_folder(path, flag=flag)
    if folder.is_dir() and (entries := _entries(folder)):
        shown = ", ".join(sorted(entries)[:3])
        raise UserError(f"{path} exists and is not empty ({shown}). Choose another {flag}, or remove it")


def check_folder(path: Path, *, flag: str = "--output") -> None:
    """Raise UserError where no files can be written into a folder at `path`, which need not be there or be empty."""
    folder = Path(os.path.realpath(path))
    if os.path.lexists(folder) and not folder.is_dir():
        raise UserError(f"{path} exists and is not a folder. Choose another {flag}")
    there = folder
    while not os.path.lexists(there):
        there = there.parent
    if not there.is_dir():
        raise UserError(f"{path} cannot be made: {there} is not a folder. Choose another {flag}")
    _require_writable(there, path, flag)


def check_new_file(path: Path, *, flag: str = "--output", overwrite: bool = False) -> None:
    """Raise UserError where no file can be written at `path`, before any work is done."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise UserError(f"{path} is a folder. Name a file for {flag}")
    if os.path.lexists(target) and not overwrite and stat.S_ISREG(target.stat().st_mode):  # a device takes it as it is
        raise UserError(f"{path} exists. Choose another {flag}, or remove it")
    if not target.parent.is_dir():
        raise UserError(f"{path}: its folder is not there. Make it first")
    _require_writable(target if target.exists() else target.parent, path, flag)


@contextlib.contextmanager
def whole_folder(path: Path, *, last: Sequence[str] = (), flag: str = "--output") -> Iterator[Path]:
    """Yield an empty folder to fill. Where the block ends without an error, its content stands at `path`.

    Where it ends with one, `path` is as it was. `last` names the entries by which others know a finished folder.
    Raises UserError as `check_new_folder`, and for what the file system refuses.
    """
    check_new_folder(path, flag=flag)
    folder = Path(os.path.realpath(path))
    within = folder.is_dir()
    making = folder / MAKING if within else folder.with_name(f".{folder.name}{MAKING}")
    made = [parent for parent in folder.parents if not parent.exists()]  # by us, so to be removed by us
    try:
        if within:
            clear_leftovers(folder)
        else:
            shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        yield making
        if within:
            _move_up(making, folder, last)
        else:
            making.rename(folder)
    except OSError as error:
        if error.filename and error.errno != errno.ENOSPC and not Path(error.filename).is_relative_to(folder.parent):
            raise  # not of what is written here
        raise UserError(f"{path} cannot be made: {_reason(error)}") from None
    finally:
        if within:
            clear_leftovers(folder)
        else:
            shutil.rmtree(making, ignore_errors=True)
            with contextlib.suppress(OSError):  # `folder` is in it
                for parent in made:
                    parent.rmdir()


def clear_leftovers(folder: Path) -> None:
    """Remove from a folder what an interrupted `whole_folder` left: its hidden folder, and what it had moved up."""
    making = folder / MAKING
    for name in _moved(folder):
        _remove(folder / name)
    shutil.rmtree(making, ignore_errors=True)


def remove_content(folder: Path) -> None:
    """Empty a folder, which stays: it may be a mount point, or what a link leads to."""
    for entry in list(folder.iterdir()):
        if entry.name not in FOREIGN:
            _remove(entry)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a binary file. Where the block ends without an error, its content stands at `path`.

    A link is followed; a device or a pipe (/dev/stdout) is written to as it is. Raises UserError for what the file
    system refuses; `path` is then as it was.
    """
    target = Path(os.path.realpath(path))
    try:
        if os.path.lexists(target) and not stat.S_ISREG(target.stat().st_mode):
            with target.open("wb") as file:
                yield file
            return
        beside = _open_beside(target)
        try:
            with beside:
                yield beside
            replace_file(Path(beside.name), target)
        finally:
            Path(beside.name).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {_reason(error)}") from None


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8 with unix line ends, whole or not at all. Raises UserError as `whole_file`."""
    try:
        content = text.encode("utf-8")
    except UnicodeEncodeError as error:  # of a name of a file in another encoding, for one
        shown = text[max(0, error.start - 40) : error.end].strip()
        raise UserError(f"{path}: {shown!r} cannot be written in UTF-8. Choose another name or text") from None
    with whole_file(path) as file:
        file.write(content)


def replace_file(source: Path, target: Path) -> None:
    """Put a finished file at `target`, in one stroke where the file system allows it; else its bytes are copied.

    A file that a container mounts cannot be renamed over.
    """
    try:
        source.replace(target)
    except OSError as error:
        if error.errno not in _ASIDE or not target.exists():
            raise
        shutil.copyfile(source, target)
        source.unlink()


def _open_beside(target: Path) -> BinaryIO:
    """Open the file that is to become `target`: beside it, or elsewhere where its folder takes no new files."""
    try:
        return target.with_name(f".{target.name}.writing").open("wb")
    except OSError as error:
        if error.errno not in _ASIDE or not target.exists():
            raise
        handle, name = tempfile.mkstemp(prefix="bert-jax-")
        os.close(handle)
        return open(name, "wb")


def _entries(folder: Path) -> set[str]:
    """Return the names in a folder, without leftovers of ours and what a file system puts there."""
    return {entry.name for entry in folder.iterdir()} - FOREIGN - {MAKING} - set(_moved(folder))


def _moved(folder: Path) -> list[str]:
    """Return the names that an interrupted `whole_folder` was moving up."""
    try:
        return (folder / MAKING / MOVED).read_text(encoding="utf-8", errors="surrogateescape").split("\n")[:-1]
    except OSError:
        return []


def _move_up(making: Path, folder: Path, last: Sequence[str]) -> None:
    names = sorted((entry.name for entry in making.iterdir()), key=lambda name: (name in last, name))
    listing = "".join(f"{name}\n" for name in names)
    (making / f"{MOVED}.writing").write_text(listing, encoding="utf-8", errors="surrogateescape")
    (making / f"{MOVED}.writing").rename(making / MOVED)
    for name in names:
        (making / name).rename(folder / name)
    (making / MOVED).unlink()  # from here on the folder is finished


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _require_writable(there: Path, path: Path, flag: str) -> None:
    if not os.access(there, os.W_OK):
        reason = "the file system is read-only" if os.statvfs(there).f_flag & os.ST_RDONLY else "no permission"
        raise UserError(f"{path} cannot be written: {reason}. Choose another {flag}")


def _reason(error: OSError) -> str:
    reason = os.strerror(error.errno) if error.errno else str(error)
    return f"{reason}. Make room, and start the same command again" if error.errno == errno.ENOSPC else reason
