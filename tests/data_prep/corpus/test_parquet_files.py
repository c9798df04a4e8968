"""Columns of Parquet files: pieces, types, errors and memory."""

import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reader import read, source_of, write_parquet
from stories import story

from bert_jax.errors import UserError
from data_prep.corpus import parquet_files
from data_prep.corpus.reader_contract import NotedCounter
from data_prep.job import part_job
from data_prep.job.build import build_shards


@given(count=st.integers(1, 40), rows=st.integers(1, 9), pieces=st.integers(1, 11), batch=st.integers(1, 5))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_row_is_in_one_piece_for_any_row_groups(tmp_path, monkeypatch, count, rows, pieces, batch):
    monkeypatch.setattr(parquet_files, "PARQUET_BATCH_ROWS", batch)
    source = write_parquet(tmp_path / "a.parquet", [f"text {i}" for i in range(count)], rows)
    assert source.rows == count and source.text_bytes > 0
    assert read(source, pieces) == [(i, f"text {i}") for i in range(count)]  # also in order


def write_column(path, column):
    pyarrow.parquet.write_table(pyarrow.table({"n": list(range(len(column))), "text": column}), path)
    return path


@pytest.mark.parametrize(
    "kind", [pyarrow.large_string(), pyarrow.binary(), pyarrow.dictionary(pyarrow.int32(), pyarrow.string())]
)
def test_every_string_type_is_read(tmp_path, kind):
    values = pyarrow.array([b"one", "zwölf".encode()]).cast(pyarrow.string())
    column = values.cast(kind) if not pyarrow.types.is_dictionary(kind) else values.dictionary_encode()
    assert read(source_of(write_column(tmp_path / "a.parquet", column))) == [(0, "one"), (1, "zwölf")]


def test_null_stops_the_job_or_is_skipped_and_named(tmp_path):
    source = write_parquet(tmp_path / "a.parquet", ["one", "", None, "four"])
    with pytest.raises(UserError, match=r"a.parquet row 3: field 'text' is null.*--on-bad skip"):
        read(source)
    counts = NotedCounter()
    assert read(source, 2, counts, on_bad="skip") == [(0, "one"), (3, "four")]
    assert +counts == {"documents_empty": 1, "lines_without_text": 1}
    assert "a.parquet row 3" in counts.notes[0]


def test_undecodable_cells_are_named(tmp_path):
    source = source_of(write_column(tmp_path / "a.parquet", pyarrow.array([b"one", b"caf\xe9", b"a\0b"])))
    with pytest.raises(UserError, match=r"a.parquet row 2: not UTF-8 at byte 3 \(0xe9\)"):
        read(source)
    counts = NotedCounter()
    texts = [text for _, text in read(source, counts=counts, encoding_errors="replace")]
    assert texts == ["one", "caf\ufffd", "ab"]
    assert +counts == {"characters_replaced": 1, "nul_characters_dropped": 1}


@pytest.mark.parametrize(
    "column, field, says",
    [
        (["a"], "body", r"no column 'body'; it has n, text. Use --field"),
        ([1], "text", r"column 'text' is int64, not a string. Text columns: none"),
        ([["a"]], "text", r"column 'text' is list<.*not a string"),
        (["a"], "n", r"column 'n' is int64, not a string. Text columns: text"),
    ],
)
def test_column_that_is_not_text_is_named_with_the_text_columns(tmp_path, column, field, says):
    path = write_column(tmp_path / "a.parquet", pyarrow.array(column))
    with pytest.raises(UserError, match=rf"a.parquet: {says}"):
        source_of(path, field=field)


@pytest.mark.parametrize("data", [b"not parquet at all", b"PAR1", None])
def test_incomplete_file_is_named(tmp_path, data):
    path = tmp_path / "a.parquet"
    write_parquet(path, ["some text"] * 100)
    path.write_bytes(path.read_bytes()[:-20] if data is None else data)
    with pytest.raises(UserError, match=r"a.parquet: not a whole Parquet file .*Fetch it again") as error:
        source_of(path)
    assert "\n" not in str(error.value)


def test_damaged_rows_are_named_when_they_are_read(tmp_path):
    source = write_parquet(tmp_path / "a.parquet", [f"some text {i}" for i in range(500)], rows=500)
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    data[4 : len(data) * 3 // 4] = b"\xff" * (len(data) * 3 // 4 - 4)
    (tmp_path / "a.parquet").write_bytes(data)
    with pytest.raises(UserError, match=r"a.parquet: not a whole Parquet file"):
        read(source)


def test_row_group_is_not_loaded_into_memory_at_once(tmp_path):
    texts = [f"{i} " + "some words " * 200 for i in range(40_000)]  # 88 MB
    columns = pyarrow.table({"text": texts})
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(columns, path, use_dictionary=False, compression="none")
    code = (
        "import re, sys; from data_prep.corpus.sources import find_sources; from data_prep.corpus.documents import *\n"
        f"(source,), _ = find_sources(({str(path)!r},))\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])  # kilobytes\n"
        "before = peak()\n"
        "documents = read_documents(Piece(source), CorpusOptions(), NotedCounter())\n"
        "assert sum(len(document.text) for document in documents) == int(sys.argv[1])\n"
        "assert peak() - before < 40_000, peak() - before"
    )
    command = [sys.executable, "-c", code, str(sum(map(len, texts)))]
    process = subprocess.run(command, capture_output=True, text=True, cwd=Path.cwd())
    assert process.returncode == 0, process.stderr


def test_table_without_rows_counts_as_empty(tmp_path):
    with pytest.raises(UserError, match=r"no text in .*files empty: 1"):
        write_parquet(tmp_path / "a.parquet", [])


def test_repeated_texts_that_are_stored_once_may_exceed_the_file_size(tmp_path, monkeypatch, configure):
    monkeypatch.setattr(part_job, "MAX_CHARACTERS", 1000)
    path = tmp_path / "a.parquet"
    assert write_parquet(path, [story(i % 3) for i in range(900)], 900).text_bytes * part_job.MAX_EXPANSION < 900 * len(
        story(0)
    )
    manifest = build_shards(configure("all", input=(str(path),), part_mb=1))
    assert manifest.statistics["documents"] == 900
    monkeypatch.setattr(part_job, "MAX_CHARACTERS_OF_PARQUET", 1000)
    with pytest.raises(UserError, match=r"a\.parquet: .*without a dictionary"):
        build_shards(configure("none", input=(str(path),), part_mb=1))
