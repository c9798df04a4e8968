"""Conversion of token spans to answers: substrings of the context and their offsets."""

import dataclasses

import numpy as np

from bert_jax.data.windows import windows_of_pairs
from bert_jax.tasks.span_search import read_spans
from bert_jax.text.wordpiece import WordPieceTokenizer
from bert_jax.text.wordpiece_rules import WordPieceRules

TOKENIZER = WordPieceTokenizer(
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ada", "in", "rome"], WordPieceRules(lowercase=True)
)


def test_answers_do_not_begin_with_a_blank():
    context = "Ada  in Rome"
    windows = windows_of_pairs(TOKENIZER, ["ada"], [context], 16)
    # as of byte-level tokenizers: the second piece is blanks alone, the third includes the blank before it
    spans = np.array([[0, 3], [3, 5], [7, 12]], np.int32)
    windows = dataclasses.replace(windows, tokens=dataclasses.replace(windows.tokens, spans=spans))
    logits = np.zeros((len(windows.encoded.tokens), 2), np.float32)
    logits[3:6, 0] = 0, 3, 5
    logits[3:6, 1] = 0, 4, 5
    ((candidates, _),) = read_spans(windows, logits, [context])
    assert [(candidate.text, candidate.start, candidate.end) for candidate in candidates] == [
        ("Rome", 8, 12),
        ("in Rome", 5, 12),
        ("Ada  in Rome", 0, 12),
        ("Ada", 0, 3),
    ]
    assert all(context[candidate.start : candidate.end] == candidate.text for candidate in candidates)
