"""Files of this machine and of elsewhere: what an input stands for."""

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
class File:
    """`name` is the path below what was asked for: the same wherever that lies. `identity` is the same for one file
    found in two ways. `named` is whether the input names just this file.
    """

    path: str
    name: str
    identity: str
    named: bool = False


def list_files(given: str) -> list[File]:
    """The files that an input stands for, sorted: itself, those below a folder, or those that fit a pattern."""
    if protocol_of(given):
        return _list_remote(given)
    given = given.removeprefix(LOCAL)
    return [File(path, name, os.path.realpath(path), path == given) for path, name in _list_local(given)]


def _list_local(given: str) -> list[tuple[str, str]]:
    """(path, name) of each."""
    if Path(given).is_dir():
        return [(path, os.path.relpath(path, given)) for path in _walk(given)]
    if Path(given).exists():
        return [(given, Path(given).name)]
    if not glob.has_magic(given):
        raise UserError(f"{given}: no such file or folder")
    found = sorted(glob.glob(given, recursive=True))  # noqa: PTH207 - a Path refuses absolute patterns
    if not found:
        raise UserError(f"{given}: no file fits this pattern")
    parts = Path(given).parts
    root = Path(*parts[: next(i for i, part in enumerate(parts) if glob.has_magic(part))])
    files = [file for path in found for file in (_walk(path) if Path(path).is_dir() else [path])]
    return [(path, os.path.relpath(path, root)) for path in files]


def _walk(folder: str) -> list[str]:
    """The files below a folder, hidden ones left out, sorted; links are followed, but to no folder twice."""
    files, seen = [], set()
    for here, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [str(Path(here, name)) for name in names if not name.startswith(".")]
    return sorted(files)


def _list_remote(given: str) -> list[File]:
    system, path = filesystem(given)
    web = protocol_of(given) in WEB
    if re.search(r"[*\[]" if web else r"[*?\[]", path):  # the ? of an address is no pattern
        root = posixpath.dirname(path[: re.search(r"[*?\[]", path).start()])  # type: ignore[union-attr]
        with disk_and_network_errors(given):
            found = sorted(name for entry in system.glob(path) for name in system.find(entry))
        if not found:
            raise UserError(f"{given}: no file fits this pattern")
    elif web and not path.endswith("/"):
        return [File(given, posixpath.basename(without_query(given)), given, True)]
    else:
        with disk_and_network_errors(given):
            root = path if web or system.info(path)["type"] == "directory" else posixpath.dirname(path)
            found = sorted(system.find(path))
    names = {entry: posixpath.relpath(entry, root or posixpath.commonprefix(["/", entry])) for entry in found}
    return [
        File(system.unstrip_protocol(entry), name, system.unstrip_protocol(entry), entry == path)
        for entry, name in names.items()
        if not any(part.startswith(".") for part in name.split("/"))
    ]
