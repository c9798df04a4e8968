"""Whole jobs: the bytes of shards, resuming, refusals, and statistics."""

import dataclasses
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from stories import folder_bytes, read_rows, story

from bert_jax.data.pretraining.record import read_manifest
from bert_jax.errors import UserError
from bert_jax.text import load_tokenizer
from data_prep.checking.check import check_shards
from data_prep.checking.example_rules import find_problem
from data_prep.corpus.reader_contract import CorpusDocument
from data_prep.job import part_job, shards
from data_prep.job.build import build_shards
from data_prep.job.part_job import is_held_out_document


def test_bytes_do_not_depend_on_the_number_of_workers(tmp_path, configure):
    manifest = build_shards(configure("one"))
    assert len(manifest.splits["train"]) > 3 and manifest.splits["held_out"]
    assert build_shards(configure("three", workers=3)) == manifest
    assert folder_bytes(tmp_path / "one") == folder_bytes(tmp_path / "three")
    assert read_manifest(tmp_path / "one") == manifest
    other = build_shards(configure("other", seed=1))
    assert other.fingerprint != manifest.fingerprint


def test_bytes_do_not_depend_on_the_folder_of_the_corpus(tmp_path, configure, corpus):
    manifest = build_shards(configure("here"))
    corpus.rename(tmp_path / "moved")
    assert build_shards(configure("there", input=(str(tmp_path / "moved"),))).fingerprint == manifest.fingerprint


@pytest.mark.parametrize("lost", ["train-00001.array_record", "parts/part-00002.json", "manifest.json"])
def test_resumed_job_makes_only_the_missing_parts(tmp_path, configure, lost):
    build_shards(configure())
    folder = tmp_path / "shards"
    before = folder_bytes(folder)
    times = {path: path.stat().st_mtime_ns for path in folder.glob("*.array_record")}
    (folder / lost).unlink()
    (folder / "manifest.json").unlink(missing_ok=True)
    (folder / "train-00002.array_record.77.partial").write_bytes(b"of a killed worker")
    remarks: list[str] = []
    build_shards(configure(workers=2), say=remarks.append)
    assert "going on" in remarks[0] or lost == "manifest.json"
    assert folder_bytes(folder) == before
    part = lost.split("-")[-1][:5]
    remade = {path.name for path, stamp in times.items() if path.stat().st_mtime_ns != stamp}
    assert remade == {name for name in remade if part in name} and len(remade) <= 2


def test_killed_job_is_resumed_to_the_same_bytes(tmp_path, configure):
    build_shards(configure("whole", dupe_factor=60))
    config = configure("killed", dupe_factor=60)
    code = (
        f"import sys; sys.path.append({str(Path.cwd())!r})\nfrom data_prep.job.build import build_shards\n"
        f"from data_prep.settings import ShardsConfig\nbuild_shards(ShardsConfig(**{dataclasses.asdict(config)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    while process.poll() is None and not list((tmp_path / "killed").glob("parts/part-*.json")):
        time.sleep(0.01)
    process.kill()
    process.wait()
    with pytest.raises(UserError, match="not finished shards"):
        read_manifest(tmp_path / "killed")
    build_shards(config)
    assert folder_bytes(tmp_path / "killed") == folder_bytes(tmp_path / "whole")


def test_unfinished_job_notices_a_changed_file(tmp_path, configure, corpus):
    build_shards(configure())
    (tmp_path / "shards" / "manifest.json").unlink()
    (corpus / "03.txt").write_text(story(99))
    assert build_shards(configure()).fingerprint == build_shards(configure("fresh")).fingerprint


def test_unfinished_job_with_less_input_removes_surplus_shards(tmp_path, configure, corpus):
    build_shards(configure())
    (tmp_path / "shards" / "manifest.json").unlink()
    for seed in range(4, 20):
        (corpus / f"{seed:02d}.txt").unlink()
    assert build_shards(configure()).fingerprint == build_shards(configure("fresh")).fingerprint
    check_shards(tmp_path / "shards")


def test_finished_shards_are_not_replaced_after_the_input_changed(tmp_path, configure, corpus):
    build_shards(configure())
    before = folder_bytes(tmp_path / "shards")
    (corpus / "03.txt").write_text(story(99))
    with pytest.raises(UserError, match="the input files have changed since"):
        build_shards(configure())
    assert folder_bytes(tmp_path / "shards") == before


def test_finished_job_is_left_unchanged(configure):
    remarks: list[str] = []
    manifest = build_shards(configure())
    assert build_shards(configure(workers=2), say=remarks.append) == manifest
    assert "finished already" in remarks[0]


def test_folder_of_another_job_or_of_no_job_is_refused(tmp_path, configure):
    build_shards(configure())
    before = folder_bytes(tmp_path / "shards")
    with pytest.raises(UserError, match=r"another job \(length 31 before, 32 now\)"):
        build_shards(configure(length=32))
    assert folder_bytes(tmp_path / "shards") == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match=r"mine: not empty"):
        build_shards(configure("mine"))
    assert folder_bytes(tmp_path / "mine") == {"thesis.txt": b"precious"}
    with pytest.raises(UserError, match=r"03.txt exists and is not a folder"):
        build_shards(configure("corpus/03.txt"))


@pytest.mark.parametrize("workers", [1, 2])
def test_undecodable_input_leaves_no_shards_and_replace_works(tmp_path, configure, corpus, workers):
    (corpus / "00.txt").write_bytes(b"caf\xe9 ba de.")
    with pytest.raises(UserError, match=r"00.txt line 1: not UTF-8 at byte 3"):
        build_shards(configure(part_mb=0.05, workers=workers))
    assert not list((tmp_path / "shards").glob("*.partial")) and not (tmp_path / "shards" / "manifest.json").exists()
    manifest = build_shards(configure(part_mb=0.05, workers=workers, encoding_errors="replace"))
    assert manifest.statistics["characters_replaced"] == 1
    check_shards(tmp_path / "shards")


def test_strict_job_does_not_reuse_parts_with_skipped_lines(tmp_path, configure, corpus):
    (corpus / "notes.jsonl").write_text('{"text": "ba de."}\nnot json\n')
    remarks: list[str] = []
    assert build_shards(configure(on_bad="skip"), say=remarks.append).statistics["lines_not_json"] == 1
    assert any("notes.jsonl line 2: not JSON" in line for line in remarks)
    (tmp_path / "shards" / "manifest.json").unlink()
    with pytest.raises(UserError, match=r"notes.jsonl line 2"):
        build_shards(configure())


@pytest.mark.parametrize(
    "text, says",
    [("", "no text in"), (" \n\n", "no words in"), ("\x01\x02", "no words in"), ("ba.", "no training example")],
)
def test_corpus_without_examples_is_refused_and_leaves_nothing(tmp_path, configure, text, says):
    (tmp_path / "small.txt").write_text(text)
    with pytest.raises(UserError, match=says):
        build_shards(configure(input=(str(tmp_path / "small.txt"),), held_out=0.0))
    assert not (tmp_path / "shards").exists()


def test_full_disk_is_a_one_line_error_and_leaves_nothing(tmp_path, configure, monkeypatch):
    class FullDisk(shards.ArrayRecordWriter):
        def write(self, record: bytes) -> None:
            raise RuntimeError("write() failed: No space left on device; writing x; at byte 0")

    monkeypatch.setattr(shards, "ArrayRecordWriter", FullDisk)
    with pytest.raises(UserError, match=r"shards: no space left on device. Make room"):
        build_shards(configure())
    assert not (tmp_path / "shards").exists()


def test_unmasked_segments_are_text_of_the_corpus(tmp_path, configure, corpus, vocab):
    manifest = build_shards(configure(length=40))
    tokenizer = load_tokenizer(Path(vocab))
    texts = [path.read_text() for path in sorted(corpus.glob("*.txt"))]
    texts += [gzip.decompress(path.read_bytes()).decode() for path in corpus.rglob("*.gz")]
    texts += [json.loads(line)["text"] for line in (corpus / "notes.jsonl").read_text().splitlines()]
    id_texts = [" " + " ".join(map(str, ids.tolist())) + " " for ids in tokenizer.ids(texts)]
    for split in ("train", "held_out"):
        rows = read_rows(tmp_path / "shards", manifest, split)
        assert find_problem(rows, manifest, tokenizer.special) is None
        for row in rows[::7]:
            tokens, count = row["tokens"].copy(), row["masked_count"]
            tokens[row["masked_positions"][:count]] = row["masked_labels"][:count]
            for segment in (tokens[1 : row["segment_b"] - 1], tokens[row["segment_b"] : row["length"] - 1]):
                ids = " " + " ".join(map(str, segment.tolist())) + " "
                assert any(ids in text for text in id_texts)


def test_statistics_agree_with_the_shards(tmp_path, configure):
    manifest = build_shards(configure())
    rows = np.concatenate([read_rows(tmp_path / "shards", manifest, split) for split in manifest.splits])
    statistics = manifest.statistics
    assert statistics["examples"] == len(rows) == manifest.examples("train") + manifest.examples("held_out")
    assert statistics["documents"] == 40 and 0 < statistics["documents_held_out"] < 20
    assert statistics["files_of_other_kinds"] == 1
    assert statistics["share_padding"] == pytest.approx(1 - rows["length"].mean() / 31, abs=1e-6)
    assert statistics["share_masked"] == pytest.approx(rows["masked_count"].sum() / rows["length"].sum(), abs=1e-6)
    assert statistics["share_random_next"] == pytest.approx(rows["next_label"].mean(), abs=1e-6)
    assert "tokens_unknown" not in statistics


def test_corpus_of_one_document_gets_warnings(tmp_path, configure):
    (tmp_path / "book.txt").write_text(story(1, sentences=400))
    remarks: list[str] = []
    build_shards(configure(input=(str(tmp_path / "book.txt"),), held_out=0.001, part_mb=1.0), say=remarks.append)
    assert "none of 1 documents was held out" in remarks[0] and "--documents blank-line" in remarks[1]


def test_held_out_documents_depend_on_seed_and_place_only(configure):
    documents = [CorpusDocument("text", f"{i}.txt", 0) for i in range(2000)]
    chosen = {seed: [is_held_out_document(d, configure(seed=seed, held_out=0.1)) for d in documents] for seed in (0, 1)}
    assert chosen[0] != chosen[1] and abs(sum(chosen[0]) - 200) < 60
    assert not any(is_held_out_document(d, configure(held_out=0.0)) for d in documents)


@pytest.mark.parametrize(
    "text",
    [
        "今天天气很好。我们去公园。" * 30,
        "هل انت بخير؟ نعم. " * 30,
        "สวัสดีชาวโลก" * 200,
        "ba de [MASK] fing [SEP] gon [CLS] [PAD]. " * 30,
        "ba de fing " * 30_000,
        "🙂 " * 300,
        "a\u2028b. c\x85d. " * 50,
    ],
)
def test_shards_of_unusual_text_pass_the_check(tmp_path, configure, text):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(text)
    build_shards(configure(input=(str(tmp_path / "a.txt"), str(tmp_path / "b.txt")), held_out=0.0))
    manifest = check_shards(tmp_path / "shards")
    labels = read_rows(tmp_path / "shards", manifest, "train")["masked_labels"]
    assert labels.max() < manifest.vocab_size


def test_job_survives_a_killed_worker(tmp_path, configure):
    config = configure(workers=2, dupe_factor=20)
    code = (
        f"import sys; sys.path.append({str(Path.cwd())!r})\nfrom data_prep.job.build import build_shards\n"
        f"from data_prep.settings import ShardsConfig\nbuild_shards(ShardsConfig(**{dataclasses.asdict(config)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    while process.poll() is None and not list((tmp_path / "shards").glob("parts/part-*.json")):
        time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for child in children[-1:]:
        os.kill(int(child), signal.SIGKILL)
    assert process.wait(60) == 0
    check_shards(tmp_path / "shards")


def test_statistics_of_real_documents_are_as_expected(tmp_path, shared_data, configure):
    manifest = build_shards(
        configure(
            input=(str(shared_data / "corpus/docs/rust-*.jsonl.gz"),),
            tokenizer=str(shared_data / "vocab/bert-base-uncased.txt"),
            length=128,
            held_out=0.02,
            part_mb=1.0,
        )
    )
    check_shards(tmp_path / "shards")
    statistics = manifest.statistics
    assert manifest.vocab_size == 30522 and manifest.masking.max_predictions == 20
    choice = statistics["examples"] - statistics["examples_of_one_sentence"]
    assert abs(statistics["share_random_next_by_choice"] - 0.5) < 4 * 0.5 / np.sqrt(choice)
    assert 0.145 < statistics["share_masked"] < 0.155
    assert statistics["share_padding"] < 0.2 and statistics["share_unknown"] < 0.001


def test_part_with_too_many_sentences_for_the_memory_is_refused(tmp_path, configure, monkeypatch):
    monkeypatch.setattr(part_job, "MAX_SENTENCES", 45)
    build_shards(configure("small", part_mb=0.001))
    with pytest.raises(UserError, match=r"01.txt: with it a part has 80 sentences, .* Use a smaller --part-mb"):
        build_shards(configure())
