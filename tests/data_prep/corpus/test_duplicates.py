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
from data_prep.corpus.reading import Losses, Reading
from data_prep.corpus.sources import find_sources
from data_prep.job.build import build_shards


def run_all(function, parts) -> None:
    for part in reversed(parts):
        function(part, lambda share: None)


def planned(files: tuple[str, ...]) -> tuple[Part, ...]:
    """A part for each piece."""
    parts = plan_parts(find_sources(files)[0], Reading(), 100)
    pieces = [piece for part in parts for piece in part.pieces]
    return tuple(Part(index, (piece,)) for index, piece in enumerate(pieces))


def kept_of(found: Duplicates, parts: tuple[Part, ...], losses: Losses) -> list[str]:
    kept = []
    for part in parts:
        documents = read_part(part, Reading(), Losses())
        kept += [document.text for document in found.without(part.index, documents, losses)]
    return kept


@given(
    files=st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=15), min_size=1, max_size=5),
    bucket=st.integers(1, 9),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_first_of_each_document_stays(tmp_path_factory, monkeypatch, files, bucket):
    monkeypatch.setattr(duplicates, "BUCKET_DOCUMENTS", bucket)
    folder = tmp_path_factory.mktemp("d")
    paths = [folder / f"{i}.jsonl" for i in range(len(files))]
    for path, numbers in zip(paths, files, strict=True):
        path.write_text(json_lines([f"text {number}" for number in numbers]))
    parts = planned(tuple(map(str, paths)))
    found = find_duplicates(parts, Reading(), folder, run_all)
    losses = Losses()
    texts = [f"text {number}" for numbers in files for number in numbers]
    assert kept_of(found, parts, losses) == list(dict.fromkeys(texts))
    assert losses["documents_duplicate"] == len(texts) - len(set(texts))


def test_blanks_around_a_text_make_no_difference(tmp_path):
    (tmp_path / "a.txt").write_text("One.\n")
    (tmp_path / "blank.jsonl").write_text("\n")
    (tmp_path / "b.jsonl").write_text(json.dumps({"text": " One."}) + "\n" + json.dumps({"text": "one."}))
    parts = planned(tuple(str(tmp_path / name) for name in ("a.txt", "blank.jsonl", "b.jsonl")))
    found = find_duplicates(parts, Reading(), tmp_path, run_all)
    assert kept_of(found, parts, Losses()) == ["One.\n", "one."]


def test_what_an_earlier_run_left_is_used_and_what_changed_is_read_again(tmp_path):
    (tmp_path / "a").mkdir()
    paths = [tmp_path / "a" / f"{i}.txt" for i in range(3)]
    for path in paths:
        path.write_text(f"text {path.name}")
    read: list[int] = []

    def run(function, parts) -> None:
        read.extend(part.index for part in parts)
        run_all(function, parts)

    for _ in range(2):
        first = find_duplicates(planned((str(tmp_path / "a"),)), Reading(), tmp_path, run)
    assert read == [0, 1, 2]
    paths[1].write_text("text 0.txt")
    changed = find_duplicates(planned((str(tmp_path / "a"),)), Reading(), tmp_path, run)
    assert read == [0, 1, 2, 1]
    assert changed.path != first.path and not first.path.exists()
    assert [changed.of(part).tolist() for part in range(3)] == [[], [0], []]
    assert changed.digest(0) == changed.digest(2) != changed.digest(1)
    assert len(list(tmp_path.glob("hashes-*.npy"))) == 3


@pytest.fixture
def twice(corpus: Path) -> Path:
    """The corpus, five of its documents once more in another format."""
    (corpus / "again.jsonl").write_text(json_lines([story(seed) for seed in (3, 25, 31, 3, 99)]))
    return corpus


def test_bytes_do_not_depend_on_workers_and_the_count_is_told(tmp_path, configure, twice):
    manifest = build_shards(configure("one", dedupe="exact"))
    check_shards(tmp_path / "one")
    assert manifest.statistics["documents"] == 41 and manifest.statistics["documents_duplicate"] == 4
    build_shards(configure("three", dedupe="exact", workers=3))
    assert folder_bytes(tmp_path / "one") == folder_bytes(tmp_path / "three")
    assert build_shards(configure("all")).statistics["documents"] == 45


def test_a_job_that_goes_on_makes_the_same(tmp_path, configure, twice):
    build_shards(configure(dedupe="exact"))
    before = folder_bytes(tmp_path / "shards")
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "shards" / "parts").glob("*.npy")}
    for lost in ("manifest.json", "parts/part-00001.json"):
        (tmp_path / "shards" / lost).unlink()
    build_shards(configure(dedupe="exact", workers=2))
    assert folder_bytes(tmp_path / "shards") == before
    assert {p: p.stat().st_mtime_ns for p in times} == times


def test_a_part_is_made_again_when_the_first_of_a_document_goes_elsewhere(tmp_path, configure, twice):
    build_shards(configure(dedupe="exact"))
    (tmp_path / "shards" / "manifest.json").unlink()
    (twice / "00.txt").write_text(story(99))  # now the one of again.jsonl is the second
    going_on = build_shards(configure(dedupe="exact"))
    assert going_on.statistics["documents_duplicate"] == 5
    assert going_on.fingerprint == build_shards(configure("fresh", dedupe="exact")).fingerprint


def test_hashes_of_many_documents_are_sixteen_bytes_each(tmp_path):
    (tmp_path / "a.jsonl").write_text(json_lines([f"text {i}" for i in range(1000)]))
    find_duplicates(planned((str(tmp_path / "a.jsonl"),)), Reading(), tmp_path, run_all)
    sizes = [np.load(path).nbytes for path in tmp_path.glob("hashes-*.npy")]
    assert sum(sizes) == 16 * 1000
