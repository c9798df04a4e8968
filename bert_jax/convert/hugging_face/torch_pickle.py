"""Locate the tensors of a torch file without torch, in a zip archive or in the format before torch 1.6.

The pickle is interpreted here opcode by opcode: numbers, texts, lists, dicts, and the few names that a state dict
needs, each with one fixed meaning. No Python object is looked up by a name in the file, so nothing in it can run.
"""

import dataclasses
import io
import math
import pickletools
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from bert_jax.convert.hugging_face.torch_archive import MAX_PICKLE_BYTES, RefusedError, open_archive, short_line
from bert_jax.errors import UserError
from bert_jax.wording import article

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
MAX_OPCODES = 200_000  # read in about a second; a tensor takes about 40
MAX_DIMENSIONS = 64  # NumPy's limit

_OLD_FORMAT = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")  # the pickled magic number of torch up to 1.5
_COUNT = struct.Struct("<q")  # the number of elements, before each storage of the old format

_STORAGES = {
    "torch.DoubleStorage": np.dtype("<f8"),
    "torch.FloatStorage": np.dtype("<f4"),
    "torch.HalfStorage": np.dtype("<f2"),
    "torch.BFloat16Storage": BFLOAT16,
    "torch.LongStorage": np.dtype("<i8"),
    "torch.IntStorage": np.dtype("<i4"),
    "torch.ShortStorage": np.dtype("<i2"),
    "torch.CharStorage": np.dtype("i1"),
    "torch.ByteStorage": np.dtype("u1"),
    "torch.BoolStorage": np.dtype("?"),
    "torch.storage.UntypedStorage": np.dtype("u1"),  # the type is that of the tensor on it
}
_DTYPES = {f"torch.{name}": np.dtype(name) for name in ("uint16", "uint32", "uint64")}
_ORDERED_DICT = "collections.OrderedDict"
_TENSOR, _TYPED_TENSOR = "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3"
_PARAMETER = "torch._utils._rebuild_parameter"
_KNOWN = {*_STORAGES, *_DTYPES, _ORDERED_DICT, _TENSOR, _TYPED_TENSOR, _PARAMETER}

_LITERALS = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TensorPlace:
    """The place of a tensor's numbers in a file, checked against its size.

    dtype    little-endian
    strides  in elements
    offset   of the first byte
    """

    path: Path
    dtype: np.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    @property
    def span(self) -> int:
        """The bytes from the first element to the end of the last."""
        if 0 in self.shape:
            return 0
        last = sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        return (last + 1) * self.dtype.itemsize


@dataclasses.dataclass(frozen=True)
class _Name:
    """A name among `_KNOWN` that the pickle refers to."""

    name: str


@dataclasses.dataclass(frozen=True)
class _Storage:
    dtype: np.dtype
    offset: int
    size: int  # in bytes


def torch_places(path: Path) -> dict[str, TensorPlace]:
    """Return the place of each tensor of the state dict that `torch.save` wrote to `path`, in its order.

    Tied tensors have the same place under several names, and views keep their strides. Raises UserError where the file
    is no flat dict of dense tensors, or its pickle asks for anything else.
    """
    try:
        pickle, records = _open_old(path) if _is_old(path) else open_archive(path)
        return _checked_state(_Interpreter(path, records).run(pickle))
    except RefusedError as error:
        raise UserError(f"{path} {error}") from None


def c_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides, in elements, of an array of this shape in C order."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _is_old(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_OLD_FORMAT)) == _OLD_FORMAT


def _open_old(path: Path) -> tuple[bytes, dict[str, tuple[int, int]]]:
    """Return the pickle, and the first byte and the size of each record, of a file from before torch 1.6.

    Such a file has five pickles (a magic number, a version, the machine, the tensors, the keys of their storages), then
    the storages in the order of the keys, each as the number of its elements in eight bytes and the elements.
    """
    with path.open("rb") as file:
        start = io.BytesIO(file.read(MAX_PICKLE_BYTES))
        _, _, machine, pickle, keys = (_next_pickle(start) for _ in range(5))
        if _require(dict, _Interpreter(path, {}).run(machine)).get("little_endian") is not True:
            raise RefusedError("was written on a big-endian machine; re-save it there as safetensors")
        sizes = _Interpreter(path, None)  # collects the size of each storage
        sizes.run(pickle)
        offset, size = start.tell(), path.stat().st_size
        records: dict[str, tuple[int, int]] = {}
        for key in _require(list, _Interpreter(path, {}).run(keys)):
            count, storage_bytes = sizes.promised.get(_require(str, key), (-1, 0))
            file.seek(offset)
            if file.read(_COUNT.size) != _COUNT.pack(count) or offset + _COUNT.size + storage_bytes > size:
                raise RefusedError(f"is damaged or cut short at the storage {short_line(key)}. Download it again")
            records[f"data/{key}"] = (offset + _COUNT.size, storage_bytes)
            offset += _COUNT.size + storage_bytes
    return pickle, records


def _next_pickle(file: io.BytesIO) -> bytes:
    """Read the bytes of one pickle from the current position of `file`."""
    begin = file.tell()
    try:
        for _ in _opcodes(file):
            pass
    except ValueError as error:
        raise RefusedError(f"is damaged: its pickle cannot be read ({short_line(error)}). Download it again") from None
    return file.getvalue()[begin : file.tell()]


def _checked_state(state: object) -> dict[str, TensorPlace]:
    if not isinstance(state, dict):
        raise RefusedError(f"holds {article(_kind(state))}, not a state dict; save model.state_dict()")
    for name, value in state.items():
        if not name.isprintable():
            raise RefusedError(f"is damaged: it has a tensor by the name of {short_line(name)}")
        if not isinstance(value, TensorPlace):
            raise RefusedError(
                f"is not a flat dict of tensors: {short_line(name)!r} is {article(_kind(value))}; save "
                "model.state_dict() alone"
            )
    return state


def _opcodes(pickle: bytes | BinaryIO) -> Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]]:
    """Yield opcode, argument and position as pickletools does. Raises RefusedError for more opcodes than the limit."""
    for number, step in enumerate(pickletools.genops(pickle)):
        if number == MAX_OPCODES:
            raise RefusedError(f"has a pickle of more than {MAX_OPCODES:,} opcodes, more than weights need; refused")
        yield step


class _Interpreter:
    """A stack machine for the part of the pickle language that `torch.save` uses for tensors in dicts."""

    def __init__(self, path: Path, records: dict[str, tuple[int, int]] | None) -> None:
        """`records` has the first byte and the size of each record of the file.

        With None, a run only collects in `promised` the elements and bytes that each storage should have, and the
        places that it returns are wrong.
        """
        self.path, self.records = path, records
        self.promised: dict[str, tuple[int, int]] = {}
        self.stack: list[Any] = []
        self.marks: list[int] = []  # heights of the stack
        self.memo: dict[int, Any] = {}

    def run(self, pickle: bytes) -> object:
        """Return the object that the pickle describes. Raises RefusedError for anything unexpected in it."""
        try:
            for opcode, argument, _ in _opcodes(pickle):
                if opcode.name == "STOP":
                    return self.stack.pop()
                self._step(opcode.name, argument)
        except (ValueError, IndexError, KeyError) as error:  # an early end, an empty stack, an unknown memo
            raise RefusedError(
                f"is damaged: its pickle cannot be read ({short_line(error)}). Download it again"
            ) from None
        raise RefusedError("is damaged: its pickle has no end. Download it again")

    def _step(self, opcode: str, argument: Any) -> None:
        stack, memo = self.stack, self.memo
        if opcode in _LITERALS:
            stack.append(argument)
        elif opcode in _CONSTANTS:
            stack.append(_CONSTANTS[opcode]())
        elif opcode in ("PROTO", "FRAME"):
            pass
        elif opcode == "MARK":
            self.marks.append(len(stack))
        elif opcode in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif opcode == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif opcode in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif opcode in ("TUPLE1", "TUPLE2", "TUPLE3"):
            stack.append(tuple(reversed([stack.pop() for _ in range(int(opcode[-1]))])))
        elif opcode == "TUPLE":
            stack.append(tuple(self._since_mark()))
        elif opcode in ("APPEND", "APPENDS"):
            values = [stack.pop()] if opcode == "APPEND" else self._since_mark()
            _require(list, stack[-1]).extend(values)
        elif opcode in ("SETITEM", "SETITEMS"):
            values = [stack.pop(), stack.pop()][::-1] if opcode == "SETITEM" else self._since_mark()
            pairs = zip(values[::2], values[1::2], strict=True)
            _require(dict, stack[-1]).update((_require(str, key), value) for key, value in pairs)
        elif opcode in ("GLOBAL", "INST"):
            stack.append(_require_known(argument.replace(" ", ".", 1)))
        elif opcode == "STACK_GLOBAL":
            name, module = _require(str, stack.pop()), _require(str, stack.pop())
            stack.append(_require_known(f"{module}.{name}"))
        elif opcode == "BINPERSID":
            stack.append(self._storage(stack.pop()))
        elif opcode == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            stack.append(self._call(_require(_Name, function).name, _require(tuple, arguments)))
        elif opcode == "BUILD":
            stack.pop()  # attributes of a state dict, such as the versions of its modules
            _require(dict, stack[-1])
        else:
            raise RefusedError(f"has a pickle with the opcode {opcode}, which a state dict never needs; refused")

    def _since_mark(self) -> list[Any]:
        height = self.marks.pop()
        values = self.stack[height:]
        del self.stack[height:]
        return values

    def _storage(self, identity: Any) -> _Storage:
        match identity:
            case ("storage", _Name(name), str(key), str(), int(count), *view) if name in _STORAGES and view in (
                [],
                [None],
            ):
                expected = count * _STORAGES[name].itemsize  # bytes
                if self.records is None:
                    promised = self.promised.setdefault(key, (count, expected))
                    if count < 0 or count >= 1 << 63 or promised != (count, expected):
                        raise RefusedError(f"is damaged: storage {short_line(key)} of {short_line(count)} numbers")
                    return _Storage(_STORAGES[name], 0, expected)
                offset, size = self.records.get(f"data/{key}", (0, None))
                if size is None or size != expected:
                    state = "is missing" if size is None else f"has {size} bytes"
                    raise RefusedError(
                        f"is damaged: data/{short_line(key)} {state}, {short_line(count)} of {name} were promised"
                    )
                return _Storage(_STORAGES[name], offset, size)
        raise RefusedError("has a pickle that asks for something other than a storage; refused")

    def _call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        match arguments:
            case () if name == _ORDERED_DICT:
                return {}
            case (TensorPlace() as place, bool(), dict()) if name == _PARAMETER:
                return place
            case (_Storage() as storage, int(), tuple(), tuple(), bool(), _, *more) if name == _TENSOR:
                if not any(more):  # further arguments mark conjugated and negated views
                    return self._place(storage, storage.dtype, *arguments[1:4])
            case (_Storage() as storage, int(), tuple(), tuple(), bool(), _, _Name(dtype), *more) if (
                name == _TYPED_TENSOR and dtype in _DTYPES
            ):
                if not any(more):
                    return self._place(storage, _DTYPES[dtype], *arguments[1:4])
        raise RefusedError(f"has a pickle that calls {name} with arguments it never has; refused")

    def _place(
        self, storage: _Storage, dtype: np.dtype, start: int, shape: tuple[Any, ...], strides: tuple[Any, ...]
    ) -> TensorPlace:
        # The message leaves out the numbers: a nested tuple may repeat itself to any length.
        if not all(type(number) is int and number >= 0 for number in (start, *shape, *strides)):
            raise RefusedError("is damaged: a shape, strides or an offset that are not whole numbers from 0")
        if len(shape) != len(strides):
            raise RefusedError(f"is damaged: {len(strides)} strides for the {len(shape)} axes of a tensor")
        if problem := impossible_shape(shape, dtype):
            raise RefusedError(f"is damaged: it has a tensor of {problem}")
        strides = c_strides(shape) if 0 in shape else strides
        strides = tuple(stride if size > 1 else 1 for size, stride in zip(shape, strides, strict=True))  # unused: 1
        offset = storage.offset + start * dtype.itemsize
        place = TensorPlace(path=self.path, dtype=dtype, shape=shape, strides=strides, offset=offset)
        where = (
            f"a tensor of shape {short_line(shape)}, strides {short_line(strides)}, from element {short_line(start)}"
        )
        if start * dtype.itemsize + place.span > storage.size:
            raise RefusedError(f"is damaged: {where} reaches beyond its storage of {storage.size} bytes")
        if math.prod(shape) * dtype.itemsize > storage.size:
            raise RefusedError(f"has {where}, more than its storage of {storage.size} bytes; save expanded.clone()")
        return place


def impossible_shape(shape: tuple[int, ...], dtype: np.dtype) -> str | None:
    """Return why no NumPy array can have this shape (too many axes or bytes), or None where one can."""
    if len(shape) > MAX_DIMENSIONS:
        return f"{len(shape)} axes; {MAX_DIMENSIONS} are the most"
    if math.prod(size for size in shape if size) * dtype.itemsize >= 1 << 63:
        return f"shape {short_line(shape)}, which no machine can hold"
    return None


def _require_known(name: str) -> _Name:
    """Return the name as one of `_KNOWN`. Raises RefusedError where it is not."""
    if name not in _KNOWN:
        raise RefusedError(
            f"is a pickle that wants to run {short_line(name)}; refused. Weights need no such thing: save "
            "model.state_dict() alone, or as safetensors"
        )
    return _Name(name)


def _require(kind: type, value: Any) -> Any:
    """Return `value`. Raises RefusedError where it is not of this type."""
    if not isinstance(value, kind):
        raise RefusedError(
            f"has a pickle with {article(_kind(value))} where a {kind.__name__.strip('_')} belongs; refused"
        )
    return value


def _kind(value: object) -> str:
    return {TensorPlace: "tensor", _Storage: "storage", _Name: "name"}.get(type(value), type(value).__name__)
