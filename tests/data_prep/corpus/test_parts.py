"""Plans of parts: every piece once, of bounded size."""

from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.corpus.parts import Source, plan_parts, read_many_times
from data_prep.corpus.reader_contract import CorpusOptions
from data_prep.corpus.sources import source_format


def make_sources(sizes: list[int], suffix: str) -> tuple[Source, ...]:
    kind, packing = source_format(f"a{suffix}", CorpusOptions())
    unpacked = 3 if packing else 1
    return tuple(
        Source(
            path=f"/{i}",
            name=str(i),
            format=kind,
            size=size,
            stamp="0",
            text_bytes=size * unpacked,
            packing=packing,
        )
        for i, size in enumerate(sizes)
    )


@given(
    st.lists(st.integers(1, 50_000_000), min_size=1, max_size=40),
    st.sampled_from([".txt", ".jsonl", ".txt.gz", ".jsonl.gz", ".csv", ".tsv.zst"]),
    st.sampled_from(["file", "blank-line"]),
)
@settings(max_examples=100, deadline=None)
def test_parts_contain_each_piece_once_and_are_bounded(sizes, suffix, documents):
    sources, limit = make_sources(sizes, suffix), 8_000_000
    parts = plan_parts(sources, CorpusOptions(documents=documents), limit)
    pieces = [piece for part in parts for piece in part.pieces]
    assert [part.index for part in parts] == list(range(len(parts)))
    for source in sources:
        of_source = [piece.index for piece in pieces if piece.source == source]
        assert of_source == list(range(len(of_source))) and of_source
    is_document = documents == "file" and suffix.startswith(".txt")
    for part in parts:
        assert part.text_bytes < 3.6 * limit
        assert len(parts) == 1 or not is_document or len(part.pieces) > 1 or part.pieces[0].pieces > 1


def test_file_that_is_read_many_times_is_reported():
    def times_read(size: int, suffix: str) -> list[int]:
        parts = plan_parts(make_sources([size], suffix), CorpusOptions(), 1_000_000)
        return [times for _, times in read_many_times(parts)]

    assert times_read(17_000_000, ".csv") == [17]
    assert times_read(20_000_000, ".txt.gz") == [60]
    assert times_read(20_000_000, ".txt") == times_read(1_000_000, ".csv") == []


def test_corpus_of_some_megabytes_has_parts_for_several_workers():
    assert len(plan_parts(make_sources([700_000] * 64, ".txt"), CorpusOptions(), 32_000_000)) >= 16
    assert len(plan_parts(make_sources([9_000_000], ".jsonl"), CorpusOptions(), 32_000_000)) >= 4
