import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reader import found, read, write_parquet
from stories import story

from bert_jax.errors import UserError
from data_prep.corpus import parquet_files
from data_prep.corpus.reading import Losses
from data_prep.job import part_job
from data_prep.job.build import build_shards


@given(count=st.integers(1, 40), rows=st.integers(1, 9), pieces=st.integers(1, 11), batch=st.integers(1, 5))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_row_is_in_one_piece_whatever_the_row_groups(tmp_path, monkeypatch, count, rows, pieces, batch):
    monkeypatch.setattr(parquet_files, "BATCH_ROWS", batch)
    source = write_parquet(tmp_path / "a.parquet", [f"text {i}" for i in range(count)], rows)
    assert source.rows == count and source.text_bytes > 0
    assert read(source, pieces) == [(i, f"text {i}") for i in range(count)]  # in order, too


def write_column(path, column):
    pyarrow.parquet.write_table(pyarrow.table({"n": list(range(len(column))), "text": column}), path)
    return path


@pytest.mark.parametrize(
    "kind", [pyarrow.large_string(), pyarrow.binary(), pyarrow.dictionary(pyarrow.int32(), pyarrow.string())]
)
def test_every_kind_of_string_is_text(tmp_path, kind):
    values = pyarrow.array([b"one", "zwölf".encode()]).cast(pyarrow.string())
    column = values.cast(kind) if not pyarrow.types.is_dictionary(kind) else values.dictionary_encode()
    assert read(found(write_column(tmp_path / "a.parquet", column))) == [(0, "one"), (1, "zwölf")]


def test_a_null_stops_the_job_or_is_skipped_and_named(tmp_path):
    source = write_parquet(tmp_path / "a.parquet", ["one", "", None, "four"])
    with pytest.raises(UserError, match=r"a.parquet row 3: field 'text' is null.*--on-bad skip"):
        read(source)
    losses = Losses()
    assert read(source, 2, losses, on_bad="skip") == [(0, "one"), (3, "four")]
    assert +losses == {"documents_empty": 1, "lines_without_text": 1}
    assert "a.parquet row 3" in losses.notes[0]


def test_bytes_that_are_no_text_are_named(tmp_path):
    source = found(write_column(tmp_path / "a.parquet", pyarrow.array([b"one", b"caf\xe9", b"a\0b"])))
    with pytest.raises(UserError, match=r"a.parquet row 2: not UTF-8 at byte 3 \(0xe9\)"):
        read(source)
    losses = Losses()
    texts = [text for _, text in read(source, losses=losses, encoding_errors="replace")]
    assert texts == ["one", "caf\ufffd", "ab"]
    assert +losses == {"characters_replaced": 1, "nul_characters_dropped": 1}


@pytest.mark.parametrize(
    "column, field, says",
    [
        (["a"], "body", r"no column 'body'; it has n, text. Use --field"),
        ([1], "text", r"column 'text' is int64, not a string. Text columns: none"),
        ([["a"]], "text", r"column 'text' is list<.*not a string"),
        (["a"], "n", r"column 'n' is int64, not a string. Text columns: text"),
    ],
)
def test_a_column_that_is_no_text_is_named_with_those_that_are(tmp_path, column, field, says):
    path = write_column(tmp_path / "a.parquet", pyarrow.array(column))
    with pytest.raises(UserError, match=rf"a.parquet: {says}"):
        found(path, field=field)


@pytest.mark.parametrize("data", [b"not parquet at all", b"PAR1", None])
def test_a_file_that_is_not_whole_is_named(tmp_path, data):
    path = tmp_path / "a.parquet"
    write_parquet(path, ["some text"] * 100)
    path.write_bytes(path.read_bytes()[:-20] if data is None else data)
    with pytest.raises(UserError, match=r"a.parquet: not a whole Parquet file .*Fetch it again") as error:
        found(path)
    assert "\n" not in str(error.value)


def test_damage_behind_the_footer_is_named_when_it_is_read(tmp_path):
    source = write_parquet(tmp_path / "a.parquet", [f"some text {i}" for i in range(500)], rows=500)
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    data[4 : len(data) * 3 // 4] = b"\xff" * (len(data) * 3 // 4 - 4)
    (tmp_path / "a.parquet").write_bytes(data)
    with pytest.raises(UserError, match=r"a.parquet: not a whole Parquet file"):
        read(source)


def test_a_row_group_is_not_in_memory_as_a_whole(tmp_path):
    texts = [f"{i} " + "some words " * 200 for i in range(40_000)]  # 88 MB
    columns = pyarrow.table({"text": texts})
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(columns, path, use_dictionary=False, compression="none")
    code = (
        "import re, sys; from data_prep.corpus.sources import find_sources; from data_prep.corpus.documents import *\n"
        f"(source,), _ = find_sources(({str(path)!r},))\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])  # kilobytes\n"
        "before = peak()\n"
        "assert sum(len(d.text) for d in read_documents(Piece(source), Reading(), Losses())) == int(sys.argv[1])\n"
        "assert peak() - before < 40_000, peak() - before"
    )
    command = [sys.executable, "-c", code, str(sum(map(len, texts)))]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path.cwd())
    assert done.returncode == 0, done.stderr


def test_a_table_without_rows_is_as_good_as_empty(tmp_path):
    with pytest.raises(UserError, match=r"no text in .*files empty: 1"):
        write_parquet(tmp_path / "a.parquet", [])


def test_texts_that_stand_in_many_rows_and_are_stored_once(tmp_path, monkeypatch, configure):
    monkeypatch.setattr(part_job, "ROOM", 1000)
    path = tmp_path / "a.parquet"
    assert write_parquet(path, [story(i % 3) for i in range(900)], 900).text_bytes * part_job.TIGHTEST < 900 * len(
        story(0)
    )
    manifest = build_shards(configure("all", input=(str(path),), part_mb=1))
    assert manifest.statistics["documents"] == 900
    monkeypatch.setattr(part_job, "ROOM_OF_PARQUET", 1000)
    with pytest.raises(UserError, match=r"a\.parquet: .*without a dictionary"):
        build_shards(configure("none", input=(str(path),), part_mb=1))
