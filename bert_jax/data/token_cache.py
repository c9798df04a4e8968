"""What a tokenizer made of large inputs, kept on disk: the same texts are cut once. NumPy and the standard library."""

import contextlib
import hashlib
import importlib.metadata
import io
import os
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bert_jax.text.tokenizer import Encoding, Tokenizer

FORMAT = 2  # of the files, and of the rules by which spans are made of what the library gives
LEAST_CHARS = 1_000_000  # fewer are cut in the time that it takes to look for them
MOST_BYTES = 2 << 30  # of all files; those that were used longest ago go first
SUFFIX, WRITING = ".tokens", ".writing"
ABANDONED_SECONDS = 24 * 3600  # what a process has not finished writing by then, it never will
CHUNK_TEXTS = 1 << 12
DIGEST_BYTES = 32

Arrays = tuple[np.ndarray, ...]


def cache_folder() -> Path | None:
    """Where the files are: $BERT_JAX_CACHE/encoded, or ~/.cache/bert_jax/encoded; None where $BERT_JAX_CACHE is empty.

    None as well where there is no home to keep them in.
    """
    named = os.environ.get("BERT_JAX_CACHE")
    if named == "":
        return None
    try:
        cache = Path(named or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "bert_jax")).expanduser()
    except RuntimeError:
        return None
    return cache / "encoded"


class KeepingTokenizer:
    """A tokenizer that keeps what it makes of large inputs in `folder`. Implements `Tokenizer`; the same ids always.

    A file that cannot be read or written, or is damaged, costs the time to cut the texts again and no more.
    """

    def __init__(self, inner: Tokenizer, folder: Path, *, least_chars: int = LEAST_CHARS, most_bytes: int = MOST_BYTES):
        self.inner, self.folder, self.least_chars, self.most_bytes = inner, folder, least_chars, most_bytes
        self.vocab_size, self.special, self.fingerprint = inner.vocab_size, inner.special, inner.fingerprint
        self.separators, self.segments = inner.separators, inner.segments
        self.truncation_side = inner.truncation_side

    def ids(self, texts: Sequence[str]) -> list[np.ndarray]:
        return self.inner.ids(texts)

    def ids_flat(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        ids, offsets = self._kept("ids", texts, self.inner.ids_flat)
        return ids, offsets

    def spans_flat(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        ids, spans, offsets = self._kept("spans", texts, self.inner.spans_flat)
        return ids, spans, offsets

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, max_length: int) -> list[Encoding]:
        return self.inner.encode(texts, pairs, max_length=max_length)

    def tokens(self, ids: Sequence[int]) -> list[str]:
        return self.inner.tokens(ids)

    def continuations(self) -> np.ndarray:
        return self.inner.continuations()

    def decode(self, ids: Sequence[int]) -> str:
        return self.inner.decode(ids)

    def save(self, folder: Path) -> None:
        self.inner.save(folder)

    def _kept(self, kind: str, texts: Sequence[str], make: Callable[[Sequence[str]], Arrays]) -> Arrays:
        if sum(map(len, texts)) < self.least_chars:
            return make(texts)
        path = self.folder / f"{_key(kind, self.fingerprint, texts)}{SUFFIX}"
        found = _read(path)
        if found is None:
            found = make(texts)
            _write(path, found, self.most_bytes)
        return found


def keeping(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer with what it makes kept in the user's cache, where there is one."""
    folder = cache_folder()
    return tokenizer if folder is None else KeepingTokenizer(tokenizer, folder)


def _key(kind: str, fingerprint: str, texts: Sequence[str]) -> str:
    """The sha256 of all that decides what is kept."""
    library = importlib.metadata.version("tokenizers")
    digest = hashlib.sha256(f"{FORMAT} {kind} {fingerprint} {library} {len(texts)}\n".encode())
    digest.update(np.fromiter(map(len, texts), np.int64, len(texts)).tobytes())  # so that it shows where texts end
    for first in range(0, len(texts), CHUNK_TEXTS):
        digest.update("".join(texts[first : first + CHUNK_TEXTS]).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _read(path: Path) -> Arrays | None:
    """The arrays of a file, now the one that was used last; None for one that is not there, or is not whole."""
    try:
        content = memoryview(path.read_bytes())
        if _seal(path, content[DIGEST_BYTES:]) != content[:DIGEST_BYTES]:
            return None
        stream, arrays = io.BytesIO(content[DIGEST_BYTES:]), []
        while stream.tell() < len(content) - DIGEST_BYTES:
            arrays.append(np.load(stream, allow_pickle=False))
    except (OSError, ValueError):
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    return tuple(arrays)


def _seal(path: Path, content: memoryview) -> bytes:
    """The sha256 of what a file of this name holds."""
    digest = hashlib.sha256(path.stem.encode())
    digest.update(content)
    return digest.digest()


def _write(path: Path, arrays: Arrays, most_bytes: int) -> None:
    """Leaves the file whole, or nothing; others make room for it."""
    stream = io.BytesIO()
    for array in arrays:
        np.save(stream, array, allow_pickle=False)
    content = stream.getbuffer()
    if len(content) + DIGEST_BYTES > most_bytes:
        return
    beside = path.with_name(f".{path.stem}.{secrets.token_hex(8)}{WRITING}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # ids tell the texts
        with beside.open("xb") as file:
            file.write(_seal(path, content))
            file.write(content)
        beside.replace(path)
        _make_room(path, most_bytes)
    except OSError:
        pass
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def _make_room(newest: Path, most_bytes: int) -> None:
    """Removes the files that were used longest ago until all have at most `most_bytes`, and what kills left behind."""
    there = []
    for path in newest.parent.iterdir():
        with contextlib.suppress(OSError):  # another process may have been first
            status = path.stat()
            if path.suffix == SUFFIX and path != newest:
                there.append((status.st_mtime_ns, status.st_size, path))
            elif path.suffix == WRITING and time.time() - status.st_mtime > ABANDONED_SECONDS:
                path.unlink()
    total = newest.stat().st_size
    for _, size, path in sorted(there, reverse=True):
        total += size
        if total > most_bytes:
            with contextlib.suppress(OSError):
                path.unlink()
