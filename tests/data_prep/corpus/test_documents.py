"""Every format gives the same documents, each in one piece."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reader import PACKERS, articles, json_lines, read, source_of, table, write, write_parquet

from bert_jax.errors import UserError
from data_prep.corpus import parts
from data_prep.corpus.parts import Source
from data_prep.corpus.reader_contract import CorpusOptions, NotedCounter
from data_prep.corpus.sources import find_sources

TEXTS = [
    "One line.",
    'A "quoted" word, and\na second line.',
    "\n\ttabs\tand blanks ",
    "é è \u2028 \U0001f600 [MASK] [SEP] 今天",
    "carriage\r\nreturn\rhere",
    "x" * 70_001,
    "<b>not a doc</b>, {not json}",
]
PLAIN = [text.replace("\r\n", "\n").replace("\r", "\n") for text in TEXTS]


def write_texts(folder: Path, kind: str, packing: str, texts: list[str]) -> Source:
    """Write texts as documents of a format, and return their source."""
    path = folder / f"a.{kind}{packing}"
    if kind == "parquet":
        return write_parquet(path, texts)
    if kind == "wiki":
        return write(folder / f"wiki_00{packing}", articles(texts), documents="wikiextractor")
    if kind == "wikijson":
        return write(folder / f"wiki_01{packing}", json_lines(texts), documents="wikiextractor")
    if kind == "jsonl":
        return write(path, json_lines(texts))
    rows = [["id", "text", "more"], *([str(i), text, ""] for i, text in enumerate(texts))]
    return write(path, table(rows, "\t" if kind == "tsv" else ","))


FORMATS = ["jsonl", "csv", "tsv", "wikijson", "wiki"]


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_and_packing_gives_the_same_documents(tmp_path, kind, packing):
    counts = NotedCounter()
    texts = [text for _, text in read(write_texts(tmp_path, kind, packing, TEXTS), counts=counts)]
    assert texts == ([text.strip("\n") for text in PLAIN] if kind == "wiki" else PLAIN)
    assert not +counts


def test_parquet_gives_the_same_documents(tmp_path):
    assert [text for _, text in read(write_parquet(tmp_path / "a.parquet", TEXTS))] == PLAIN


@given(
    texts=st.lists(st.sampled_from(["", "a", "b\nc", 'd"e', "é" * 9, "f,\tg", "<doc>"]), max_size=25),
    pieces=st.integers(1, 7),
    kind=st.sampled_from([*FORMATS, "parquet"]),
    packing=st.sampled_from(sorted(PACKERS)),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_document_is_in_exactly_one_piece(tmp_path, monkeypatch, texts, pieces, kind, packing):
    monkeypatch.setattr(parts, "SOURCE_BLOCK", 5)
    texts = ["first", *texts]
    source = write_texts(tmp_path, kind, "" if kind == "parquet" else packing, texts)
    counts = NotedCounter()
    documents = read(source, pieces, counts)
    assert sorted(documents) == read(source)
    assert len({offset for offset, _ in documents}) == len(documents)  # an offset identifies one document
    assert [text for _, text in sorted(documents)] == [text for text in texts if text]
    assert counts["documents_empty"] == texts.count("")


@pytest.mark.parametrize("kind", ["jsonl", "csv", "tsv", "wiki", "parquet"])
def test_document_of_megabytes_is_read_whole(tmp_path, kind):
    text = "word " * 1_000_000 + "end."
    source = write_texts(tmp_path, kind, "", ["before", text, "after"])
    assert [t for _, t in sorted(read(source, 3))] == ["before", text, "after"]


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.csv.zst", "a.tsv", "wiki_00.bz2", "a.txt.zst"])
@pytest.mark.parametrize("bad, says", [(b"caf\xe9", r"not UTF-8 at byte \d+ \(0xe9\)"), (b"a\0b", "a NUL at byte")])
def test_undecodable_bytes_are_named_in_every_format(tmp_path, name, bad, says):
    options = {"documents": "wikiextractor"} if "wiki" in name else {}
    contents = {
        "a.jsonl.gz": b'{"text": "one"}\n{"text": "%s"}\n',
        "a.csv.zst": b"text,n\n%s,3\n",
        "a.tsv": b"text\tn\n%s\t3\n",
        "wiki_00.bz2": b'<doc id="1" url="u" title="t">\n%s\n</doc>\n',
        "a.txt.zst": b"one\n%s\n",
    }
    source = write(tmp_path / name, contents[name] % bad, **options)
    with pytest.raises(UserError, match=rf"{name} line 2: {says}"):
        read(source, **options)
    counts = NotedCounter()
    texts = " ".join(text for _, text in read(source, counts=counts, encoding_errors="replace", **options))
    assert ("caf\ufffd" if b"caf" in bad else "ab") in texts
    assert counts["characters_replaced"] + counts["nul_characters_dropped"] == 1


def test_byte_order_mark_is_not_part_of_the_text(tmp_path):
    bom = "\ufeff"
    assert read(write(tmp_path / "a.csv", f"{bom}text,n\r\none,1\r\n")) == [(2, "one")]
    assert read(write(tmp_path / "a.txt.bz2", f"{bom}one")) == [(0, "one")]
    article = write(tmp_path / "wiki_00", bom + articles(["one"]), documents="wikiextractor")
    assert read(article) == [(0, "one")]
    lines = write(tmp_path / "wiki_01", f"{bom}{json.dumps({'text': 'one'})}\n", documents="wikiextractor")
    assert read(lines) == [(0, "one")]


def test_wikiextractor_files_need_no_suffix_and_other_suffixes_keep_their_format(tmp_path):
    folder = tmp_path / "AA"
    folder.mkdir()
    (folder / "wiki_00").write_text(articles(["zero"]))
    (folder / "wiki_01").write_text(json_lines(["one"]))
    (folder / "wiki_02.txt").write_text(articles(["two"]))
    (folder / "notes.jsonl").write_text(json_lines(["three"]))
    (folder / "picture.png").write_text("no")
    sources, skipped = find_sources((str(folder),), CorpusOptions(documents="wikiextractor"))
    assert [read(source, documents="wikiextractor")[0][1] for source in sources] == ["three", "zero", "one", "two"]
    assert skipped == {"files_of_other_kinds": 1}
    with pytest.raises(UserError, match=r"wiki_00: not one of .*--documents wikiextractor"):
        source_of(folder / "wiki_00")


@pytest.mark.parametrize("pieces", [1, 2, 5])
@pytest.mark.parametrize(
    "text, line, says",
    [
        ("{0}stray\n{1}", 6, "text outside of <doc>"),
        ("{0}</doc>\n{1}", 6, "text outside of <doc>"),
        ("{0}{cut}{1}", 6, "not closed by </doc>"),
        ("{0}{1}{cut}", 10, "not closed by </doc>"),
        ("stray\n{0}{1}", 1, "text outside of <doc>"),
    ],
)
def test_text_outside_of_articles_and_unclosed_articles_are_named(tmp_path, text, line, says, pieces):
    first, second = (articles([t]) for t in ("first\n{", "second"))
    cut = articles(["cut"]).removesuffix("</doc>\n")
    source = write(tmp_path / "wiki_00", text.format(first, second, cut=cut), documents="wikiextractor")
    with pytest.raises(UserError, match=rf"wiki_00 line {line}: .*{says}"):
        read(source, pieces)
    counts = NotedCounter()
    assert [t for _, t in sorted(read(source, pieces, counts, on_bad="skip"))] == ["first\n{", "second"]
    assert counts["lines_stray"] == 1 and len(counts.notes) == 1
