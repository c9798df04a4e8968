"""Which pieces go on with the word before them, in each kind of tokenizer."""

from collections import Counter

import numpy as np
import pytest
from library_folders import KINDS

from bert_jax.text import load_tokenizer
from bert_jax.text.training.vocabulary_request import VocabularyRequest
from bert_jax.text.training.wordpiece_training import train_wordpiece

TEXT = "jumps over brown foxes quickly jumpsover thelazydog"


@pytest.mark.parametrize("kind", KINDS)
def test_the_pieces_of_a_word_but_the_first_go_on(folders, kind):
    tokenizer = load_tokenizer(folders[kind])
    goes_on = tokenizer.continuations()
    assert goes_on.shape == (tokenizer.vocab_size,) and goes_on.dtype == bool
    ids = tokenizer.ids([f"x {TEXT}"])[0][len(tokenizer.ids(["x"])[0]) :]  # without what has no blank before it
    words = [len(tokenizer.ids([f"x {word}"])[0]) - len(tokenizer.ids(["x"])[0]) for word in TEXT.split()]
    assert sum(words) == len(ids) and max(words) > 1
    assert np.flatnonzero(~goes_on[ids]).tolist() == np.cumsum([0, *words[:-1]]).tolist()
    assert not goes_on[list(tokenizer.special.all())].any()


def test_pieces_with_the_prefix_go_on():
    tokenizer = train_wordpiece(["bad bade fade faded"] * 3, VocabularyRequest(90, True), Counter())
    for entry, goes_on in zip(tokenizer.vocab, tokenizer.continuations(), strict=True):
        assert goes_on == entry.startswith("##")
