"""Local files, and files at gs://, s3://, hdfs:// or https://: their bytes, sizes and names."""

import contextlib
import hashlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from bert_jax.errors import UserError, first_line

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
WEB = ("http", "https")
READ_AHEAD = 1 << 20
# The names that file systems give to values that change with the content. Others, as signed URLs, change without it.
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
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+(.+)", re.DOTALL)  # a Path of gs://bucket/file keeps only one slash


def address_of(path: Path | str) -> str:
    """Return the address or local path that `path` holds; a Path may hold either."""
    match = _ADDRESS.fullmatch(str(path))
    if match is None:
        return str(path)
    return f"/{match[2]}" if match[1] == "file" else f"{match[1]}://{match[2]}"


def protocol_of(path: str) -> str:
    """Return `gs` for gs://bucket/file, and an empty string for a local path."""
    match = re.match(r"([a-z][a-z0-9+.-]*)://", path)
    return match[1] if match and match[1] != "file" else ""


def without_query(address: str) -> str:
    """Return a web address without its query and fragment, which are not part of the file's name; others unchanged."""
    return re.split(r"[?#]", address, maxsplit=1)[0] if protocol_of(address) in WEB else address


def open_file(path: str) -> BinaryIO:
    """Open a file to read its bytes."""
    if not protocol_of(path):
        return open(path, "rb")
    system, inner = filesystem(path)
    with disk_and_network_errors(path):
        return io.BufferedReader(system.open(inner, "rb"), READ_AHEAD)


def size_and_stamp(path: str) -> tuple[int, str]:
    """Return the size in bytes, and a text that changes with the file."""
    if not protocol_of(path):
        status = Path(path).stat()
        return status.st_size, str(status.st_mtime_ns)
    system, inner = filesystem(path)
    with disk_and_network_errors(path):
        about = system.info(inner)
    if about.get("size") is None:
        raise UserError(f"{path}: the server does not tell its size. Download it first")
    version = [about["size"], *(str(about[key]) for key in VERSION_KEYS if key in about)]
    return about["size"], hashlib.sha256(repr(version).encode()).hexdigest()[:16]


def is_file(path: Path | str) -> bool:
    """Return whether a file exists. A web address is assumed to: checking would cost as much as reading it."""
    address = address_of(path)
    protocol = protocol_of(address)
    if not protocol:
        return Path(address).is_file()
    if protocol in WEB:
        return not address.endswith("/")
    system, inner = filesystem(address)
    with disk_and_network_errors(address):
        return bool(system.isfile(inner))


def is_folder(path: Path | str) -> bool:
    """Return whether a folder exists. A web address is never a folder."""
    address = address_of(path)
    protocol = protocol_of(address)
    if not protocol:
        return Path(address).is_dir()
    if protocol in WEB:
        return False
    system, inner = filesystem(address)
    with disk_and_network_errors(address):
        return bool(system.isdir(inner))


def names_in(folder: Path | str) -> list[str]:
    """Return the sorted names of the files and folders in a folder."""
    address = address_of(folder)
    if not protocol_of(address):
        return sorted(path.name for path in Path(address).iterdir())
    system, inner = filesystem(address)
    with disk_and_network_errors(address):
        return sorted(entry.rstrip("/").rpartition("/")[2] for entry in system.ls(inner, detail=False))


def filesystem(path: str) -> tuple[Any, str]:
    """Return the fsspec file system of an address, and its path in that file system."""
    import fsspec

    protocol = protocol_of(path)
    try:
        return fsspec.core.url_to_fs(path)
    except ImportError as error:
        package = PACKAGES.get(protocol)
        way_out = f"pip install {package}" if package else str(error)
        raise UserError(f"{path}: {protocol}:// needs one more package: {way_out}") from None
    except Exception as error:  # each file system has its own errors
        raise UserError(f"{path}: {protocol}:// cannot be used ({first_line(error)})") from None


@contextlib.contextmanager
def disk_and_network_errors(path: str) -> Iterator[None]:
    """Turn errors of reading a file into a UserError of one line. Remote file systems raise errors of any type."""
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
