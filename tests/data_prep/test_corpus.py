import gzip
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bert_jax.errors import UserError
from data_prep import corpus
from data_prep.corpus import Losses, Piece, Reading, Source, find_sources, plan_parts, read_documents


def write(path: Path, data: bytes | str) -> Source:
    data = data.encode() if isinstance(data, str) else data
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    (source,), _ = find_sources((str(path),))
    return source


def read(source: Source, pieces: int = 1, losses: Losses | None = None, **reading: str) -> list[tuple[int, str]]:
    losses = Losses() if losses is None else losses
    found = []
    for index in range(pieces):
        found += [(d.offset, d.text) for d in read_documents(Piece(source, index, pieces), Reading(**reading), losses)]
    return found


LINES = st.lists(st.sampled_from(["", "  ", "a", "bc d", "é è", "\u2028 x"]), max_size=30)


@given(lines=LINES, pieces=st.integers(2, 7), end=st.sampled_from(["\n", "\r\n"]), suffix=st.sampled_from(["", ".gz"]))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pieces_hold_each_document_once(tmp_path, monkeypatch, lines, pieces, end, suffix):
    monkeypatch.setattr(corpus, "BLOCK", 5)
    data = "x" + end + end.join(lines)
    plain = write(tmp_path / f"a.txt{suffix}", data)
    whole = read(plain, documents="blank-line")
    assert sorted(read(plain, pieces, documents="blank-line")) == whole
    blocks = data.replace("\r\n", "\n").split("\n")
    assert [line for _, text in whole for line in text.split("\n") if line.strip()] == [b for b in blocks if b.strip()]
    rows = end.join(json.dumps({"text": line}, ensure_ascii=False) for line in ["x", *lines])
    packed = write(tmp_path / f"a.jsonl{suffix}", rows)
    assert sorted(read(packed, pieces)) == read(packed)
    assert [text for _, text in read(packed)] == [line for line in ["x", *lines] if line]
    cut = read(plain, pieces)
    assert sorted("".join(text for _, text in cut)) == sorted(data.replace("\r\n", "\n"))
    assert {offset for offset, _ in cut} == {0}  # one document still: it goes to one split


def test_byte_order_mark_and_line_ends_do_not_reach_the_text(tmp_path):
    assert read(write(tmp_path / "a.txt", b"\xef\xbb\xbfone\r\ntwo\rthree")) == [(0, "one\ntwo\nthree")]
    assert read(write(tmp_path / "a.jsonl", b'\xef\xbb\xbf{"text": "one\\r\\ntwo"}\r\n\r\n')) == [(0, "one\ntwo")]
    found = read(write(tmp_path / "b.txt", b"\xef\xbb\xbf\r\none\r\n \r\ntwo"), documents="blank-line")
    assert [text.strip() for _, text in found] == ["one", "two"]


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.jsonl"])
@pytest.mark.parametrize("pieces", [1, 3])
def test_bytes_that_are_not_utf8_are_named(tmp_path, name, pieces):
    text = b'{"text": "fine"}\n{"text": "b\xe9te"}\n'
    source = write(tmp_path / name, text)
    with pytest.raises(UserError, match=rf"{name} line 2: not UTF-8 at byte {text.index(0xE9)} \(0xe9\).*replace"):
        read(source, pieces)
    losses = Losses()
    assert "b\ufffdte" in "".join(text for _, text in read(source, pieces, losses, encoding_errors="replace"))
    assert losses["characters_replaced"] == 1


def test_utf16_is_recognised(tmp_path):
    with pytest.raises(UserError, match=r"line 1: not UTF-8 at byte 0.*UTF-16"):
        read(write(tmp_path / "a.txt", "text".encode("utf-16")))


def test_nul_bytes_stop_the_job_or_are_dropped_and_counted(tmp_path):
    source = write(tmp_path / "a.txt", b"one\ntw\0o\0\n")
    with pytest.raises(UserError, match=r"a.txt line 2: a NUL at byte 6"):
        read(source)
    losses = Losses()
    assert read(source, losses=losses, encoding_errors="replace") == [(0, "one\ntwo\n")]
    assert losses["nul_characters_dropped"] == 2


def test_escapes_that_are_no_text_are_replaced_and_counted(tmp_path):
    losses = Losses()
    found = read(write(tmp_path / "a.jsonl", '{"text": "a\\ud800b\\u0000c \\ud83d\\ude00"}'), losses=losses)
    assert found == [(0, "a\ufffdbc \U0001f600")]
    assert losses["escapes_replaced"] == losses["nul_escapes_dropped"] == 1


@pytest.mark.parametrize("cut", [5, 20, -4])
def test_a_broken_gzip_is_named(tmp_path, cut):
    source = write(tmp_path / "a.txt.gz", "some text\n" * 50)
    Path(source.path).write_bytes(Path(source.path).read_bytes()[:cut])
    with pytest.raises(UserError, match=r"a.txt.gz: a broken gzip file"):
        read(source)
    Path(source.path).write_bytes(b"not packed at all")
    with pytest.raises(UserError, match=r"a.txt.gz: a broken gzip file"):
        read(source)


@pytest.mark.parametrize(
    "line, reason, says",
    [
        ('{"text": "b"', "lines_not_json", "not JSON"),
        ('["b"]', "lines_not_an_object", "a JSON list"),
        ('{"body": "b"}', "lines_without_text", "no field 'text'; it has body"),
        ('{"text": 3}', "lines_without_text", "field 'text' is int"),
        ("[" * 100_000, "lines_not_json", "not JSON"),
    ],
)
def test_a_bad_line_stops_the_job_or_is_skipped_and_named(tmp_path, line, reason, says):
    source = write(tmp_path / "a.jsonl", f'{{"text": "a"}}\n\n{line}\n{{"text": "c"}}\n')
    with pytest.raises(UserError, match=r"a.jsonl line 3: .*on-bad skip") as error:
        read(source)
    assert says in str(error.value) and "\n" not in str(error.value)
    losses = Losses()
    assert [text for _, text in read(source, losses=losses, on_bad="skip")] == ["a", "c"]
    assert losses[reason] == 1
    assert "a.jsonl line 3" in losses.notes[0]


def test_files_are_found_once_sorted_and_named_by_their_place(corpus):
    sources, skipped = find_sources((str(corpus / "more"), str(corpus), str(corpus / "*.jsonl")))
    assert [s.name for s in sources][:3] == ["20.txt.gz", "21.txt.gz", "22.txt.gz"]
    assert [s.name for s in sources][10:12] == ["00.txt", "01.txt"]
    assert len(sources) == 31
    assert skipped == {"files_of_other_kinds": 1, "files_given_twice": 11}
    assert "picture.png" in " ".join(skipped.notes)
    globbed, _ = find_sources((str(corpus / "**" / "*.gz"),))
    assert [s.name for s in globbed] == [f"more/{seed}.txt.gz" for seed in range(20, 30)]


@pytest.mark.parametrize("given", ["nothing.txt", "no/*.txt", "empty", "picture.png", "blank.txt"])
def test_an_input_that_gives_nothing_is_named(corpus, given):
    (corpus / "empty").mkdir()
    (corpus / "blank.txt").touch()
    with pytest.raises(UserError, match=given.replace("*", r"\*")):
        find_sources((str(corpus / given),))


def made(sizes: list[int], suffix: str) -> tuple[Source, ...]:
    return tuple(Source(f"/{i}{suffix}", f"{i}{suffix}", size, 0) for i, size in enumerate(sizes))


@given(
    st.lists(st.integers(1, 50_000_000), min_size=1, max_size=40),
    st.sampled_from([".txt", ".jsonl", ".txt.gz", ".jsonl.gz"]),
    st.sampled_from(["file", "blank-line"]),
)
@settings(max_examples=100, deadline=None)
def test_parts_hold_each_piece_once_and_are_bounded(sizes, suffix, documents):
    sources, limit = made(sizes, suffix), 8_000_000
    parts = plan_parts(sources, Reading(documents=documents), limit)
    pieces = [piece for part in parts for piece in part.pieces]
    assert [part.index for part in parts] == list(range(len(parts)))
    for source in sources:
        of_source = [piece.index for piece in pieces if piece.source == source]
        assert of_source == list(range(len(of_source)))
    alone = documents == "file" and suffix.startswith(".txt")
    for part in parts:
        assert part.text_bytes < 3.6 * limit
        assert len(parts) == 1 or not alone or len(part.pieces) > 1 or part.pieces[0].pieces > 1


def test_a_corpus_of_some_megabytes_gives_work_to_several_workers():
    assert len(plan_parts(made([700_000] * 64, ".txt"), Reading(), 32_000_000)) >= 16
    assert len(plan_parts(made([9_000_000], ".jsonl"), Reading(), 32_000_000)) >= 4
