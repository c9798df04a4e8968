"""Damaged shards and edited manifests are found, and examples are shown as text."""

import dataclasses
import io
import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console
from stories import read_rows

from bert_jax.data.pretraining.record import Manifest, read_manifest
from bert_jax.errors import UserError
from bert_jax.text import load_tokenizer
from data_prep.checking.check import check_shards
from data_prep.checking.example_rules import find_problem
from data_prep.checking.shown_examples import show_examples
from data_prep.job.build import build_shards


@pytest.fixture
def shards(tmp_path: Path, configure) -> tuple[Path, Manifest]:
    return tmp_path / "shards", build_shards(configure())


def test_sound_shards_pass(shards):
    folder, manifest = shards
    assert check_shards(folder) == manifest


@pytest.mark.parametrize("place", [70, 1_000, -70_000])
def test_flipped_byte_is_found(shards, place):
    folder, _ = shards
    path = folder / "train-00001.array_record"
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"train-00001.array_record is damaged"):
        check_shards(folder)


def test_missing_truncated_doubled_and_foreign_shards_are_all_reported(shards):
    folder, _ = shards
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
    message = str(error.value)
    assert "\n" not in message
    for says in ("00000.array_record is missing", "truncated", "00099.array_record is not in", "half-written", "twice"):
        assert says in message


def test_wrong_count_and_wrong_tokenizer_are_both_reported(shards):
    folder, _ = shards
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
def test_example_that_breaks_a_rule_is_reported(shards, field, value, says):
    folder, manifest = shards
    special = load_tokenizer(folder / "tokenizer").special
    rows = read_rows(folder, manifest, "train").copy()
    rows = rows[(rows["masked_count"] > 1) & (rows["length"] < 31)]
    assert find_problem(rows, manifest, special) is None
    if field.startswith("masked_") and field != "masked_count":
        rows[field][1, :2] = value
    else:
        rows[field][1] = value
    assert says in find_problem(rows, manifest, special)


def test_examples_are_shown_as_text(shards):
    folder, manifest = shards
    lines = [line.plain for line in show_examples(folder, manifest, 3)]
    assert [line.split(":")[0] for line in lines[::2]] == [f"{s} {i}" for s in ("train", "held_out") for i in range(3)]
    assert "→[MASK]}" in "".join(lines) and "[CLS] " in lines[1] and lines[1].endswith("[SEP]")
    assert show_examples(folder, dataclasses.replace(manifest, splits={}), 3) == []


def test_folder_without_shards_is_named(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        check_shards(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"no manifest.json"):
        check_shards(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match="not a manifest"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "place, value, says",
    [
        (("statistics", "examples"), 7, "statistics say examples 7, the examples"),
        (("statistics", "examples_random_next"), 7, "statistics say examples_random_next 7, the examples"),
        (("statistics", "share_padding"), 0.5, "statistics say share_padding 0.5, the examples 0."),
        (("statistics", "share_masked"), 0.15, "statistics say share_masked"),
        (("statistics", "documents"), 41, "statistics say documents 41, the parts 40"),
        (("statistics", "tokens"), 1, "statistics say tokens 1, the parts"),
        (("seed",), 9, "seed is 9, and 0 in its settings"),
        (("dupe_factor",), 9, "dupe_factor is 9, and 2 in its settings"),
        (("masking", "rate"), 0.3, "mask_rate is 0.3, and 0.15 in its settings"),
        (("vocab_size",), 99, "vocab_size is 99, the tokenizer has 67"),
        (("statistics", "share_unknown"), 0.5, "statistics say share_unknown 0.5, the examples 0.0"),
        (("statistics", "share_random_next_by_choice"), 0.9, "statistics say share_random_next_by_choice 0.9"),
        (("masking", "unit"), "ngram", "mask_unit is ngram, and token in its settings"),
        (("masking", "mask_share"), 0.5, "mask_share is 0.5, and 0.8 in its settings"),
        (("splits", "train", 1, "sha256"), "0" * 64, "train-00001.array_record is damaged"),
        (("splits", "train", 1, "bytes"), 9, "train-00001.array_record has .* bytes, not 9: altered"),
        (("splits", "other"), [], "split 'other' is not one of train, held_out"),
    ],
)
def test_edited_manifest_is_found(shards, place, value, says):
    folder, _ = shards
    fields = json.loads((folder / "manifest.json").read_text())
    inner = fields
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    (folder / "manifest.json").write_text(json.dumps(fields))
    with pytest.raises(UserError, match=says):
        check_shards(folder)


def test_shard_removed_from_the_list_or_moved_to_another_split_is_found(shards):
    folder, _ = shards
    fields = json.loads((folder / "manifest.json").read_text())
    (folder / fields["splits"]["train"].pop()["file"]).unlink()
    (folder / "manifest.json").write_text(json.dumps(fields))
    with pytest.raises(UserError, match=r"is not listed as it was made; .*statistics say examples"):
        check_shards(folder)
    fields["splits"]["held_out"].append(fields["splits"]["train"].pop())
    (folder / "manifest.json").write_text(json.dumps(fields))
    with pytest.raises(UserError, match="is listed under held_out"):
        check_shards(folder)


def test_shards_without_the_notes_of_their_parts_pass(shards):
    folder, manifest = shards
    shutil.rmtree(folder / "parts")
    assert check_shards(folder) == manifest


def test_marks_are_shown_with_and_without_colours(shards):
    folder, manifest = shards
    lines = show_examples(folder, manifest, 2)
    for width, terminal in ((10_000, True), (10_000, False)):
        out = io.StringIO()
        Console(file=out, force_terminal=terminal, width=width, color_system="standard" if terminal else None).print(
            *lines, sep="\n"
        )
        assert ("\x1b[" in out.getvalue()) == terminal and "[MASK]" in out.getvalue()


def test_shards_and_notes_of_the_first_schema_pass(shards):
    folder, manifest = shards
    for path in folder.glob("parts/part-*.json"):
        fields = json.loads(path.read_text())
        (entry,) = fields.pop("made")
        counts = fields["counts"] | entry["counts"]
        path.write_text(json.dumps(fields | {"shards": entry["shards"], "counts": counts}))
    fields = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(fields | {"schema": 1}))
    assert check_shards(folder) == dataclasses.replace(manifest, schema=1)
    fields["statistics"]["documents"] += 1
    (folder / "manifest.json").write_text(json.dumps(fields | {"schema": 1}))
    with pytest.raises(UserError, match="the parts 40"):
        check_shards(folder)
