"""Weight files of a Hugging Face folder: safetensors are read and written, in shards too; faulty files are refused."""

import itertools
import json
import os
import struct
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bert_jax.convert.hugging_face.weight_files import (
    SAFETENSORS_DTYPES,
    open_weights,
    write_safetensors,
    write_weights,
)
from bert_jax.errors import UserError

LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 440449768\n"


def error_of(folder, name=None):
    with pytest.raises(UserError) as caught:
        open_weights(folder)
    message = str(caught.value)
    assert "\n" not in message and str(folder / name if name else folder) in message and len(message) < 500
    return message


def raw_file(header, data=b"", length=None):
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(content) if length is None else length) + content + data


def entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def read_all(folder):
    weights = open_weights(folder)
    return {name: weights.read(name) for name in weights}


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def same(a, b):
    return set(a) == set(b) and all(
        (a[name].dtype, a[name].shape, a[name].tobytes()) == (b[name].dtype, b[name].shape, b[name].tobytes())
        for name in a
    )


def some_tensors():
    rng = np.random.default_rng(0)
    tensors = {kind: rng.integers(0, 2, (3, 5)).astype(dtype) for kind, dtype in SAFETENSORS_DTYPES.items()}
    return tensors | {
        "schön/scalar": np.array(1.5, np.float32),
        "none": np.zeros((0, 3), ml_dtypes.bfloat16),
        "weight": rng.normal(size=(7, 3)).astype(np.float32),
    }


any_array = st.sampled_from(list(SAFETENSORS_DTYPES.values())).flatmap(
    lambda dtype: hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5).flatmap(
        lambda shape: st.randoms(use_true_random=False).map(
            lambda random: (
                (np.frombuffer(random.randbytes(int(np.prod(shape)) * dtype.itemsize), np.uint8) & 1)
                .view(dtype)
                .reshape(shape)
            )
        )
    )
)
any_name = st.text(st.characters(codec="utf-8").filter(str.isprintable)).filter(lambda name: name != "__metadata__")


@settings(max_examples=50, deadline=None)
@given(tensors=st.dictionaries(any_name, any_array, max_size=5), limit=st.sampled_from([1, 40, 200, 10**9]))
def test_round_trip_is_exact_for_any_tensors(tmp_path_factory, tensors, limit):
    folder = tmp_path_factory.mktemp("weights")
    write_weights(folder, tensors, max_shard_bytes=limit)
    assert same(read_all(folder), tensors)


def test_safetensors_library_reads_and_writes_the_same_bytes(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    tensors = {name: value for name, value in some_tensors().items() if value.dtype != SAFETENSORS_DTYPES["BF16"]}
    write_safetensors(tmp_path / "model.safetensors", tensors)
    assert same(library.load_file(tmp_path / "model.safetensors"), tensors)
    assert (tmp_path / "model.safetensors").read_bytes() == library.save(tensors, {"format": "pt"})


def test_safetensors_library_with_torch_reads_and_writes_the_same_bytes(tmp_path):
    torch = pytest.importorskip("torch")
    library = pytest.importorskip("safetensors.torch")
    write_safetensors(tmp_path / "model.safetensors", some_tensors())
    theirs = library.load_file(tmp_path / "model.safetensors")
    for name, tensor in some_tensors().items():
        assert theirs[name].shape == tensor.shape
        assert np.array_equal(theirs[name].double().numpy(), tensor.astype(np.float64))
    assert theirs["BF16"].dtype == torch.bfloat16
    library.save_file(theirs, tmp_path / "again.safetensors", {"format": "pt"})
    assert (tmp_path / "model.safetensors").read_bytes() == (tmp_path / "again.safetensors").read_bytes()


def test_byte_order_and_strides_are_those_of_the_format(tmp_path):
    array = np.arange(24.0).reshape(4, 6)
    write_weights(tmp_path, {"big": array.astype(">f4"), "turned": array.T, "part": array[::2, 1::3]})
    arrays = read_all(tmp_path)
    assert arrays["big"].dtype == np.float32
    assert np.array_equal(arrays["big"], array)
    assert np.array_equal(arrays["turned"], array.T) and np.array_equal(arrays["part"], array[::2, 1::3])


def test_opening_reads_no_tensor_and_reading_reads_one(tmp_path):
    write_weights(tmp_path, {"a": np.zeros((1024, 1024), np.float32), "b": np.ones((2048, 1024), np.float32)})
    tracemalloc.start()
    weights = open_weights(tmp_path)
    assert {name: (place.shape, place.dtype.name) for name, place in weights.items()} == {
        "a": ((1024, 1024), "float32"),
        "b": ((2048, 1024), "float32"),
    }
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    assert weights.read("b").sum() == 1 << 21
    assert tracemalloc.get_traced_memory()[1] < 9 << 20
    tracemalloc.stop()


def test_failed_write_leaves_the_old_file(tmp_path):
    write_safetensors(tmp_path / "model.safetensors", {"a": np.ones(3)})
    with pytest.raises(UserError, match="'b' of dtype complex128 can't be stored"):
        write_safetensors(tmp_path / "model.safetensors", {"b": np.ones(3, complex)})
    with pytest.raises(UserError, match=r"none/model.safetensors: could not be written: No such file"):
        write_safetensors(tmp_path / "none" / "model.safetensors", {"b": np.ones(3)})
    with pytest.raises(UserError, match="could not be written: Not a directory"):
        write_weights(tmp_path / "model.safetensors" / "in it", {"b": np.ones(3)})
    with pytest.raises(UserError, match="could not be written: Not a directory"):
        write_safetensors(tmp_path / "model.safetensors" / "in it", {"b": np.ones(3)})
    assert files(tmp_path) == ["model.safetensors"] and np.array_equal(read_all(tmp_path)["a"], np.ones(3))


def test_shards_are_within_the_limit_and_replace_old_files(tmp_path):
    tensors = {f"layer.{i}": np.full((i + 1, 10), i, np.float32) for i in range(6)}
    write_weights(tmp_path, tensors)
    assert open_weights(tmp_path).source.name == "model.safetensors"
    write_weights(tmp_path, tensors, max_shard_bytes=200)  # 40, 80 | 120 | 160 | 200 | 240
    names = [f"model-0000{i}-of-00005.safetensors" for i in range(1, 6)]
    assert files(tmp_path) == [*names, "model.safetensors.index.json"]
    assert json.loads((tmp_path / "model.safetensors.index.json").read_text()) == {
        "metadata": {"total_size": 840},
        "weight_map": {f"layer.{i}": names[max(i - 1, 0)] for i in range(6)},
    }
    assert same(read_all(tmp_path), tensors)
    write_weights(tmp_path, tensors, max_shard_bytes=400)
    assert len(files(tmp_path)) == 4 and same(read_all(tmp_path), tensors)
    write_weights(tmp_path, tensors)
    assert files(tmp_path) == ["model.safetensors"] and same(read_all(tmp_path), tensors)


def test_safetensors_are_chosen_before_torch_files(tmp_path):
    write_safetensors(tmp_path / "adapter.safetensors", {"other": np.ones(1)})
    assert list(open_weights(tmp_path)) == ["other"]
    write_safetensors(tmp_path / "b.safetensors", {"b": np.ones(1)})
    assert "adapter.safetensors, b.safetensors; which one?" in error_of(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"b": "b.safetensors"}}')
    assert list(open_weights(tmp_path)) == ["b"]
    (tmp_path / "pytorch_model.bin").write_bytes(b"never looked at")
    assert list(open_weights(tmp_path)) == ["b"]
    write_safetensors(tmp_path / "model.safetensors", {"first": np.ones(1)})
    assert list(open_weights(tmp_path)) == ["first"]


def test_folders_without_weights_are_refused(tmp_path):
    assert "no weights here; model.safetensors or pytorch_model.bin" in error_of(tmp_path)
    assert "no such folder" in error_of(tmp_path / "none")
    write_safetensors(tmp_path / "model-00001-of-00002.safetensors", {"a": np.ones(1)})
    assert "is one of several, but model.safetensors.index.json is missing" in error_of(tmp_path)
    (tmp_path / "model.safetensors").symlink_to(tmp_path / "blob")
    assert error_of(tmp_path, "model.safetensors").endswith("no such file")


def test_symlinks_of_a_hub_cache_are_followed(tmp_path):
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "3b12"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    write_safetensors(blobs / "4d7a", {"a": np.ones(1)})
    (snapshot / "model-00001-of-00001.safetensors").symlink_to("../../blobs/4d7a")
    (blobs / "91bc").write_text('{"weight_map": {"a": "model-00001-of-00001.safetensors"}}')
    (snapshot / "model.safetensors.index.json").symlink_to("../../blobs/91bc")
    assert list(read_all(snapshot)) == ["a"]


@pytest.mark.parametrize(
    "shard", ["../b.safetensors", "/etc/passwd", "sub/b.safetensors", "..", ".", "", "..\\b", "C:b", "a\0b", "a\nb"]
)
def test_index_with_paths_outside_the_folder_is_refused(tmp_path, shard):
    (tmp_path / "in").mkdir()
    write_safetensors(tmp_path / "b.safetensors", {"a": np.ones(1)})
    (tmp_path / "in" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
    assert "a plain name of a file beside it is expected" in error_of(tmp_path / "in", "model.safetensors.index.json")


@pytest.mark.parametrize(
    "index, message",
    [
        ('{"weight_map": {"a": "one.safetensors", "a": "two.safetensors"}}', "'a' is there twice"),
        ('{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}', "'b' is in both one.safetensors and two"),
        ('{"weight_map": {"a": "one.safetensors", "z": "one.safetensors"}}', "one.safetensors lacks z, which model"),
        ('{"weight_map": {"a": "x", "b": "y", "c": "one.safetensors"}}', "2 of 3 shards are missing: x, y"),
        ('{"weight_map": {"a": 1}}', "weight_map is not an object of texts"),
        ("{}", "weight_map is not an object of texts"),
        ("[]", "it is not a JSON object"),
        ('{"weight_map"', "it is not JSON"),
        (LFS_POINTER.decode(), "this is a Git LFS pointer, not the weights: run `git lfs pull`"),
        ("", "empty"),
    ],
)
def test_index_that_does_not_fit_its_shards_is_refused(tmp_path, index, message):
    write_safetensors(tmp_path / "one.safetensors", {"a": np.ones(1), "b": np.ones(1)})
    write_safetensors(tmp_path / "two.safetensors", {"b": np.ones(1)})
    (tmp_path / "model.safetensors.index.json").write_text(index)
    assert message in error_of(tmp_path)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "empty. Download it again"),
        (LFS_POINTER, "this is a Git LFS pointer, not the weights: run `git lfs pull`"),
        (b"\1\0\0", "3 bytes, its header alone has 8"),
        (raw_file(b"{}", length=2**63), f"10 bytes, its header alone has {2**63}"),
        (raw_file(b"{}", length=3), "10 bytes, its header alone has 3"),
        (raw_file(b" {}"), "its header is not a JSON object"),
        (raw_file(b"[]"), "its header is not a JSON object"),
        (raw_file(b'{"a":'), "its header is not JSON"),
        (raw_file(b'{"\xff":1}'), "its header is not JSON"),
        (raw_file(b'{"a":' * 100_000), "its header is not JSON"),
        (
            raw_file(b'{"a":{"dtype":"F32","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,4]}}'),
            "its header is not JSON",
        ),
        (raw_file(b'{"a":1,"a":2}'), "'a' is there twice"),
        (raw_file(b'{"a\\n":1}'), r"'a\n' is not a name"),
        (raw_file(b'{"\\ud800":1}'), r"'\ud800' is not a name"),
        (raw_file({"a" * 10_000: 1}), "aaa' is not described by"),
        (raw_file({"__metadata__": {"format": 1}}), "__metadata__ is not an object of texts"),
        (raw_file({"a": 1}), "'a' is not described by dtype, shape and data_offsets"),
        (raw_file({"a": entry() | {"more": 1}}, bytes(4)), "'a' is not described by"),
        (raw_file({"a": entry(offsets=(0,))}, bytes(4)), "'a' is not described by"),
        (raw_file({"a": entry("F8_E4M3")}, bytes(4)), "'a' has dtype 'F8_E4M3'; known: BOOL, U8"),
        (raw_file({"a": entry(shape=(-1, -1))}, bytes(4)), "that are not whole numbers from 0"),
        (raw_file({"a": entry(shape=(True,))}, bytes(4)), "that are not whole numbers from 0"),
        (raw_file({"a": entry(shape=(1.0,))}, bytes(4)), "that are not whole numbers from 0"),
        (raw_file({"a": entry(shape=(1,) * 65)}, bytes(4)), "'a' has 65 axes; 64 are the most"),
        (raw_file({"a": entry(shape=(0, 2**62), offsets=(0, 0))}), "which no machine can hold"),
        (raw_file({"a": entry(shape=(2**40,), offsets=(0, 2**42))}, bytes(4)), f"'a' is at bytes 0 to {2**42} of 4"),
        (raw_file({"a": entry(offsets=(4, 0))}, bytes(4)), "'a' is at bytes 4 to 0 of 4"),
        (raw_file({"a": entry(shape=(3,))}, bytes(4)), "'a' is F32 of shape [3], but has 4 bytes"),
        (raw_file({"a": entry(), "b": entry()}, bytes(4)), "'b' begins at byte 0, which overlaps the tensor before it"),
        (raw_file({"a": entry(offsets=(4, 8))}, bytes(8)), "'a' begins at byte 4, which leaves 4 bytes unused"),
        (raw_file({"a": entry()}, bytes(7)), "the last 3 bytes belong to no tensor"),
    ],
)
def test_damaged_and_malicious_files_are_refused_by_fault(tmp_path, content, message):
    (tmp_path / "model.safetensors").write_bytes(content)
    assert message in error_of(tmp_path, "model.safetensors")


def test_header_over_the_limit_is_refused_unread(tmp_path):
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", 100_000_001))
        file.truncate(10**12)  # a sparse file of a terabyte
    tracemalloc.start()
    assert "a header of 100000001 bytes, 16000000 are the most" in error_of(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_changed_and_truncated_files_are_refused_or_harmless(tmp_path):
    tensors = {"weight": np.arange(15, dtype=np.float32).reshape(3, 5), "bias": np.arange(7, dtype=np.int16)}
    path = tmp_path / "model.safetensors"
    write_safetensors(path, tensors)
    content = path.read_bytes()
    data = 8 + struct.unpack("<Q", content[:8])[0]
    flips = (
        content[:i] + bytes([content[i] ^ mask]) + content[i + 1 :]
        for i, mask in itertools.product(range(data), [*(1 << bit for bit in range(8)), 0xFF])
    )
    cuts = (content[:i] for i in range(len(content)))
    survived = 0
    for changed in itertools.chain(flips, cuts):
        path.write_bytes(changed)
        try:
            arrays = list(read_all(tmp_path).values())
        except UserError:
            continue
        survived += 1  # the change is in a name, in the metadata or in white space
        assert same(dict(enumerate(arrays)), dict(enumerate(tensors.values())))
    assert survived < data * 9 / 4


def test_shrunk_file_and_invalid_booleans_are_refused_when_read(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(raw_file({"a": entry("BOOL", (3,), (0, 3))}, b"\0\1\2"))
    weights = open_weights(tmp_path)
    with pytest.raises(UserError, match="'a' is of booleans, but has the byte 2"):
        weights.read("a")
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(UserError, match="ended while 'a' was read"):
        weights.read("a")
    path.unlink()
    with pytest.raises(UserError, match="No such file"):
        weights.read("a")
