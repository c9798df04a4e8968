"""Read and write the weight files of a Hugging Face folder without torch. NumPy only.

Opening a file reads its header and checks it against the size of the file before anything is allocated. A truncated,
damaged or malicious file ends in one UserError. The safetensors library is not used: its NumPy side has no bfloat16.
"""

import contextlib
import json
import math
import os
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from bert_jax.convert.hugging_face.torch_pickle import BFLOAT16, TensorPlace, c_strides, impossible_shape, torch_places
from bert_jax.convert.unreadable import file_advice
from bert_jax.errors import UserError, listed, shown
from bert_jax.wording import agreeing, counted

SAFETENSORS, TORCH = "model.safetensors", "pytorch_model.bin"
ADAPTER, ADAPTER_TORCH = "adapter_model.safetensors", "adapter_model.bin"
INDEX = ".index.json"
MAX_HEADER_BYTES = 16_000_000  # a tensor takes about 120 bytes; the format's own limit is 100 MB
MAX_MODEL_TENSORS = 1 << 16  # the largest encoders have about a thousand
MAX_SHARDS = 1000
MAX_SHARD_BYTES = 5_000_000_000
FILE_METADATA: Mapping[str, str] = {"format": "pt"}  # transformers requires it

# In the order of the safetensors library. Files begin with tensors of the last type, so that all data are aligned.
SAFETENSORS_DTYPES = {
    "BOOL": np.dtype("?"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "I16": np.dtype("<i2"),
    "U16": np.dtype("<u2"),
    "F16": np.dtype("<f2"),
    "BF16": BFLOAT16,
    "I32": np.dtype("<i4"),
    "U32": np.dtype("<u4"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "U64": np.dtype("<u8"),
}

_LFS_POINTER = b"version https://git-lfs.github.com/spec/v1"
_LENGTH = struct.Struct("<Q")
_SHARD = re.compile(r".+-\d{5}-of-\d{5}\.safetensors")


class Weights(Mapping[str, TensorPlace]):
    """The places of tensors by name, with their `shape` and `dtype`. `read` returns the numbers of one."""

    def __init__(self, source: Path, places: dict[str, TensorPlace]) -> None:
        self.source, self._places = source, places

    def __getitem__(self, name: str) -> TensorPlace:
        return self._places[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def read(self, name: str) -> np.ndarray:
        """Return the tensor as a new array in C order. Reads only the bytes from its first to its last element."""
        place = self._places[name]
        raw = np.empty(place.span, np.uint8)
        try:
            with place.path.open("rb") as file:
                file.seek(place.offset)
                bytes_read = file.readinto(memoryview(raw))
        except OSError as error:
            raise UserError(f"{place.path}: {error.strerror}") from None
        if bytes_read != raw.size:
            raise UserError(f"{place.path}: ended while {shown(name)} was read; is it still being written?")
        if place.dtype == np.bool_ and raw.size and raw.max() > 1:
            raise UserError(
                f"{place.path}: {shown(name)} is of booleans, but has the byte {raw.max()}. Download it again"
            )
        strides = [stride * place.dtype.itemsize for stride in place.strides]
        array = np.lib.stride_tricks.as_strided(raw.view(place.dtype), place.shape, strides)
        return np.ascontiguousarray(array).reshape(place.shape)  # ascontiguousarray turns a scalar into a vector


def open_weights(folder: Path) -> Weights:
    """Open the weights of a folder: safetensors rather than torch's files, one file rather than shards.

    Falls back to the only *.safetensors file where none has its usual name. Reads headers only and runs no pickle.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder. A Hugging Face folder with {SAFETENSORS} is expected")
    for name, places in ((SAFETENSORS, safetensors_places), (TORCH, torch_places)):
        path, index = folder / name, folder / f"{name}{INDEX}"
        if path.exists() or path.is_symlink():  # a broken link is reported, not ignored
            return Weights(path, _file_places(path, places))
        if index.exists() or index.is_symlink():
            return Weights(index, _sharded_places(index, places))
    others = _other_safetensors(folder)
    shards = [path.name for path in others if _SHARD.fullmatch(path.name)]
    if shards:
        raise UserError(f"{folder}: {shards[0]} is one of several, but {SAFETENSORS}{INDEX} is missing. Copy it too")
    if len(others) > 1:
        raise UserError(f"{folder}: {listed([path.name for path in others])}; which one? Rename it to {SAFETENSORS}")
    if not others:
        advice = file_advice(folder)
        raise UserError(
            f"{folder}: no weights here; {SAFETENSORS} or {TORCH}, or one of them{INDEX}, is expected"
            f"{f'; {advice}' if advice else ''}"
        )
    return Weights(others[0], _file_places(others[0], safetensors_places))


def has_weights(folder: Path) -> bool:
    """Return whether the folder has the weights of a whole model, under a usual name or in other *.safetensors."""
    usual_names = (f"{name}{index}" for name in (SAFETENSORS, TORCH) for index in ("", INDEX))
    return any((folder / name).exists() for name in usual_names) or bool(_other_safetensors(folder))


def open_adapter_weights(folder: Path) -> Weights:
    """Open the weights of an adapter."""
    for name, places in ((ADAPTER, safetensors_places), (ADAPTER_TORCH, torch_places)):
        if os.path.lexists(folder / name):
            return Weights(folder / name, _file_places(folder / name, places))
    raise UserError(f"{folder}: the adapter's weights are missing, {ADAPTER} or {ADAPTER_TORCH}. Copy them too")


def _other_safetensors(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*.safetensors")) if path.name != ADAPTER]


def safetensors_places(path: Path) -> dict[str, TensorPlace]:
    """Return the place of each tensor of a safetensors file, in the order of its header, which is fully checked."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(_LENGTH.size)
        length = _LENGTH.unpack(start)[0] if len(start) == _LENGTH.size else None
        if length is None or length > size - _LENGTH.size:
            _damaged(path, f"{size} bytes, its header alone has {_LENGTH.size if length is None else length}")
        if length > MAX_HEADER_BYTES:
            _damaged(path, f"a header of {length} bytes, {MAX_HEADER_BYTES} are the most")
        content = file.read(length)
    if not content.startswith(b"{"):
        _damaged(path, "its header is not a JSON object")
    header = _json_object(path, content, "its header")
    if len(header) > MAX_MODEL_TENSORS:
        raise UserError(f"{path}: {len(header):,} tensors; {MAX_MODEL_TENSORS:,} are the most that are read")
    _require_texts(header.pop("__metadata__", {}), path, "__metadata__")
    data = size - _LENGTH.size - length
    places, ranges = {}, []
    for name, entry in header.items():
        match entry:
            case {"dtype": str(kind), "shape": [*shape], "data_offsets": [int(begin), int(end)]} if len(entry) == 3:
                pass
            case _:
                _damaged(path, f"{shown(name)} is not described by dtype, shape and data_offsets")
        if kind not in SAFETENSORS_DTYPES:
            raise UserError(
                f"{path}: {shown(name)} has dtype {shown(kind)}; known: {', '.join(SAFETENSORS_DTYPES)}. "
                "Convert it to one of them"
            )
        if not all(type(number) is int and number >= 0 for number in (*shape, begin, end)):
            _damaged(path, f"{shown(name)} has a shape or data_offsets that are not whole numbers from 0")
        if problem := impossible_shape(tuple(shape), SAFETENSORS_DTYPES[kind]):
            _damaged(path, f"{shown(name)} has {problem}")
        if not begin <= end <= data:
            _damaged(path, f"{shown(name)} is at bytes {begin} to {end} of {data}")
        if math.prod(shape) * SAFETENSORS_DTYPES[kind].itemsize != end - begin:
            _damaged(path, f"{shown(name)} is {kind} of shape {shown(shape)}, but has {end - begin} bytes")
        ranges.append((begin, end, name))
        places[name] = TensorPlace(
            path=path,
            dtype=SAFETENSORS_DTYPES[kind],
            shape=tuple(shape),
            strides=c_strides(tuple(shape)),
            offset=_LENGTH.size + length + begin,
        )
    covered = 0
    for begin, end, name in sorted(ranges):
        if begin != covered:
            fault = "overlaps the tensor before it" if begin < covered else f"leaves {begin - covered} bytes unused"
            _damaged(path, f"{shown(name)} begins at byte {begin}, which {fault}")
        covered = end
    if covered != data:
        _damaged(path, f"the last {data - covered} bytes belong to no tensor")
    return places


def _file_places(path: Path, places: Callable[[Path], dict[str, TensorPlace]]) -> dict[str, TensorPlace]:
    _require_content(path)
    try:
        return places(path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def _sharded_places(index: Path, places: Callable[[Path], dict[str, TensorPlace]]) -> dict[str, TensorPlace]:
    """Return the places of the tensors of all shards. Each tensor must be in exactly the shard that the index names."""
    _require_content(index)
    if index.stat().st_size > MAX_HEADER_BYTES:
        _damaged(index, f"{index.stat().st_size} bytes, {MAX_HEADER_BYTES} are the most")
    shard_of = _require_texts(_json_object(index, index.read_bytes(), "it").get("weight_map"), index, "weight_map")
    promised: dict[str, list[str]] = {}
    for name, shard in shard_of.items():
        promised.setdefault(shard, []).append(name)
    shards = list(promised)
    for shard in shards:
        if shard in ("", ".", "..") or re.search(r"[/\\:]", shard) or not shard.isprintable():
            raise UserError(f"{index}: weight_map names {shown(shard)}; a plain name of a file beside it is expected")
    if len(shards) > MAX_SHARDS:
        raise UserError(f"{index}: {len(shards):,} shards; {MAX_SHARDS:,} are the most that are read")
    missing = [shard for shard in shards if not (index.parent / shard).is_file()]
    if missing:
        raise UserError(
            f"{index}: {len(missing)} of {counted(len(shards), 'shard')} {agreeing(len(missing), 'is', 'are')} "
            f"missing: {listed(missing)}. Copy them too"
        )
    all_places: dict[str, TensorPlace] = {}
    for shard in shards:
        shard_places = _file_places(index.parent / shard, places)
        for name in shard_places:
            if name in all_places:
                raise UserError(
                    f"{index}: {shown(name)} is in both {all_places[name].path.name} and {shard}; download them again"
                )
        lacking = [name for name in promised[shard] if name not in shard_places]
        if lacking:
            raise UserError(f"{index.parent / shard} lacks {listed(lacking)}, which {index.name} says are there")
        if len(all_places) + len(shard_places) > MAX_MODEL_TENSORS:
            raise UserError(f"{index}: more than {MAX_MODEL_TENSORS:,} tensors, the most that are read")
        all_places.update(shard_places)
    return all_places


def _require_content(path: Path) -> None:
    try:
        if not path.is_file():
            raise UserError(f"{path}: no such file" if not path.exists() else f"{path}: not a file")
        with path.open("rb") as file:
            start = file.read(len(_LFS_POINTER))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    if not start:
        raise UserError(f"{path}: empty. Download it again")
    if start == _LFS_POINTER:
        raise UserError(f"{path}: this is a Git LFS pointer, not the weights: run `git lfs pull`")


def _json_object(path: Path, content: bytes, subject: str) -> dict[str, Any]:
    """Parse a JSON object with distinct, printable names. `subject` names the content in errors."""

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table: dict[str, Any] = {}
        for name, value in pairs:
            if name in table or not name.isprintable():
                raise ValueError(f"{shown(name)} is {'there twice' if name in table else 'not a name'}")
            table[name] = value
        return table

    try:
        value = json.loads(content.decode("utf-8"), object_pairs_hook=members)
    except (ValueError, RecursionError) as error:
        _damaged(path, f"{subject} is not JSON: {error}")
    if not isinstance(value, dict):
        _damaged(path, f"{subject} is not a JSON object")
    return value


def _require_texts(value: Any, path: Path, subject: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        _damaged(path, f"{subject} is not an object of texts")
    return value


def _damaged(path: Path, why: str) -> NoReturn:
    why = why if len(why) <= 300 else f"{why[:300]}..."  # a name may be as long as the header
    raise UserError(f"{path}: damaged or cut short: {why}. Download it again")


def write_weights(folder: Path, tensors: Mapping[str, np.ndarray], *, max_shard_bytes: int = MAX_SHARD_BYTES) -> None:
    """Write tensors to `folder` as safetensors, and remove other safetensors of the same model.

    Writes one file where they fit into `max_shard_bytes`, else shards in the order of `tensors`, with an index. A
    larger tensor gets a shard of its own. An interrupted write does not leave a folder that looks complete.
    """
    shards: list[list[str]] = [[]]
    sizes = {name: tensor.nbytes for name, tensor in tensors.items()}
    filled = 0
    for name, size in sizes.items():
        if shards[-1] and filled + size > max_shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    index = folder / f"{SAFETENSORS}{INDEX}"
    files = [SAFETENSORS]
    if len(shards) > 1:
        files = [f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        index.unlink(missing_ok=True)  # it would mix old and new shards
        for file, names in zip(files, shards, strict=True):
            write_safetensors(folder / file, {name: tensors[name] for name in names})
        if len(shards) > 1:
            shard_of = {name: file for file, names in zip(files, shards, strict=True) for name in names}
            content = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": dict(sorted(shard_of.items()))}
            temporary = index.with_name(f"{index.name}.tmp")
            temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            temporary.replace(index)
        for old in [folder / SAFETENSORS, *folder.glob(f"model-{'[0-9]' * 5}-of-{'[0-9]' * 5}.safetensors")]:
            if old.name not in files:
                old.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: the weights could not be written: {error.strerror}") from None


def write_safetensors(
    path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] = FILE_METADATA
) -> None:
    """Write a safetensors file, whole or not at all. The same tensors and metadata give the same bytes."""
    kinds = {dtype: number for number, dtype in enumerate(SAFETENSORS_DTYPES.values())}
    for name, tensor in tensors.items():
        if tensor.dtype.newbyteorder("<") not in kinds or name == "__metadata__" or not name.isprintable():
            raise UserError(f"{path}: {name!r} of dtype {tensor.dtype} can't be stored in a safetensors file")
    names = sorted(tensors, key=lambda name: (-kinds[tensors[name].dtype.newbyteorder("<")], name))
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    codes = list(SAFETENSORS_DTYPES)
    end = 0
    for name in names:
        tensor = tensors[name]
        begin, end = end, end + tensor.nbytes
        kind = codes[kinds[tensor.dtype.newbyteorder("<")]]
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    content = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    content += b" " * (-len(content) % _LENGTH.size)  # data begin at a multiple of 8
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(_LENGTH.pack(len(content)) + content)
            for name in names:  # copied one at a time, and only where needed
                array = np.ascontiguousarray(tensors[name], tensors[name].dtype.newbyteorder("<"))
                file.write(memoryview(array.reshape(-1).view(np.uint8)))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"{path}: could not be written: {error.strerror}") from None
    finally:
        with contextlib.suppress(OSError):  # renamed, unless the write failed
            temporary.unlink()
