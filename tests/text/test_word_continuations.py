"""Tokens that continue a word, in each kind of tokenizer."""

from collections import Counter

import numpy as np
import pytest
from library_folders import KINDS

from bert_jax.text import load_tokenizer
from bert_jax.text.training.vocabulary_request import VocabularyRequest
from bert_jax.text.training.wordpiece_training import train_wordpiece

TEXT = "jumps over brown foxes quickly jumpsover thelazydog"


@pytest.mark.parametrize("kind", KINDS)
def test_every_piece_of_a_word_except_the_first_continues_it(folders, kind):
    tokenizer = load_tokenizer(folders[kind])
    continued = tokenizer.continuations()
    assert continued.shape == (tokenizer.vocab_size,) and continued.dtype == bool
    ids = tokenizer.ids([f"x {TEXT}"])[0][
        len(tokenizer.ids(["x"])[0]) :
    ]  # without the first word, which has no blank before it
    words = [len(tokenizer.ids([f"x {word}"])[0]) - len(tokenizer.ids(["x"])[0]) for word in TEXT.split()]
    assert sum(words) == len(ids) and max(words) > 1
    assert np.flatnonzero(~continued[ids]).tolist() == np.cumsum([0, *words[:-1]]).tolist()
    assert not continued[list(tokenizer.special.all())].any()


def test_pieces_with_the_prefix_continue_a_word():
    tokenizer = train_wordpiece(["bad bade fade faded"] * 3, VocabularyRequest(90, True), Counter())
    for entry, continued in zip(tokenizer.vocab, tokenizer.continuations(), strict=True):
        assert continued == entry.startswith("##")
