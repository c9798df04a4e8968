"""Exact duplicates are found and left out, with bounded memory and the same bytes every time."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reader import json_lines
from stories import folder_bytes, story

from data_prep.checking.check import check_shards
from data_prep.corpus import duplicates
from data_prep.corpus.documents import read_part
from data_prep.corpus.duplicates import Duplicates, find_duplicates
from data_prep.corpus.parts import Part, plan_parts
from data_prep.corpus.reader_contract import CorpusOptions, NotedCounter
from data_prep.corpus.sources import find_sources
from data_prep.job.build import build_shards


def run_all(function, parts) -> None:
    for part in reversed(parts):
        function(part, lambda share: None)


def plan_small_parts(files: tuple[str, ...]) -> tuple[Part, ...]:
    """Return parts of one piece each."""
    parts = plan_parts(find_sources(files)[0], CorpusOptions(), 100)
    pieces = [piece for part in parts for piece in part.pieces]
    return tuple(Part(index, (piece,)) for index, piece in enumerate(pieces))


def kept_texts(duplicates: Duplicates, parts: tuple[Part, ...], counts: NotedCounter) -> list[str]:
    kept = []
    for part in parts:
        documents = read_part(part, CorpusOptions(), NotedCounter())
        kept += [document.text for document in duplicates.without(part.index, documents, counts)]
    return kept


@given(
    files=st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=15), min_size=1, max_size=5),
    bucket=st.integers(1, 9),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_first_of_equal_documents_is_kept(tmp_path_factory, monkeypatch, files, bucket):
    monkeypatch.setattr(duplicates, "BUCKET_DOCUMENTS", bucket)
    folder = tmp_path_factory.mktemp("d")
    paths = [folder / f"{i}.jsonl" for i in range(len(files))]
    for path, numbers in zip(paths, files, strict=True):
        path.write_text(json_lines([f"text {number}" for number in numbers]))
    parts = plan_small_parts(tuple(map(str, paths)))
    repeats = find_duplicates(parts, CorpusOptions(), folder, run_all)
    counts = NotedCounter()
    texts = [f"text {number}" for numbers in files for number in numbers]
    assert kept_texts(repeats, parts, counts) == list(dict.fromkeys(texts))
    assert counts["documents_duplicate"] == len(texts) - len(set(texts))


def test_blanks_around_a_text_are_ignored(tmp_path):
    (tmp_path / "a.txt").write_text("One.\n")
    (tmp_path / "blank.jsonl").write_text("\n")
    (tmp_path / "b.jsonl").write_text(json.dumps({"text": " One."}) + "\n" + json.dumps({"text": "one."}))
    parts = plan_small_parts(tuple(str(tmp_path / name) for name in ("a.txt", "blank.jsonl", "b.jsonl")))
    repeats = find_duplicates(parts, CorpusOptions(), tmp_path, run_all)
    assert kept_texts(repeats, parts, NotedCounter()) == ["One.\n", "one."]


def test_hashes_of_an_earlier_run_are_reused_unless_the_text_changed(tmp_path):
    (tmp_path / "a").mkdir()
    paths = [tmp_path / "a" / f"{i}.txt" for i in range(3)]
    for path in paths:
        path.write_text(f"text {path.name}")
    read: list[int] = []

    def run(function, parts) -> None:
        read.extend(part.index for part in parts)
        run_all(function, parts)

    for _ in range(2):
        first = find_duplicates(plan_small_parts((str(tmp_path / "a"),)), CorpusOptions(), tmp_path, run)
    assert read == [0, 1, 2]
    paths[1].write_text("text 0.txt")
    changed = find_duplicates(plan_small_parts((str(tmp_path / "a"),)), CorpusOptions(), tmp_path, run)
    assert read == [0, 1, 2, 1]
    assert changed.path != first.path and not first.path.exists()
    assert [changed.in_part(part).tolist() for part in range(3)] == [[], [0], []]
    assert changed.digest(0) == changed.digest(2) != changed.digest(1)
    assert len(list(tmp_path.glob("hashes-*.npy"))) == 3


@pytest.fixture
def corpus_with_duplicates(corpus: Path) -> Path:
    """The corpus, and a file of another format with four repeated documents and a new one."""
    (corpus / "again.jsonl").write_text(json_lines([story(seed) for seed in (3, 25, 31, 3, 99)]))
    return corpus


def test_duplicates_are_counted_and_bytes_do_not_depend_on_workers(tmp_path, configure, corpus_with_duplicates):
    manifest = build_shards(configure("one", dedupe="exact"))
    check_shards(tmp_path / "one")
    assert manifest.statistics["documents"] == 41 and manifest.statistics["documents_duplicate"] == 4
    build_shards(configure("three", dedupe="exact", workers=3))
    assert folder_bytes(tmp_path / "one") == folder_bytes(tmp_path / "three")
    assert build_shards(configure("all")).statistics["documents"] == 45


def test_resumed_job_makes_the_same_bytes_and_reuses_hashes(tmp_path, configure, corpus_with_duplicates):
    build_shards(configure(dedupe="exact"))
    before = folder_bytes(tmp_path / "shards")
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "shards" / "parts").glob("*.npy")}
    for lost in ("manifest.json", "parts/part-00001.json"):
        (tmp_path / "shards" / lost).unlink()
    build_shards(configure(dedupe="exact", workers=2))
    assert folder_bytes(tmp_path / "shards") == before
    assert {p: p.stat().st_mtime_ns for p in times} == times


def test_part_is_made_again_when_its_duplicates_change(tmp_path, configure, corpus_with_duplicates):
    build_shards(configure(dedupe="exact"))
    (tmp_path / "shards" / "manifest.json").unlink()
    (corpus_with_duplicates / "00.txt").write_text(story(99))  # a duplicate of this is in again.jsonl
    resumed = build_shards(configure(dedupe="exact"))
    assert resumed.statistics["documents_duplicate"] == 5
    assert resumed.fingerprint == build_shards(configure("fresh", dedupe="exact")).fingerprint


def test_hash_of_a_document_takes_sixteen_bytes(tmp_path):
    (tmp_path / "a.jsonl").write_text(json_lines([f"text {i}" for i in range(1000)]))
    find_duplicates(plan_small_parts((str(tmp_path / "a.jsonl"),)), CorpusOptions(), tmp_path, run_all)
    sizes = [np.load(path).nbytes for path in tmp_path.glob("hashes-*.npy")]
    assert sum(sizes) == 16 * 1000
