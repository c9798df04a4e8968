import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stories import folder_bytes, read_rows, story

from bert_jax.errors import UserError
from data_prep.checking.check import check_shards
from data_prep.command import main
from data_prep.examples.segment_pairs import TokenizedText
from data_prep.examples.source_weights import only, passes
from data_prep.job.build import build_shards


def numbered(documents: list[list[int]]) -> TokenizedText:
    """Documents of sentences of the given lengths; every token of document i is i."""
    lengths = [length for document in documents for length in document]
    owner = np.repeat(np.arange(len(documents)), [sum(document) for document in documents])
    sizes = [len(document) for document in documents]
    return TokenizedText(
        owner.astype(np.uint16), np.concatenate([[0], np.cumsum(lengths)]), np.concatenate([[0], np.cumsum(sizes)])
    )


DOCUMENTS = st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=3), min_size=1, max_size=12)


@given(DOCUMENTS, st.data())
def test_a_choice_of_documents_holds_them_whole_and_in_order(documents, data):
    chosen = sorted(data.draw(st.sets(st.integers(0, len(documents) - 1), min_size=1)))
    text = only(numbered(documents), np.array(chosen))
    wanted = numbered([documents[i] for i in chosen])
    assert text.sentences.tolist() == wanted.sentences.tolist()
    assert text.documents.tolist() == wanted.documents.tolist()
    assert text.tokens.tolist() == [i for i in chosen for _ in range(sum(documents[i]))]
    assert text.tokens.dtype == np.uint16


@given(DOCUMENTS, st.sampled_from([0.05, 0.5, 1, 1.5, 2, 10 * 0.7, 3 * 0.1, 6.25]), st.integers(0, 99))
@settings(deadline=None)
def test_each_document_is_used_as_often_as_the_weight_says_or_once_more(documents, times, seed):
    text = numbered([[1] for _ in documents])
    used = np.bincount(np.concatenate([t.tokens for t in passes(text, times, [seed])] or [[]]).astype(int))
    used = np.pad(used, (0, len(documents) - len(used)))
    assert set(used) <= {int(times + 1e-9), int(np.ceil(times - 1e-9))}
    assert abs(used.sum() - times * len(documents)) < 1


def test_small_parts_come_to_the_right_share_together():
    text = numbered([[1], [1], [1]])
    used = sum(len(t.documents) - 1 for part in range(2000) for t in passes(text, 0.1, [7, part]))
    assert abs(used - 600) < 4 * np.sqrt(2000 * 0.3 * 0.7)


@pytest.fixture
def two(tmp_path):
    for name, seeds in (("a", range(60)), ("b", range(100, 140))):
        (tmp_path / name).mkdir()
        for seed in seeds:
            (tmp_path / name / f"{seed}.txt").write_text(story(seed))
    return str(tmp_path / "a"), str(tmp_path / "b")


def test_inputs_are_used_by_their_weights_and_counted(tmp_path, configure, two):
    config = {"input": two, "dupe_factor": 3, "weights": (2.0, 0.5)}
    manifest = build_shards(configure("one", **config))
    check_shards(tmp_path / "one")
    statistics = manifest.statistics
    used = [statistics[f"documents_used_of_input_{i}"] for i in (1, 2)]
    second = 100 - statistics["documents_held_out"] - used[0] / 6  # training documents of input 2
    assert used[0] % 6 == 0 and second <= 40 and abs(used[1] - 1.5 * second) < 2
    build_shards(configure("two", workers=2, **config))
    assert folder_bytes(tmp_path / "one") == folder_bytes(tmp_path / "two")
    assert manifest.settings["weights"] == [2.0, 0.5]


def test_equal_weights_use_what_no_weights_use(configure, two):
    config = {"input": two[:1], "dupe_factor": 2}
    plain, weighted = build_shards(configure("a1", **config)), build_shards(configure("a2", weights=(1.0,), **config))
    assert plain.splits == weighted.splits


def test_no_pair_joins_two_inputs(tmp_path, configure, two):
    for i, folder in enumerate(two):
        for path in (tmp_path / folder).iterdir():
            path.write_text(". ".join(["ba fa ga", "sing ting bing"][i] for _ in range(30)))
    manifest = build_shards(configure("s", input=two, weights=(1.0, 1.5), held_out=0.0, mask_rate=0.01))
    rows = read_rows(tmp_path / "s", manifest, "train")
    words = [line.strip() for line in (tmp_path / "vocab.txt").read_text().split("\n")]
    first = {words.index(word) for word in ("ba", "fa", "ga")}
    second = {words.index(word) for word in ("sing", "ting", "bing")}
    for row in rows:
        kept = np.delete(row["tokens"][: row["length"]], row["masked_positions"][: row["masked_count"]])
        assert not (first & set(kept.tolist()) and second & set(kept.tolist()))


@pytest.mark.parametrize(
    "weights, says",
    [
        (["0", "1"], r"weight 0(.0)? for .*leave out that input"),
        (["1"], "1 weights for 2 inputs"),
        (["1", "-1"], "weight -1.0 for .*must lie above 0"),
        (["1", "nan"], "weight nan for"),
    ],
)
def test_weights_that_make_no_sense_are_one_line(weights, says):
    command = ["shards", "--input", "a", "b", "--tokenizer", "c", "--output", "d", "--weights", *weights]
    with pytest.raises(UserError, match=says):
        main(command)


def test_a_weight_for_nothing_is_refused(configure, two):
    with pytest.raises(UserError, match=r"0.txt: has a weight and no text of its own"):
        build_shards(configure(input=(two[0], f"{two[0]}/0.txt"), weights=(1.0, 2.0)))


def test_weights_that_leave_nothing_are_named(configure, two):
    with pytest.raises(UserError, match="Give more text, larger --weights, --held-out 0"):
        build_shards(configure(input=(f"{two[0]}/0.txt",), weights=(0.001,), dupe_factor=1, held_out=0.0))
