"""TensorFlow checkpoints are read and written as by TensorFlow itself, and damage never passes for data."""

import tracemalloc
from pathlib import Path

import google_crc32c
import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bert_jax.convert.tensorflow import bundle_index, sstable
from bert_jax.convert.tensorflow.sstable import Damaged, sstable_bytes, varint, with_trailer
from bert_jax.convert.tensorflow.tensor_bundle import find_prefix, read_bundle, read_index, write_bundle
from bert_jax.errors import UserError

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "tensor_bundle"
SHARD = ".data-00000-of-00001"
TENSORS = {
    "bert/a": np.arange(-15, 15, dtype=np.float32).reshape(2, 3, 5),
    "bert/ab": np.float64([[0.1], [np.pi]]),
    "empty": np.zeros((0, 7), np.float16),
    "half": np.arange(5).astype(ml_dtypes.bfloat16),
    "step": np.array(1 << 40),
    "wörter": np.array([True, False, True]),
    "z": np.int32([[-1, 2]]),
}


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    """Return whether both have the same names in the same order, types, shapes and bytes."""
    return list(a) == list(b) and all(
        (a[name].dtype, a[name].shape, a[name].tobytes()) == (b[name].dtype, b[name].shape, b[name].tobytes())
        for name in a
    )


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """Write an intact checkpoint with TENSORS."""
    path = tmp_path / "model.ckpt"
    write_bundle(path, TENSORS)
    return path


def write_index(prefix: Path, *entries: tuple[bytes, bytes], header: bytes | None = None) -> None:
    items = [(b"", bundle_index.header_bytes() if header is None else header), *entries]
    Path(f"{prefix}.index").write_bytes(sstable_bytes(items))


def entry(shape: tuple[int, ...], size: int, *, offset: int = 0) -> bytes:
    return bundle_index.entry_bytes(np.dtype(np.float32), shape, offset, size, 0)


def error_of(path: Path, names: list[str] | None = None) -> str:
    with pytest.raises(UserError) as caught:
        read_bundle(path, names)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_round_trip_is_exact(prefix):
    assert same(read_bundle(prefix), {name: TENSORS[name] for name in sorted(TENSORS)})
    assert sorted(path.name for path in prefix.parent.iterdir()) == ["model.ckpt" + SHARD, "model.ckpt.index"]


def test_only_named_tensors_are_read_in_the_order_of_the_names(prefix):
    names = ["z", "bert/a"]
    half = read_index(prefix)["half"]
    data = bytearray(half.shard.read_bytes())
    data[half.offset] ^= 1
    half.shard.write_bytes(data)
    assert same(read_bundle(prefix, names), {name: TENSORS[name] for name in names})
    assert "checksum of tensor 'half'" in error_of(prefix)


def test_same_tensors_give_the_same_bytes(prefix, tmp_path):
    other = tmp_path / "other.ckpt"
    swapped = TENSORS["bert/a"].astype(">f4").transpose(2, 1, 0).copy().transpose(2, 1, 0)
    write_bundle(other, {name: TENSORS[name] for name in reversed(TENSORS)} | {"bert/a": swapped})
    for suffix in (".index", SHARD):
        assert Path(f"{prefix}{suffix}").read_bytes() == Path(f"{other}{suffix}").read_bytes()


def test_index_has_the_place_of_each_tensor(prefix):
    entries = read_index(prefix)
    assert list(entries) == sorted(TENSORS)
    for name, place in entries.items():
        tensor = TENSORS[name]
        assert (place.dtype, place.shape, place.size) == (tensor.dtype, tensor.shape, tensor.nbytes)
        content = place.shard.read_bytes()[place.offset : place.offset + place.size]
        assert google_crc32c.value(content) == place.crc32c


@pytest.mark.parametrize("suffix", ["", ".index", SHARD, ".meta"])
def test_checkpoint_is_found_by_any_of_its_files(prefix, suffix):
    assert find_prefix(Path(f"{prefix}{suffix}")) == prefix


def test_checkpoint_is_found_by_its_folder_if_it_is_the_only_one(prefix):
    assert find_prefix(prefix.parent) == prefix
    write_bundle(prefix.with_name("second.ckpt"), {})
    assert "2 checkpoints are here (model.ckpt.index, second.ckpt.index)" in error_of(prefix.parent)


def test_paths_that_are_no_checkpoint_are_refused_by_kind(prefix, tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "sub").mkdir()
    assert "model.ckpz.index: no such file" in error_of(tmp_path / "model.ckpz")
    assert "no TensorFlow checkpoint" in error_of(tmp_path / "notes.txt")
    assert "no *.ckpt.index in this folder" in error_of(tmp_path / "sub")
    assert "older V1 checkpoint" in error_of(GOLDEN / "v1.ckpt")
    Path(f"{prefix}.index").write_bytes((GOLDEN / "v1.ckpt").read_bytes())
    assert "older V1 checkpoint" in error_of(prefix)
    assert "File name too long" in error_of(tmp_path / ("n" * 300))


def test_unknown_tensor_name_gets_the_closest_one_as_a_hint(prefix):
    assert "no tensor 'bert/aa'; did you mean 'bert/a" in error_of(prefix, ["bert/aa"])


def test_checkpoint_by_tensorflow_is_read_and_written_to_the_same_bytes(tmp_path):
    tensors = read_bundle(GOLDEN / "small.ckpt")
    numbers = np.arange(200) * 37 % 101 - 50
    assert np.array_equal(tensors["bert/embeddings/word_embeddings"], numbers[:65].reshape(13, 5) / 8)
    assert np.array_equal(tensors["types/bfloat16"].astype(int), numbers[:6].reshape(2, 3))
    assert np.array_equal(tensors["types/float16"].astype(int), numbers[:7])
    assert np.array_equal(tensors["types/float64"], numbers[:12].reshape(2, 3, 2) / 4)
    assert np.array_equal(tensors["types/int32"], numbers[:3, None])
    assert tensors["types/bool"].tolist() == [True, False, True]
    assert tensors["global_step"] == 1234567890123
    assert tensors["empty"].shape == (0, 3)
    write_bundle(tmp_path / "small.ckpt", tensors)
    for suffix in (".index", SHARD):
        assert (tmp_path / f"small.ckpt{suffix}").read_bytes() == (GOLDEN / f"small.ckpt{suffix}").read_bytes()


def test_two_data_files_are_read_as_one():
    assert {place.shard.name[-5:] for place in read_index(GOLDEN / "two.ckpt").values()} == {"00002"}
    assert same(read_bundle(GOLDEN / "two.ckpt"), read_bundle(GOLDEN / "small.ckpt"))


def test_unreadable_tensors_are_named_and_can_be_left_out():
    odd = GOLDEN / "odd.ckpt"
    assert "tensor 'text' holds strings" in error_of(odd, ["whole", "text"])
    assert "tensor 'part' was saved in parts" in error_of(odd)
    assert "tensor 'small' is of TensorFlow's type number 4" in error_of(odd, ["small"])
    assert read_bundle(odd, ["whole"])["whole"].tolist() == [1, 1]


def test_tensorflow_and_we_read_and_write_the_same_files(tmp_path):
    tf = pytest.importorskip("tensorflow")
    prefix = tmp_path / "ours.ckpt"
    many = {f"layer_{i}/{'weights' * (i % 7)}/kernel": np.full((i % 3, 2), i, np.float32) for i in range(9000)}
    tensors = TENSORS | many  # enough for several blocks
    write_bundle(prefix, tensors)
    reader = tf.train.load_checkpoint(str(prefix))
    assert set(reader.get_variable_to_shape_map()) == set(tensors)
    assert same({name: np.asarray(reader.get_tensor(name)) for name in tensors}, tensors)

    names = sorted(tensors, key=str.encode)
    values = [tf.constant(tensors[name]) for name in names]
    theirs = tmp_path / "theirs.ckpt"
    tf.raw_ops.SaveV2(prefix=str(theirs), tensor_names=names, shape_and_slices=[""] * len(names), tensors=values)
    assert same(read_bundle(theirs, list(tensors)), tensors)
    for suffix in (".index", SHARD):
        assert Path(f"{theirs}{suffix}").read_bytes() == Path(f"{prefix}{suffix}").read_bytes()

    saved = tmp_path / "saver" / "model.ckpt-7"
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = [tf.compat.v1.get_variable(name, initializer=tensors[name]) for name in ("bert/a", "z")]
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver(variables).save(session, str(saved.parent / "model.ckpt"), global_step=7)
    assert same(read_bundle(saved.parent), {name: tensors[name] for name in ("bert/a", "z")})


def test_changed_byte_of_the_index_is_detected_or_harmless(prefix):
    index = Path(f"{prefix}.index")
    intact = index.read_bytes()
    expected = read_bundle(prefix)
    harmless = 0
    for i in range(len(intact)):
        for flip in (1, 4, 32, 128, 255):
            index.write_bytes(intact[:i] + bytes([intact[i] ^ flip]) + intact[i + 1 :])
            try:
                assert same(read_bundle(prefix), expected)
                harmless += 1
            except UserError as error:
                assert str(index) in str(error) and "\n" not in str(error)
    assert harmless <= 5 * 40  # the padding of the footer


def test_changed_byte_of_the_data_is_detected(prefix):
    data = Path(f"{prefix}{SHARD}")
    intact = data.read_bytes()
    for i in range(len(intact)):
        for flip in (1, 128, 255):
            data.write_bytes(intact[:i] + bytes([intact[i] ^ flip]) + intact[i + 1 :])
            assert f"{data}: damaged: the checksum of tensor" in error_of(prefix)


@pytest.mark.parametrize("suffix", [".index", SHARD])
def test_truncated_file_is_detected(prefix, suffix):
    path = Path(f"{prefix}{suffix}")
    intact = path.read_bytes()
    for length in range(len(intact)):
        path.write_bytes(intact[:length])
        message = error_of(prefix)
        assert str(path) in message and "cut off" in message


def test_missing_data_file_is_named_with_its_tensor(prefix):
    Path(f"{prefix}{SHARD}").unlink()
    assert f"{prefix}{SHARD}: no such file; it holds tensor 'bert/a'" in error_of(prefix)


def test_claimed_terabytes_are_refused_before_allocation(prefix):
    def index_of_one(block: bytes, handles: bytes) -> bytes:
        return block + handles.ljust(40, b"\0") + sstable.MAGIC

    write_index(prefix, (b"big", entry((1 << 38,), 1 << 40)))
    compressed = with_trailer(varint(1 << 45), sstable.SNAPPY)
    handle = varint(0) + varint(len(compressed) - sstable.TRAILER_BYTES)
    claims = {
        "tensor 'big' ends at byte 1099511627776": Path(f"{prefix}.index").read_bytes(),
        "claims 35184372088832 bytes": index_of_one(compressed, handle * 2),
        "does not fit": index_of_one(compressed, (varint(1 << 60) + varint(1 << 61)) * 2),
        "shorter than it says": index_of_one(with_trailer(b"\xff\xff\xff\xff"), b"\0\4" * 2),
    }
    for expected, content in claims.items():
        Path(f"{prefix}.index").write_bytes(content)
        tracemalloc.start()
        assert expected in error_of(prefix)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1 << 20


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (entry((3,), 8), "8 bytes for the shape"),
        (entry((1 << 40, 1 << 40, 0), 0), "the shape"),
        (entry((1,) * 65, 4), "65 dimensions"),
        (entry((1,), 4, offset=(1 << 64) - 8), "4 bytes from byte"),
        (entry((2,), 8) + b"\x18\x01", "in data file 1 of 1"),
        (entry((2,), 8) + b"\x0a\x01x", "of another kind"),
        (entry((2,), 8) + b"\x0b", "unknown kind 3"),
        (entry((2,), 8) + b"\x7a\x05x", "a message is cut off"),
        (entry((2,), 8) + b"\xff" * 11, "cut off or too long"),
        (entry((2,), 8, offset=1 << 40), "ends at byte"),
    ],
)
def test_impossible_entry_is_refused(prefix, value, expected):
    write_index(prefix, (b"bert/x", value))
    message = error_of(prefix)
    assert expected in message and "'bert/x'" in message


def test_impossible_index_is_refused(prefix):
    write_index(prefix, (b"a", entry((2,), 8)), (b"b", entry((2,), 8, offset=4)))
    assert "tensors 'a' and 'b' overlap at byte 4" in error_of(prefix)
    write_index(prefix, (b"b", entry((2,), 8)), (b"a", entry((2,), 8, offset=8)))
    assert "the key b'a' comes after b'b'" in error_of(prefix)
    write_index(prefix, (b"n" * 1025, entry((2,), 8)))
    assert "a key has 1025 bytes" in error_of(prefix)
    write_index(prefix, (b"\xff", entry((2,), 8)))
    assert "is not UTF-8" in error_of(prefix)
    Path(f"{prefix}.index").write_bytes(sstable_bytes([]))
    assert "no header" in error_of(prefix)
    write_index(prefix, header=b"")
    assert "0 data files" in error_of(prefix)
    write_index(prefix, header=b"\x08\x01\x10\x01")
    assert "big-endian" in error_of(prefix)
    write_index(prefix, header=b"\x08\x01\x1a\x04\x08\x02\x10\x02")
    assert "of format 2; up to 1 is read" in error_of(prefix)
    with Path(f"{prefix}.index").open("wb") as file:
        file.truncate(1 << 30)
    assert "1073741824 bytes" in error_of(prefix)


@given(st.dictionaries(st.binary(max_size=5), st.binary(max_size=40)))
@example({b"\x00\x80": b""})  # a key that is no text, among the ignored slices of partitioned tensors
def test_random_entries_are_damaged_or_an_index(items):
    content = sstable_bytes(sorted(({b"": bundle_index.header_bytes()} | items).items()))
    try:
        entries = bundle_index.parse_index(content, Path("x"))
    except (Damaged, UserError) as error:
        assert "\n" not in str(error)
    else:
        assert {name.encode() for name in entries} <= items.keys()
        assert all(min(entry.offset, entry.size, *entry.shape) >= 0 for entry in entries.values())


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9).filter(lambda name: name[0] != "\0"),
        st.tuples(
            st.sampled_from(sorted(bundle_index.DTYPE_CODES)),
            st.lists(st.integers(0, 4), max_size=4),
            st.integers(0, 2**32 - 1),
        ),
        max_size=40,
    )
)
def test_round_trip_is_exact_for_any_tensors(tmp_path_factory, recipes):
    tensors = {}
    for name, (dtype, shape, seed) in recipes.items():
        values = np.random.default_rng(seed).integers(0, 2 if dtype == "bool" else 256, size=shape)
        tensors[name] = values.astype(bundle_index.TF_DTYPES[bundle_index.DTYPE_CODES[dtype]])
    path = tmp_path_factory.mktemp("any") / "a.ckpt"
    write_bundle(path, tensors)
    assert same(read_bundle(path, list(tensors)), tensors)


def test_compressed_blocks_are_read(prefix):
    def compressed(block: bytes) -> bytes:
        literal = bytes([61 << 2]) + (len(block) - 1).to_bytes(2, "little") + block
        return with_trailer(varint(len(block)) + literal, sstable.SNAPPY)

    expected = read_bundle(prefix)
    content = Path(f"{prefix}.index").read_bytes()
    footer, offset, handles = content[-48:], 0, []
    for _ in range(2):
        start, offset = sstable.read_varint(footer, offset)
        size, offset = sstable.read_varint(footer, offset)
        handles.append((start, size))
    (meta_start, meta_size), _ = handles
    data_block = content[: meta_start - sstable.TRAILER_BYTES]
    blocks = [compressed(data_block), compressed(content[meta_start : meta_start + meta_size])]
    handle = varint(0) + varint(len(blocks[0]) - sstable.TRAILER_BYTES)
    blocks.append(compressed(b"\0\1" + varint(len(handle)) + b"z" + handle + bytes(4) + b"\1\0\0\0"))
    starts = [0, len(blocks[0]), len(blocks[0]) + len(blocks[1])]
    places = b"".join(varint(starts[i]) + varint(len(blocks[i]) - sstable.TRAILER_BYTES) for i in (1, 2))
    Path(f"{prefix}.index").write_bytes(b"".join(blocks) + places.ljust(40, b"\0") + sstable.MAGIC)
    assert same(read_bundle(prefix), expected)


@pytest.mark.parametrize(
    ("name", "tensor", "expected"),
    [
        ("", np.zeros(1, np.float32), "the name ''"),
        ("\0a", np.zeros(1, np.float32), "the first not NUL"),
        ("\ud800", np.zeros(1, np.float32), "UTF-8"),
        ("n" * 1025, np.zeros(1, np.float32), "1 to 1024 bytes"),
        ("a", np.array(["text"]), "tensor 'a' is <U4"),
        ("a", np.zeros(1, np.complex64), "tensor 'a' is complex64"),
    ],
)
def test_refused_tensor_leaves_no_file(tmp_path, name, tensor, expected):
    with pytest.raises(UserError, match=expected):
        write_bundle(tmp_path / "a.ckpt", {"ok": np.zeros(3, np.float32), name: tensor})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("renames", [0, 1])
def test_failed_write_leaves_no_file(tmp_path, monkeypatch, error, renames):
    rename = Path.rename

    def fail(path: Path, target: Path) -> Path:
        if path.name.endswith(f"{SHARD}.partial") and renames:
            return rename(path, target)
        raise error

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(UserError if isinstance(error, OSError) else KeyboardInterrupt):
        write_bundle(tmp_path / "a.ckpt", TENSORS)
    assert not list(tmp_path.iterdir())


def test_checkpoint_is_never_overwritten(prefix):
    before = Path(f"{prefix}.index").read_bytes()
    with pytest.raises(UserError, match="already there"):
        write_bundle(prefix, {})
    with pytest.raises(UserError, match="a folder"):
        write_bundle(prefix.parent, {})
    with pytest.raises(UserError, match=r"File exists|Not a directory"):
        write_bundle(Path(f"{prefix}.index") / "a.ckpt", {})
    assert Path(f"{prefix}.index").read_bytes() == before


def test_large_tensor_is_in_memory_once(tmp_path):
    large = np.ones((4096, 2048), np.float32)  # 32 MiB
    tracemalloc.start()
    write_bundle(tmp_path / "a.ckpt", {"large": large})
    written = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    read = read_bundle(tmp_path / "a.ckpt")["large"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(read, large)
    assert written < 8 << 20 and peak < large.nbytes + (8 << 20)
