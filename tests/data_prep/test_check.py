import dataclasses
import json
from pathlib import Path

import pytest
from stories import read_rows

from bert_jax.data.record import Manifest, read_manifest
from bert_jax.errors import UserError
from bert_jax.text import load_tokenizer
from data_prep.build import build_shards
from data_prep.check import check_shards, show_examples
from data_prep.rules import find_problem


@pytest.fixture
def made(tmp_path: Path, configure) -> tuple[Path, Manifest]:
    return tmp_path / "shards", build_shards(configure())


def test_sound_shards_pass(made):
    folder, manifest = made
    assert check_shards(folder) == manifest


@pytest.mark.parametrize("place", [70, 1_000, -70_000])
def test_a_flipped_byte_is_found(made, place):
    folder, _ = made
    path = folder / "train-00001.array_record"
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"train-00001.array_record is damaged"):
        check_shards(folder)


def test_missing_truncated_doubled_and_foreign_shards_are_all_told(made):
    folder, _ = made
    (folder / "train-00000.array_record").unlink()
    path = folder / "train-00001.array_record"
    path.write_bytes(path.read_bytes()[:-1000])
    (folder / "train-00099.array_record").write_bytes(b"")
    (folder / "train-00098.array_record.1.partial").write_bytes(b"")
    fields = json.loads((folder / "manifest.json").read_text())
    fields["splits"]["train"].append(fields["splits"]["train"][2])
    (folder / "manifest.json").write_text(json.dumps(fields))
    with pytest.raises(UserError) as error:
        check_shards(folder)
    told = str(error.value)
    assert "\n" not in told
    for says in ("00000.array_record is missing", "truncated", "00099.array_record is not in", "half-written", "twice"):
        assert says in told


def test_a_wrong_count_and_a_wrong_tokenizer_are_told(made):
    folder, _ = made
    fields = json.loads((folder / "manifest.json").read_text())
    fields["splits"]["train"][0]["examples"] += 1
    fields["tokenizer"] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps(fields))
    with pytest.raises(UserError, match=r"the tokenizer is .{8}, 00000000 made the shards; .* examples, not"):
        check_shards(folder)


@pytest.mark.parametrize(
    "field, value, says",
    [
        ("length", 32, "a length"),
        ("length", 2, "a length"),
        ("segment_b", 1, "segment B"),
        ("next_label", 2, "pair label"),
        ("masked_count", 0, "beyond their count"),
        ("masked_positions", 0, "ascend"),
        ("masked_labels", 5, "control token"),
        ("masked_labels", 999, "beyond the vocabulary"),
        ("tokens", 7, "after the text"),
    ],
)
def test_an_example_that_breaks_the_rules_is_told(made, field, value, says):
    folder, manifest = made
    special = load_tokenizer(folder / "tokenizer").special
    rows = read_rows(folder, manifest, "train").copy()
    rows = rows[(rows["masked_count"] > 1) & (rows["length"] < 31)]
    assert find_problem(rows, manifest, special) is None
    if field.startswith("masked_") and field != "masked_count":
        rows[field][1, :2] = value
    else:
        rows[field][1] = value
    assert says in find_problem(rows, manifest, special)


def test_shown_examples_read_as_text(made):
    folder, manifest = made
    lines = show_examples(folder, manifest, 3)
    assert [line.split(":")[0] for line in lines[::2]] == [f"{s} {i}" for s in ("train", "held_out") for i in range(3)]
    assert "→[MASK]}" in "".join(lines) and "[CLS] " in lines[1] and lines[1].endswith("[SEP]")
    assert show_examples(folder, dataclasses.replace(manifest, splits={}), 3) == []


def test_a_folder_without_shards_is_named(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        check_shards(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"no manifest.json"):
        check_shards(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match="not a manifest"):
        read_manifest(tmp_path)
