"""Extended spans include the following characters that are in no token, and none of another token."""

import unicodedata
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from library_folders import TEXT

from bert_jax.text.library_encoding import token_offsets
from bert_jax.text.token_spans import JOINING, extend_spans
from bert_jax.text.training.byte_level import train_byte_level
from bert_jax.text.training.unigram import train_unigram
from bert_jax.text.training.vocabulary_request import VocabularyRequest
from bert_jax.text.training.wordpiece_training import train_wordpiece

TRAINING_TEXTS = ["the dog doesn't mind, café ﬁ ½ สวัสดี مرحبا 今日 각 🏽 x"] * 4
KINDS = {"wordpiece": train_wordpiece, "bpe": train_byte_level, "unigram": train_unigram}
TEXT_WITH_MARKS = st.lists(
    st.sampled_from([*"aeé .-\u0301\u0323\u200b\u200d\u00ad\ufe0f\ufffd\ue000각", "\U000e0067", "x\u0301"]) | TEXT,
    max_size=9,
).map("".join)


@pytest.fixture(scope="module", params=[(kind, low) for kind in KINDS for low in (False, True)], ids=str)
def tokenizer(request):
    kind, lowercase = request.param
    return KINDS[kind](TRAINING_TEXTS, VocabularyRequest(300, lowercase), Counter())


def ends_span(character):
    kind = unicodedata.category(character)
    return character not in JOINING and (character.isspace() or kind in ("Cc", "Cf") or kind[0] == "Z")


@settings(max_examples=100, deadline=None)
@given(text=TEXT_WITH_MARKS)
def test_spans_leave_out_only_blanks_and_control_characters(tokenizer, text):
    ids, spans, bounds = tokenizer.spans_flat([text])
    whole = "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
    plain = tokenizer._backend.encode(whole, add_special_tokens=False)
    offsets = token_offsets(tokenizer._backend, whole, plain).tolist()
    assert ids.tolist() == plain.ids and bounds.tolist() == [0, len(ids)]
    shown = {at for start, end in offsets for at in range(start, end)}
    for (start, end), (begin, close) in zip(spans.tolist(), offsets, strict=True):
        assert start == begin and end >= close
        added = range(close, end)
        assert not shown & set(added) and not any(ends_span(text[at]) for at in added)
    covered = {at for start, end in spans.tolist() for at in range(start, end)}
    assert all(ends_span(text[at]) for at in range(1, len(text)) if at - 1 in covered and at not in covered)


def test_tokens_that_end_together_are_extended_together():
    spans = np.array([[0, 1], [0, 1], [3, 4], [4, 5]], np.int32)
    assert extend_spans("e\u0301\u0323xy\u0301 z", spans).tolist() == [[0, 3], [0, 3], [3, 4], [4, 6]]
    assert spans.tolist() == [[0, 1], [0, 1], [3, 4], [4, 5]]
    assert extend_spans("", np.zeros((0, 2), np.int32)).shape == (0, 2)


def test_format_characters_end_a_span_unless_they_join():
    spans = np.array([[0, 1]], np.int32)
    for behind, end in (
        ("\u200b", 1),
        ("\u00ad", 1),
        ("\u200f", 1),
        ("\x07", 1),
        ("\u200d", 2),
        ("\U000e007f", 2),
        ("\ufffd", 2),
    ):
        assert extend_spans(f"a{behind} b", spans).tolist() == [[0, end]]
