"""Limits on the number of tokens of an answer, for any vocabulary. NumPy only."""

import numpy as np

ANSWER_CHARACTERS = 250  # limit of an answer by default; the longest English one of XQuAD has 149
MIN_TOKENS = 30  # google-research/bert's max_answer_length, chosen for its English vocabulary
COVERED = 0.999  # share of the training answers that are within the default
MARGIN = 1.25  # allows other answers to be longer than those of training


def answer_limits(tokens: np.ndarray, characters: np.ndarray) -> np.ndarray:
    """Return the most tokens that an answer from each context may have: int64 (contexts), at least 30.

    It is the number of tokens that 250 characters of that context take, whatever the other contexts.

    tokens, characters  of each context
    """
    return np.maximum(MIN_TOKENS, np.ceil(ANSWER_CHARACTERS * tokens / np.maximum(characters, 1)).astype(np.int64))


def default_longest(tokens: np.ndarray, characters: np.ndarray, answers: np.ndarray) -> int:
    """Return the most tokens that an answer may have, for a model trained on these contexts and answers.

    The limit covers 250 characters in the model's vocabulary, and 99.9 % of the training answers with a margin of 25 %.

    tokens, characters  of each context
    answers             tokens of each training answer
    """
    by_vocabulary = int(answer_limits(tokens.sum(), characters.sum()))
    if not len(answers):
        return by_vocabulary
    return max(by_vocabulary, int(np.ceil(MARGIN * np.quantile(answers, COVERED, method="higher"))))
