"""List the files that an input names, on this machine or at an address."""

import dataclasses
import glob
import os
import posixpath
import re
from pathlib import Path

from bert_jax.data.formats.addresses import WEB, disk_and_network_errors, filesystem, protocol_of, without_query
from bert_jax.errors import UserError

LOCAL = "file://"


@dataclasses.dataclass(frozen=True)
class InputFile:
    """A file of an input.

    name      the path below the input's folder, which does not depend on where that folder lies
    identity  the same for one file reached in two ways
    named     True if the input names this file itself, not a folder or pattern
    """

    path: str
    name: str
    identity: str
    named: bool = False


def list_files(location: str) -> list[InputFile]:
    """Return the files of an input, sorted: the file itself, those below a folder, or those that match a pattern."""
    if protocol_of(location):
        return _list_remote(location)
    location = location.removeprefix(LOCAL)
    return [InputFile(path, name, os.path.realpath(path), path == location) for path, name in _list_local(location)]


def _list_local(location: str) -> list[tuple[str, str]]:
    """Return (path, name) of each file."""
    if Path(location).is_dir():
        return [(path, os.path.relpath(path, location)) for path in _walk(location)]
    if Path(location).exists():
        return [(location, Path(location).name)]
    if not glob.has_magic(location):
        raise UserError(f"{location}: no such file or folder")
    matches = sorted(glob.glob(location, recursive=True))  # noqa: PTH207 - a Path refuses absolute patterns
    if not matches:
        raise UserError(f"{location}: no file fits this pattern")
    parts = Path(location).parts
    root = Path(*parts[: next(i for i, part in enumerate(parts) if glob.has_magic(part))])
    files = [file for path in matches for file in (_walk(path) if Path(path).is_dir() else [path])]
    return [(path, os.path.relpath(path, root)) for path in files]


def _walk(folder: str) -> list[str]:
    """Return the files below a folder, sorted, without hidden ones. Follows links, but enters no folder twice."""
    files, seen = [], set()
    for current, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(current)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [str(Path(current, name)) for name in names if not name.startswith(".")]
    return sorted(files)


def _list_remote(location: str) -> list[InputFile]:
    system, path = filesystem(location)
    web = protocol_of(location) in WEB
    if re.search(r"[*\[]" if web else r"[*?\[]", path):  # the ? of a web address is no pattern
        root = posixpath.dirname(path[: re.search(r"[*?\[]", path).start()])  # type: ignore[union-attr]
        with disk_and_network_errors(location):
            entries = sorted(name for entry in system.glob(path) for name in system.find(entry))
        if not entries:
            raise UserError(f"{location}: no file fits this pattern")
    elif web and not path.endswith("/"):
        return [InputFile(location, posixpath.basename(without_query(location)), location, True)]
    else:
        with disk_and_network_errors(location):
            root = path if web or system.info(path)["type"] == "directory" else posixpath.dirname(path)
            entries = sorted(system.find(path))
    names = {entry: posixpath.relpath(entry, root or posixpath.commonprefix(["/", entry])) for entry in entries}
    return [
        InputFile(system.unstrip_protocol(entry), name, system.unstrip_protocol(entry), entry == path)
        for entry, name in names.items()
        if not any(part.startswith(".") for part in name.split("/"))
    ]
