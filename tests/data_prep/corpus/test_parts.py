from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.corpus.parts import Source, plan_parts, read_many_times
from data_prep.corpus.reading import Reading
from data_prep.corpus.sources import format_of


def made(sizes: list[int], suffix: str) -> tuple[Source, ...]:
    kind, packing = format_of(f"a{suffix}", Reading())
    unpacked = 3 if packing else 1
    return tuple(Source(f"/{i}", str(i), kind, size, "0", size * unpacked, packing) for i, size in enumerate(sizes))


@given(
    st.lists(st.integers(1, 50_000_000), min_size=1, max_size=40),
    st.sampled_from([".txt", ".jsonl", ".txt.gz", ".jsonl.gz", ".csv", ".tsv.zst"]),
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
        assert of_source == list(range(len(of_source))) and of_source
    alone = documents == "file" and suffix.startswith(".txt")
    for part in parts:
        assert part.text_bytes < 3.6 * limit
        assert len(parts) == 1 or not alone or len(part.pieces) > 1 or part.pieces[0].pieces > 1


def test_a_file_that_is_read_many_times_is_told():
    def told(size: int, suffix: str) -> list[int]:
        return [times for _, times in read_many_times(plan_parts(made([size], suffix), Reading(), 1_000_000))]

    assert told(17_000_000, ".csv") == [17]
    assert told(20_000_000, ".txt.gz") == [60]
    assert told(20_000_000, ".txt") == told(1_000_000, ".csv") == []


def test_a_corpus_of_some_megabytes_gives_work_to_several_workers():
    assert len(plan_parts(made([700_000] * 64, ".txt"), Reading(), 32_000_000)) >= 16
    assert len(plan_parts(made([9_000_000], ".jsonl"), Reading(), 32_000_000)) >= 4
