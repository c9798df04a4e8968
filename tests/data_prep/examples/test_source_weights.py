"""Inputs that are used more or less often than others."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stories import folder_bytes, read_rows, story

from bert_jax.errors import UserError
from data_prep.checking.check import check_shards
from data_prep.command import main
from data_prep.examples.source_weights import passes, select_documents
from data_prep.examples.tokenized import TokenizedText
from data_prep.job.build import build_shards


def text_by_document(documents: list[list[int]]) -> TokenizedText:
    """Return documents of sentences of the given lengths. Every token of document i is i."""
    lengths = [length for document in documents for length in document]
    owner = np.repeat(np.arange(len(documents)), [sum(document) for document in documents])
    sizes = [len(document) for document in documents]
    return TokenizedText(
        owner.astype(np.uint16), np.concatenate([[0], np.cumsum(lengths)]), np.concatenate([[0], np.cumsum(sizes)])
    )


DOCUMENTS = st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=3), min_size=1, max_size=12)


@given(DOCUMENTS, st.data())
def test_selected_documents_are_complete_and_in_order(documents, data):
    chosen = sorted(data.draw(st.sets(st.integers(0, len(documents) - 1), min_size=1)))
    text = select_documents(text_by_document(documents), np.array(chosen))
    expected = text_by_document([documents[i] for i in chosen])
    assert text.sentences.tolist() == expected.sentences.tolist()
    assert text.documents.tolist() == expected.documents.tolist()
    assert text.tokens.tolist() == [i for i in chosen for _ in range(sum(documents[i]))]
    assert text.tokens.dtype == np.uint16


@given(DOCUMENTS, st.sampled_from([0.05, 0.5, 1, 1.5, 2, 10 * 0.7, 3 * 0.1, 6.25]), st.integers(0, 99))
@settings(deadline=None)
def test_number_of_uses_of_a_document_is_the_weight_rounded_up_or_down(documents, times, seed):
    text = text_by_document([[1] for _ in documents])
    used = np.bincount(np.concatenate([t.tokens for t in passes(text, times, [seed])] or [[]]).astype(int))
    used = np.pad(used, (0, len(documents) - len(used)))
    assert set(used) <= {int(times + 1e-9), int(np.ceil(times - 1e-9))}
    assert abs(used.sum() - times * len(documents)) < 1


def test_fractional_weights_are_right_on_average_over_small_parts():
    text = text_by_document([[1], [1], [1]])
    used = sum(len(t.documents) - 1 for part in range(2000) for t in passes(text, 0.1, [7, part]))
    assert abs(used - 600) < 4 * np.sqrt(2000 * 0.3 * 0.7)


@pytest.fixture
def inputs(tmp_path):
    """Two folders of stories."""
    for name, seeds in (("a", range(60)), ("b", range(100, 140))):
        (tmp_path / name).mkdir()
        for seed in seeds:
            (tmp_path / name / f"{seed}.txt").write_text(story(seed))
    return str(tmp_path / "a"), str(tmp_path / "b")


def test_inputs_are_used_by_their_weights_and_counted(tmp_path, configure, inputs):
    config = {"input": inputs, "dupe_factor": 3, "weights": (2.0, 0.5)}
    manifest = build_shards(configure("one", **config))
    check_shards(tmp_path / "one")
    statistics = manifest.statistics
    used = [statistics[f"documents_used_of_input_{i}"] for i in (1, 2)]
    second = 100 - statistics["documents_held_out"] - used[0] / 6  # training documents of input 2
    assert used[0] % 6 == 0 and second <= 40 and abs(used[1] - 1.5 * second) < 2
    build_shards(configure("two", workers=2, **config))
    assert folder_bytes(tmp_path / "one") == folder_bytes(tmp_path / "two")
    assert manifest.settings["weights"] == [2.0, 0.5]


def test_weight_of_one_makes_the_same_shards_as_no_weight(configure, inputs):
    config = {"input": inputs[:1], "dupe_factor": 2}
    plain, weighted = build_shards(configure("a1", **config)), build_shards(configure("a2", weights=(1.0,), **config))
    assert plain.splits == weighted.splits


def test_no_pair_joins_two_inputs(tmp_path, configure, inputs):
    for i, folder in enumerate(inputs):
        for path in (tmp_path / folder).iterdir():
            path.write_text(". ".join(["ba fa ga", "sing ting bing"][i] for _ in range(30)))
    manifest = build_shards(configure("s", input=inputs, weights=(1.0, 1.5), held_out=0.0, mask_rate=0.01))
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
def test_invalid_weights_are_refused(weights, says):
    command = ["shards", "--input", "a", "b", "--tokenizer", "c", "--output", "d", "--weights", *weights]
    with pytest.raises(UserError, match=says):
        main(command)


def test_weight_for_an_input_without_text_of_its_own_is_refused(configure, inputs):
    with pytest.raises(UserError, match=r"0.txt: has a weight and no text of its own"):
        build_shards(configure(input=(inputs[0], f"{inputs[0]}/0.txt"), weights=(1.0, 2.0)))


def test_weights_too_small_for_any_example_are_named(configure, inputs):
    with pytest.raises(UserError, match="Give more text, larger --weights, --held-out 0"):
        build_shards(configure(input=(f"{inputs[0]}/0.txt",), weights=(0.001,), dupe_factor=1, held_out=0.0))
