"""Small weight files that would take minutes to parse are refused within seconds, with a short message."""

import io
import itertools
import json
import pickle
import struct
import time
import zipfile

import google_crc32c
import pytest

from bert_jax.convert.hugging_face import torch_archive, torch_pickle, weight_files
from bert_jax.convert.hugging_face.torch_pickle import torch_places
from bert_jax.convert.hugging_face.weight_files import open_weights
from bert_jax.convert.tensorflow import sstable
from bert_jax.convert.tensorflow.sstable import Damaged, read_sstable, sstable_bytes, varint
from bert_jax.errors import UserError

SECONDS = 20  # generous for a busy machine; without limits they took 40 and more


@pytest.fixture(autouse=True)
def in_time():
    began = time.process_time()
    yield
    assert time.process_time() - began < SECONDS


def torch_file(path, content):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", content)
    return path


@pytest.mark.parametrize("step", [b"N0", b"(t0", b"}0", b"K\x010"], ids=["none", "tuple", "dict", "number"])
def test_millions_of_opcodes_are_refused(tmp_path, step):
    content = b"\x80\x02}" + step * ((torch_archive.MAX_PICKLE_BYTES - 10) // len(step)) + b"."
    with pytest.raises(UserError) as caught:
        torch_places(torch_file(tmp_path / "pytorch_model.bin", content))
    assert len(str(caught.value)) < 400


def test_state_dict_of_a_large_model_is_far_below_the_limit():
    names = [f"bert.encoder.layer.{i}.output.dense.weight" for i in range(400)]
    state = {name: ("storage", "torch.FloatStorage", str(i), "cpu", 12, (12,), (1,)) for i, name in enumerate(names)}
    content = pickle.dumps(state, protocol=2)
    assert sum(1 for _ in torch_pickle._opcodes(content)) * 10 < torch_pickle.MAX_OPCODES


def test_many_records_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(torch_archive, "MAX_RECORDS", 50)
    path = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(51):
            archive.writestr(f"model/data/{i}", b"")
    with pytest.raises(UserError, match="has 51 records; 50 are the most"):
        torch_places(path)
    monkeypatch.setattr(torch_archive, "MAX_PICKLE_BYTES", 500)
    with pytest.raises(UserError, match="more than 500 bytes in its directory"):
        torch_places(path)


def safetensors_file(path, header):
    content = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(content)) + content)


def test_million_empty_tensors_are_refused(tmp_path):
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    safetensors_file(tmp_path / "model.safetensors", {str(i): entry for i in range(200_000)})
    with pytest.raises(UserError, match="200,000 tensors"):
        open_weights(tmp_path)
    safetensors_file(tmp_path / "model.safetensors", {"x": entry | {"y": " " * 16_000_000}})
    with pytest.raises(UserError, match="a header of"):
        open_weights(tmp_path)


def test_many_shards_are_refused(tmp_path):
    shards = {str(i): f"{i}.safetensors" for i in range(weight_files.MAX_SHARDS + 1)}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(UserError, match="1,001 shards"):
        open_weights(tmp_path)


def test_name_as_long_as_the_header_is_clipped(tmp_path):
    safetensors_file(
        tmp_path / "model.safetensors", {"x" * 1_000_000: {"dtype": "F99", "shape": [], "data_offsets": [0, 0]}}
    )
    with pytest.raises(UserError) as caught:
        open_weights(tmp_path)
    assert len(str(caught.value)) < 600 and "F99" in str(caught.value)


def test_many_table_entries_are_refused():
    items = ((number.to_bytes(4, "big"), b"") for number in range(sstable.MAX_ENTRIES + 1))
    with pytest.raises(Damaged, match="more than 131072 entries"):
        list(read_sstable(sstable_bytes(items)))


def test_repeated_blocks_are_refused():
    """An index could name one empty block any number of times, and its checksum would be computed each time."""
    out = io.BytesIO()

    def append(block, restarts=1):
        block += bytes(4 * restarts) + restarts.to_bytes(4, "little")
        start = out.tell()
        crc = google_crc32c.value(block + b"\0")
        out.write(block + b"\0" + sstable.mask_crc(crc).to_bytes(4, "little"))
        return varint(start) + varint(len(block))

    empty = append(b"", 250_000)
    meta = append(b"")
    entries = b"".join(
        varint(0) + varint(len(key)) + varint(len(empty)) + key + empty
        for key in (bytes(pair) for pair in itertools.product(range(256), repeat=2))
    )
    handles = meta + append(entries)
    out.write(handles.ljust(sstable.FOOTER_BYTES - len(sstable.MAGIC), b"\0") + sstable.MAGIC)
    with pytest.raises(Damaged, match="begins within the one before it"):
        list(read_sstable(out.getvalue()))
