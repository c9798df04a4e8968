"""Shards of several lengths from one pass over the text."""

from pathlib import Path

import pytest
from stories import folder_bytes

from bert_jax.data.pretraining.record import read_manifest
from bert_jax.errors import UserError
from data_prep.checking.check import check_shards
from data_prep.command import main
from data_prep.job import part_job
from data_prep.job.build import build_lengths, build_shards


@pytest.mark.parametrize("examples", ["pairs", "packed"])
def test_each_length_has_the_bytes_of_a_separate_job(tmp_path, configure, examples):
    manifests = build_lengths(configure("both", length=(24, 61), examples=examples, workers=2))
    assert list(manifests) == [tmp_path / "both" / "24", tmp_path / "both" / "61"]
    for length, predictions in ((24, 4), (61, 10)):
        alone = build_shards(configure(f"alone-{length}", length=length, examples=examples))
        assert manifests[tmp_path / "both" / str(length)] == alone == check_shards(tmp_path / "both" / str(length))
        assert alone.masking.max_predictions == predictions
        expected = folder_bytes(tmp_path / f"alone-{length}")
        files = folder_bytes(tmp_path / "both" / str(length))
        assert files == {name: data for name, data in expected.items() if not name.startswith("parts/")}


def test_text_is_tokenised_once_for_all_lengths(configure, monkeypatch):
    calls = []
    tokenize = part_job.tokenize
    monkeypatch.setattr(part_job, "tokenize", lambda *arguments: calls.append(1) or tokenize(*arguments))
    build_shards(configure("one"))
    calls_for_one = len(calls)
    build_lengths(configure("three", length=(24, 61, 31)))
    assert len(calls) == 2 * calls_for_one > 2


@pytest.mark.parametrize("lost", ["61/train-00001.array_record", "parts/part-00002.json", "24/manifest.json"])
def test_resumed_job_restores_missing_files(tmp_path, configure, lost):
    config = configure(length=(24, 61))
    build_lengths(config)
    folder = tmp_path / "shards"
    before = folder_bytes(folder)
    (folder / lost).unlink()
    (folder / "24" / "train-00002.array_record.77.partial").write_bytes(b"of a killed worker")
    build_lengths(config)
    assert folder_bytes(folder) == before


def test_damaged_manifest_is_written_again(tmp_path, configure):
    before = build_lengths(configure(length=(24, 61)))
    (tmp_path / "shards" / "61" / "manifest.json").write_text("{")
    assert build_lengths(configure(length=(24, 61))) == before
    assert read_manifest(tmp_path / "shards" / "61").length == 61


@pytest.mark.parametrize("shares", [1, 2])
def test_half_written_tokenizer_of_a_killed_job_is_removed(tmp_path, configure, shares):
    build_lengths(configure("whole", length=(24, 61)))
    for part in range(shares):
        build_lengths(configure(length=(24, 61), part=part, parts=shares))
        if not part:
            temporary = tmp_path / "shards" / "24" / ".tokenizer.node-7-1.partial.ab12"  # the temporary name of `save`
            temporary.mkdir()
            (temporary / "vocab.txt").write_text("[PAD]")
            (tmp_path / "shards" / "24" / "manifest.json").unlink(missing_ok=True)
    build_lengths(configure(length=(24, 61)))
    assert folder_bytes(tmp_path / "shards") == folder_bytes(tmp_path / "whole")


def test_folder_of_several_lengths_is_refused_with_their_names(tmp_path, configure):
    build_lengths(configure(length=(24, 61)))
    with pytest.raises(UserError, match=r"shards of several lengths. Give one of .*shards/24, .*shards/61$"):
        read_manifest(tmp_path / "shards")
    with pytest.raises(UserError, match=r"another job \(length \[24, 61\] before, 24 now\)"):
        build_shards(configure(length=24))


def test_corpus_without_examples_leaves_nothing(tmp_path, configure):
    (tmp_path / "small.txt").write_text("ba.")
    with pytest.raises(UserError, match="no training example"):
        build_lengths(configure(input=(str(tmp_path / "small.txt"),), length=(24, 61), held_out=0.0))
    assert not (tmp_path / "shards").exists()


def test_command_makes_several_lengths(tmp_path, corpus, vocab, capsys):
    command = ["shards", "--input", str(corpus), "--tokenizer", vocab, "--output", str(tmp_path / "out")]
    assert main([*command, "--length", "24", "61", "--dupe-factor", "1", "--workers", "1"]) == 0
    out = capsys.readouterr().out
    assert "out/24" in out and "out/61" in out
    assert read_manifest(tmp_path / "out" / "61").length == 61


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"length": ()}, "one length is needed"),
        ({"length": (24, 24)}, "several that differ"),
        ({"length": (24, 7)}, "length is 7; it must lie between 8"),
        ({"length": (24, 61), "max_predictions": 3}, "with several lengths leave it out"),
        ({"mask_share": 0.8, "random_share": 0.3}, "random_share is 0.3; it must lie between 0.0 and 0"),
        ({"examples": "packed", "masking": "dynamic"}, "dupe_factor is 2; packed with dynamic masks would be the same"),
    ],
)
def test_contradictory_settings_are_refused(configure, changes, says):
    with pytest.raises(UserError, match=says) as error:
        configure(**changes)
    assert "\n" not in str(error.value)


def test_check_within_the_folder_of_a_length_uses_the_notes_above_it(tmp_path, configure, monkeypatch):
    build_lengths(configure(length=(24, 61)))
    monkeypatch.chdir(tmp_path / "shards" / "61")
    text = Path("manifest.json").read_text()
    Path("manifest.json").write_text(text.replace('"documents": 40', '"documents": 41'))
    with pytest.raises(UserError, match="documents 41, the parts 40"):
        check_shards(Path())
