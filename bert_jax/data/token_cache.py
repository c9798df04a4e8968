"""A cache on disk of the tokens of large inputs, so that the same texts are tokenized once.

NumPy and the standard library only.
"""

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

FORMAT = 2  # version of the files and of the rules that make spans from the library's offsets
MIN_CHARACTERS = 1_000_000  # tokenizing fewer takes no longer than looking them up
MAX_CACHE_BYTES = 2 << 30  # of all files together; the least recently used ones are removed first
ARRAYS_SUFFIX, UNFINISHED_SUFFIX = ".tokens", ".writing"
ABANDONED_SECONDS = 24 * 3600  # an unfinished file of this age was left behind by a killed process
TEXTS_PER_HASH = 1 << 12
DIGEST_BYTES = 32

Arrays = tuple[np.ndarray, ...]


def cache_folder() -> Path | None:
    """Return the folder of the cache: $BERT_JAX_CACHE/encoded, by default ~/.cache/bert_jax/encoded.

    None if $BERT_JAX_CACHE is empty, or if the user has no home folder.
    """
    setting = os.environ.get("BERT_JAX_CACHE")
    if setting == "":
        return None
    try:
        cache = Path(setting or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "bert_jax")).expanduser()
    except RuntimeError:
        return None
    return cache / "encoded"


class CachingTokenizer:
    """A tokenizer that caches the tokens of large inputs in `folder`. Implements `Tokenizer`, with the same ids.

    Where a file of the cache can't be read or written, or is damaged, the texts are tokenized again.
    """

    def __init__(
        self, inner: Tokenizer, folder: Path, *, min_characters: int = MIN_CHARACTERS, max_bytes: int = MAX_CACHE_BYTES
    ):
        self.inner, self.folder, self.min_characters, self.max_bytes = inner, folder, min_characters, max_bytes
        self.vocab_size, self.special, self.fingerprint = inner.vocab_size, inner.special, inner.fingerprint
        self.separators, self.segments = inner.separators, inner.segments
        self.truncation_side = inner.truncation_side

    def ids(self, texts: Sequence[str]) -> list[np.ndarray]:
        return self.inner.ids(texts)

    def ids_flat(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        ids, offsets = self._load_or_make("ids", texts, self.inner.ids_flat)
        return ids, offsets

    def spans_flat(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        ids, spans, offsets = self._load_or_make("spans", texts, self.inner.spans_flat)
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

    def _load_or_make(self, kind: str, texts: Sequence[str], make: Callable[[Sequence[str]], Arrays]) -> Arrays:
        if sum(map(len, texts)) < self.min_characters:
            return make(texts)
        path = self.folder / f"{_key(kind, self.fingerprint, texts)}{ARRAYS_SUFFIX}"
        arrays = _read(path)
        if arrays is None:
            arrays = make(texts)
            _write(path, arrays, self.max_bytes)
        return arrays


def with_cache(tokenizer: Tokenizer) -> Tokenizer:
    """Return the tokenizer wrapped in the user's cache, or unchanged if there is no cache folder."""
    folder = cache_folder()
    return tokenizer if folder is None else CachingTokenizer(tokenizer, folder)


def _key(kind: str, fingerprint: str, texts: Sequence[str]) -> str:
    """Return the sha256 of everything that the tokens depend on."""
    library = importlib.metadata.version("tokenizers")
    digest = hashlib.sha256(f"{FORMAT} {kind} {fingerprint} {library} {len(texts)}\n".encode())
    digest.update(np.fromiter(map(len, texts), np.int64, len(texts)).tobytes())  # where texts end
    for first in range(0, len(texts), TEXTS_PER_HASH):
        digest.update("".join(texts[first : first + TEXTS_PER_HASH]).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _read(path: Path) -> Arrays | None:
    """Return the arrays of a file and mark it as the most recently used; None if it is missing or damaged."""
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
    """Return the sha256 of a file's name and content."""
    digest = hashlib.sha256(path.stem.encode())
    digest.update(content)
    return digest.digest()


def _write(path: Path, arrays: Arrays, max_bytes: int) -> None:
    """Write the file completely or not at all, and remove old files to make room for it."""
    stream = io.BytesIO()
    for array in arrays:
        np.save(stream, array, allow_pickle=False)
    content = stream.getbuffer()
    if len(content) + DIGEST_BYTES > max_bytes:
        return
    beside = path.with_name(f".{path.stem}.{secrets.token_hex(8)}{UNFINISHED_SUFFIX}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # the texts can be read from their ids
        with beside.open("xb") as file:
            file.write(_seal(path, content))
            file.write(content)
        beside.replace(path)
        _make_room(path, max_bytes)
    except OSError:
        pass
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def _make_room(newest: Path, max_bytes: int) -> None:
    """Remove the least recently used files until the rest have `max_bytes` at most, and abandoned unfinished files."""
    files = []
    for path in newest.parent.iterdir():
        with contextlib.suppress(OSError):  # another process may have been first
            status = path.stat()
            if path.suffix == ARRAYS_SUFFIX and path != newest:
                files.append((status.st_mtime_ns, status.st_size, path))
            elif path.suffix == UNFINISHED_SUFFIX and time.time() - status.st_mtime > ABANDONED_SECONDS:
                path.unlink()
    total = newest.stat().st_size
    for _, size, path in sorted(files, reverse=True):
        total += size
        if total > max_bytes:
            with contextlib.suppress(OSError):
                path.unlink()
