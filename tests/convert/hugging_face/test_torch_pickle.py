"""Torch files are read without torch, with the same tensors, and nothing in them is run."""

import builtins
import collections
import io
import os
import pickle
import random
import subprocess
import sys
import tracemalloc
import zipfile

import ml_dtypes
import numpy as np
import pytest

from bert_jax.convert.hugging_face.weight_files import open_weights
from bert_jax.errors import UserError

TENSOR, FLOATS = b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n"


def archive(path, pickled, storages=(), compression=zipfile.ZIP_STORED, extra=()):
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("archive/data.pkl", pickled)
        for number, content in enumerate(storages):
            file.writestr(f"archive/data/{number}", content)
        for name, content in extra:
            file.writestr(name, content)


def text(value):
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def integer(value):
    content = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(content)]) + content


def numbers(values):
    return b"(" + b"".join(map(integer, values)) + b"t"


def tensor(start=0, shape=(2, 3), strides=(3, 1), count=6, key="0", kind=FLOATS):
    """Return the opcodes of one tensor."""
    storage = b"(" + text("storage") + kind + text(key) + text("cpu") + integer(count) + b"tQ"
    hooks = b"ccollections\nOrderedDict\n)R"
    return TENSOR + b"(" + storage + integer(start) + numbers(shape) + numbers(strides) + b"\x89" + hooks + b"tR"


def state(value, name="a"):
    return b"\x80\x02}" + text(name) + value + b"s."


def error_of(folder):
    path = folder / "pytorch_model.bin"
    with pytest.raises(UserError) as caught:
        open_weights(folder)
    message = str(caught.value)
    assert message.startswith(f"{path} ") and "\n" not in message and len(message) < 500
    return message.removeprefix(f"{path} ")


def error_of_pickle(folder, pickled, storages=(bytes(24),), **options):
    archive(folder / "pytorch_model.bin", pickled, storages, **options)
    return error_of(folder)


def as_numpy(value):
    import torch

    value = value.detach().contiguous()
    if value.dtype == torch.bfloat16:
        return value.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return value.numpy()


def assert_same(folder, expected):
    weights = open_weights(folder)
    assert list(weights) == list(expected)
    for name, value in expected.items():
        array, wanted = weights.read(name), as_numpy(value)
        assert (weights[name].dtype, weights[name].shape) == (array.dtype, array.shape) == (wanted.dtype, wanted.shape)
        assert array.tobytes() == wanted.tobytes() and array.flags.c_contiguous and array.flags.writeable


def torch_tensors():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    base = torch.randn(7, 12, 3)
    tied = torch.nn.Parameter(torch.randn(5, 3))
    plain = {
        str(dtype): torch.randint(0, 2, (3, 5)).to(dtype)
        for dtype in (
            *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool),
            *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8),
            *(torch.uint64, torch.uint32, torch.uint16),
        )
    }
    return plain | {
        "embeddings.weight": tied,
        "decoder.weight": tied,
        "whole": base,
        "turned": base.permute(2, 0, 1),
        "part": base[1:6:2, 3:, 1],
        "row": base[4],
        "step": base.flatten()[5::7],
        "half turned": base.half().transpose(0, 2),
        "scalar": torch.tensor(2.5, dtype=torch.bfloat16),
        "element": base[3, 4, 2],
        "none": torch.zeros(0, 3),
        "none of some": base[:, :0],
        "frozen": torch.nn.Parameter(torch.ones(2), requires_grad=False),
        "position_ids": torch.arange(9).expand((1, -1)),
    }


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_torch_files_have_the_same_tensors(tmp_path, protocol):
    torch = pytest.importorskip("torch")
    tensors = collections.OrderedDict(torch_tensors())
    torch.save(tensors, tmp_path / "pytorch_model.bin", pickle_protocol=protocol)
    assert_same(tmp_path, tensors)


def test_state_dict_with_metadata_is_read_whole_and_in_shards(tmp_path):
    torch = pytest.importorskip("torch")
    model = torch.nn.TransformerEncoderLayer(12, 2, 20)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    assert_same(tmp_path, model.state_dict())
    items = list(model.state_dict().items())
    (tmp_path / "pytorch_model.bin").unlink()
    torch.save(dict(items[:5]), tmp_path / "pytorch_model-00001-of-00002.bin")
    torch.save(dict(items[5:]), tmp_path / "pytorch_model-00002-of-00002.bin")
    shard_of = {name: f"pytorch_model-0000{1 + (i >= 5)}-of-00002.bin" for i, (name, _) in enumerate(items)}
    (tmp_path / "pytorch_model.bin.index.json").write_text(str({"weight_map": shard_of}).replace("'", '"'))
    assert_same(tmp_path, dict(items))


def test_tied_tensors_have_one_place(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(torch_tensors(), tmp_path / "pytorch_model.bin")
    weights = open_weights(tmp_path)
    assert weights["embeddings.weight"] == weights["decoder.weight"] != weights["whole"]


def test_reading_needs_no_torch(tmp_path):
    archive(tmp_path / "pytorch_model.bin", state(tensor()), [np.arange(6, dtype=np.float32).tobytes()])
    code = (
        "import pathlib, sys; from bert_jax.convert.hugging_face.weight_files import open_weights; "
        f"weights = open_weights(pathlib.Path({str(tmp_path)!r})); print(weights.read('a').tolist()); "
        "print({'torch', 'jax', 'safetensors'} & sys.modules.keys())"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.splitlines() == ["[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]", "set()"]


class Calls:
    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "function, arguments, name",
    [
        (os.system, ("touch {}",), "system"),
        (builtins.eval, ("open({!r}, 'w')",), "eval"),
        (builtins.exec, ("open({!r}, 'w')",), "exec"),
        (builtins.getattr, (os, "system"), "getattr"),
        (bytearray, (1 << 40,), "bytearray"),
    ],
)
def test_pickle_that_calls_a_function_is_refused_by_its_name(tmp_path, protocol, function, arguments, name):
    mark = tmp_path / "was run"
    arguments = tuple(value.format(str(mark)) if isinstance(value, str) else value for value in arguments)
    value = Calls(function, *(value for value in arguments if value is not os))
    message = error_of_pickle(tmp_path, pickle.dumps({"a": value}, protocol=protocol))
    if protocol > 0:
        assert f"is a pickle that wants to run {function.__module__ if protocol > 2 else ''}" in message
        assert f".{name}; refused" in message
    assert not mark.exists()


@pytest.mark.parametrize(
    "pickled, message",
    [
        (b"cposix\nsystem\n(S'id'\ntR.", "is a pickle that wants to run posix.system; refused"),
        (b"(S'id'\niposix\nsystem\n.", "has a pickle with the opcode STRING"),
        (b"\x80\x04\x8c\x02os\x8c\x0dsystem\nevil()\x93.", r"wants to run 'os.system\nevil()'; refused"),
        (b"ctorch\nload\n.", "wants to run torch.load; refused"),
        (b"ctorch.storage\n_load_from_bytes\n.", "wants to run torch.storage._load_from_bytes; refused"),
        (b"ccollections\nOrderedDict\n)\x81.", "has a pickle with the opcode NEWOBJ"),
        (b"\x82\x01.", "has a pickle with the opcode EXT1"),
        (b"\x8e" + (1 << 40).to_bytes(8, "little") + b"a.", "its pickle cannot be read"),
        (b"\x96" + (1 << 40).to_bytes(8, "little") + b"a.", "its pickle cannot be read"),
        (b"X" + (1 << 31).to_bytes(4, "little") + b"a.", "its pickle cannot be read"),
        (b"}r\xff\xff\xff\x7f" + b".", None),  # a memo index of 2**31, for which C's pickle would allocate 16 GB
        (b"\x8b\xff\xff\xff\x7f.", "its pickle cannot be read"),
        (b"", "its pickle cannot be read"),
        (b"}", "its pickle cannot be read"),
        (b".", "its pickle cannot be read"),
        (b"h\x05.", "its pickle cannot be read"),
        (b"t.", "its pickle cannot be read"),
        (b"}(K\x01u.", "its pickle cannot be read"),
        (b"}K\x01K\x02s.", "an int where a str belongs"),
        (b"]}b.", "has a pickle with a list where a dict belongs"),
        (b"ctorch\nFloatStorage\n}b.", "has a pickle with a name where a dict belongs"),
        (b"ctorch\nFloatStorage\n]e.", "its pickle cannot be read"),
        (b"ctorch\nFloatStorage\n)R.", "calls torch.FloatStorage with arguments it never has"),
        (b"ccollections\nOrderedDict\n(]tR.", "calls collections.OrderedDict with arguments it never has"),
        (b"ccollections\nOrderedDict\n]R.", "has a pickle with a list where a tuple belongs"),
        (b"ctorch._utils\n_rebuild_parameter\n(}\x88}tR.", "calls torch._utils._rebuild_parameter with arguments"),
        (TENSOR + b")R.", "calls torch._utils._rebuild_tensor_v2 with arguments it never has"),
        (b"\x80\x02X\x03\x00\x00\x00abcQ.", "asks for something other than a storage"),
        (b"]" * 100_000 + b"a" * 99_999 + b".", "holds a list, not a state dict"),
        (b"\x80\x02}" + text("epoch") + b"K\x03s.", "'epoch' is an int; save model.state_dict() alone"),
        (b"\x80\x02}" + text("model") + b"}s.", "'model' is a dict; save model.state_dict() alone"),
        (state(tensor(), "a\nb"), r"a tensor by the name of 'a\nb'"),
        (state(tensor(key="1")), "data/1 is missing, 6 of torch.FloatStorage were promised"),
        (state(tensor(key="../../x")), "data/../../x is missing"),
        (state(tensor(count=7)), "data/0 has 24 bytes, 7 of torch.FloatStorage were promised"),
        (state(tensor(count=1 << 60)), "data/0 has 24 bytes"),
        (state(tensor(count=-1)), "data/0 has 24 bytes"),
        (state(tensor(count=-1, key="9", kind=b"ctorch\nByteStorage\n")), "data/9 is missing"),
        (state(tensor(kind=b"ctorch\nDoubleStorage\n")), "data/0 has 24 bytes"),
        (state(tensor(kind=b"ctorch\nuint16\n")), "asks for something other than a storage"),
        (state(tensor(start=1)), "reaches beyond its storage of 24 bytes"),
        (state(tensor(start=-1)), "are not whole numbers from 0"),
        (state(tensor(start=1 << 900, shape=(0, 3))), "reaches beyond its storage of 24 bytes"),
        (state(tensor(shape=(-2, -3))), "are not whole numbers from 0"),
        (state(tensor().replace(numbers((2, 3)), b")" + b"q\x00h\x00\x86" * 99)), "are not whole numbers from 0"),
        (state(tensor(strides=(-3, 1))), "are not whole numbers from 0"),
        (state(tensor(strides=(1,))), "1 strides for the 2 axes of a tensor"),
        (state(tensor(strides=(4, 1))), "reaches beyond its storage"),
        (state(tensor(strides=(1 << 900, 1))), "reaches beyond its storage"),
        (state(tensor(shape=(1 << 40, 3), strides=(0, 0))), "more than its storage of 24 bytes; save expanded.clone()"),
        (state(tensor(shape=(1 << 62, 0))), "which no machine can hold"),
        (state(tensor(shape=(1,) * 65, strides=(1,) * 65)), "65 axes; 64 are the most"),
    ],
)
def test_invalid_pickles_are_refused_in_one_line(tmp_path, pickled, message):
    tracemalloc.start()
    if message is None:
        archive(tmp_path / "pytorch_model.bin", pickled)
        assert not open_weights(tmp_path)
    else:
        assert message in error_of_pickle(tmp_path, pickled)
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()


def test_strides_of_unused_axes_may_be_anything(tmp_path):
    pickled = state(tensor(shape=(1, 0), strides=(1 << 900, 1 << 900)))
    archive(tmp_path / "pytorch_model.bin", pickled, [bytes(24)])
    assert open_weights(tmp_path).read("a").shape == (1, 0)
    archive(tmp_path / "pytorch_model.bin", state(tensor(shape=(5, 0), strides=(1 << 900, 1))), [bytes(24)])
    assert open_weights(tmp_path).read("a").shape == (5, 0)
    pickled = state(tensor(shape=(1, 6), strides=(1 << 900, 1)))
    archive(tmp_path / "pytorch_model.bin", pickled, [np.arange(6, dtype=np.float32).tobytes()])
    assert open_weights(tmp_path).read("a").tolist() == [[0, 1, 2, 3, 4, 5]]


def test_archives_not_written_by_torch_are_refused(tmp_path):
    path = tmp_path / "pytorch_model.bin"
    good = state(tensor())
    assert "has a compressed entry, archive/data.pkl" in error_of_pickle(
        tmp_path, good, compression=zipfile.ZIP_DEFLATED
    )
    assert "with 2 data.pkl" in error_of_pickle(tmp_path, good, extra=[("other/data.pkl", b"")])
    assert "big-endian" in error_of_pickle(tmp_path, good, extra=[("archive/byteorder", b"big")])
    with pytest.warns(UserWarning, match="Duplicate name"):
        assert "archive/data/0 is in it twice" in error_of_pickle(tmp_path, good, extra=[("archive/data/0", bytes(24))])
    assert "the limit is 8388608" in error_of_pickle(tmp_path, b"0" * (9 << 20))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("model.onnx", b"")
    assert "with 0 data.pkl" in error_of(tmp_path)
    for content in (b"\x80\x02}.", b"Rar!", b"PK", b"\x89HDF"):
        path.write_bytes(content)
        assert "it is not a zip archive" in error_of(tmp_path)


def test_files_from_before_torch_1_6_have_the_same_tensors(tmp_path):
    torch = pytest.importorskip("torch")
    table = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    tensors = {
        "a": table,
        "tied": table,
        "b": table.T[1:],
        "c": torch.ones(2, dtype=torch.bfloat16),
        "d": torch.ones(0),
    }
    path = tmp_path / "pytorch_model.bin"
    torch.save(collections.OrderedDict(tensors), path, _use_new_zipfile_serialization=False)
    weights = open_weights(tmp_path)
    assert list(weights) == list(tensors) and weights["c"].dtype == ml_dtypes.bfloat16
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(weights.read(name).astype(np.float32), tensor.float().numpy())
    content = path.read_bytes()
    rng = random.Random(0)
    for end in range(20, len(content)):
        path.write_bytes(content[:end])
        assert "damaged" in error_of(tmp_path)
    for _ in range(500):
        changed = bytearray(content)
        changed[rng.randrange(20, len(content))] = rng.randrange(256)
        path.write_bytes(changed)
        try:
            for name, place in open_weights(tmp_path).items():
                assert place.offset + place.span <= len(content), name
        except UserError as error:
            assert "\n" not in str(error)


def test_old_file_that_calls_a_function_is_refused(tmp_path):
    torch = pytest.importorskip("torch")

    class Harmful:
        def __reduce__(self):
            return os.system, ("true",)

    torch.save({"a": Harmful()}, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    assert f"wants to run {os.system.__module__}.system" in error_of(tmp_path)


def test_negated_view_is_refused(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"a": torch.ones(3, dtype=torch.complex64).conj().imag}, tmp_path / "pytorch_model.bin")
    assert "_rebuild_tensor_v2 with arguments it never has" in error_of(tmp_path)


def test_changed_and_truncated_files_raise_nothing_but_user_error(tmp_path):
    path = tmp_path / "pytorch_model.bin"
    archive(path, state(tensor()), [np.arange(6, dtype=np.float32).tobytes()])
    content = path.read_bytes()
    changes = [content[:i] for i in range(1, len(content))]
    changes += [content[:i] + bytes([content[i] ^ m]) + content[i + 1 :] for i in range(len(content)) for m in (1, 255)]
    rng = random.Random(0)
    for _ in range(300):  # with a right checksum, so that the interpreter is reached
        pickled = bytearray(state(tensor()))
        for _ in range(rng.randint(1, 3)):
            pickled[rng.randrange(len(pickled))] = rng.randrange(256)
        file = io.BytesIO()
        archive(file, bytes(pickled), [bytes(24)])
        changes.append(file.getvalue())
    for changed in changes:
        path.write_bytes(changed)
        try:
            weights = open_weights(tmp_path)
            for name in weights:
                assert weights.read(name).size <= 6
        except UserError as error:
            assert "\n" not in str(error)
