"""Files of this machine and of elsewhere: what an input stands for, and their bytes."""

import contextlib
import dataclasses
import glob
import hashlib
import io
import os
import posixpath
import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from bert_jax.errors import UserError, first_line

LOCAL = "file://"
PACKAGES = {
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "s3": "s3fs",
    "s3a": "s3fs",
    "http": "aiohttp",
    "https": "aiohttp",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "hf": "huggingface_hub",
    "sftp": "paramiko",
    "ssh": "paramiko",
}
READ_AHEAD = 1 << 20
# What file systems call what changes with a file's content. Their other facts can change without it, as signed URLs do.
VERSION_KEYS = (
    "ETag",
    "etag",
    "md5Hash",
    "generation",
    "LastModified",
    "last_modified",
    "mtime",
    "modified",
    "created",
)


@dataclasses.dataclass(frozen=True)
class File:
    """`name` is the path below what was asked for: the same wherever that lies. `identity` is the same for one file
    found in two ways. `named` is whether the input names just this file.
    """

    path: str
    name: str
    identity: str
    named: bool = False


def protocol_of(path: str) -> str:
    """The `gs` of gs://bucket/file; empty for a path of this machine."""
    found = re.match(r"([a-z][a-z0-9+.-]*)://", path)
    return found[1] if found and found[1] != "file" else ""


def list_files(given: str) -> list[File]:
    """The files that an input stands for, sorted: itself, those below a folder, or those that fit a pattern."""
    if protocol_of(given):
        return _list_remote(given)
    given = given.removeprefix(LOCAL)
    return [File(path, name, os.path.realpath(path), path == given) for path, name in _list_local(given)]


def open_file(path: str) -> BinaryIO:
    """The bytes of a file, as they lie there."""
    if not protocol_of(path):
        return open(path, "rb")
    system, inner = _filesystem(path)
    with disk_and_network_errors(path):
        return io.BufferedReader(system.open(inner, "rb"), READ_AHEAD)


def size_and_stamp(path: str) -> tuple[int, str]:
    """Its bytes, and a text that changes when the file does."""
    if not protocol_of(path):
        status = Path(path).stat()
        return status.st_size, str(status.st_mtime_ns)
    system, inner = _filesystem(path)
    with disk_and_network_errors(path):
        about = system.info(inner)
    if about.get("size") is None:
        raise UserError(f"{path}: the server does not tell its size. Download it first")
    version = [about["size"], *(str(about[key]) for key in VERSION_KEYS if key in about)]
    return about["size"], hashlib.sha256(repr(version).encode()).hexdigest()[:16]


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
    system, path = _filesystem(given)
    web = protocol_of(given) in ("http", "https")
    if re.search(r"[*\[]" if web else r"[*?\[]", path):  # the ? of an address is no pattern
        root = posixpath.dirname(path[: re.search(r"[*?\[]", path).start()])  # type: ignore[union-attr]
        with disk_and_network_errors(given):
            found = sorted(name for entry in system.glob(path) for name in system.find(entry))
        if not found:
            raise UserError(f"{given}: no file fits this pattern")
    elif web and not path.endswith("/"):
        return [File(given, posixpath.basename(urllib.parse.urlsplit(given).path), given, True)]
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


def _filesystem(path: str) -> tuple[Any, str]:
    """The fsspec file system of an address, and the path in it."""
    import fsspec

    protocol = protocol_of(path)
    try:
        return fsspec.core.url_to_fs(path)
    except ImportError as error:
        package = PACKAGES.get(protocol)
        way_out = f"pip install {package}" if package else str(error)
        raise UserError(f"{path}: {protocol}:// needs one more package: {way_out}") from None
    except Exception as error:  # each file system has its own
        raise UserError(f"{path}: {protocol}:// cannot be used ({first_line(error)})") from None


@contextlib.contextmanager
def disk_and_network_errors(path: str) -> Iterator[None]:
    """Turns what the reading of a file raises into one line. File systems of elsewhere raise errors of their own."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: no such file or folder") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or first_line(error)})") from None
    except Exception as error:
        if not protocol_of(path):
            raise
        raise UserError(f"{path}: cannot be read ({first_line(error)})") from None
