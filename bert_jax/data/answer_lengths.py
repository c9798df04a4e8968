"""How many tokens an answer may have: limits that hold for any vocabulary. NumPy only."""

import numpy as np

CHARACTERS = 250  # of an answer where nothing else is known; the longest English one of XQuAD has 149
LEAST = 30  # tokens; google-research/bert's max_answer_length, meant for its English vocabulary
HELD = 0.999  # share of the training answers that a default holds
MARGIN = 1.25  # by which other answers may be longer than those


def answer_limits(tokens: np.ndarray, characters: np.ndarray) -> np.ndarray:
    """Return how many tokens an answer from each context may have: as many as 250 characters of that context take.

    The limit of a context depends on no other. int64 (contexts), at least 30.

    tokens, characters  of each context
    """
    return np.maximum(LEAST, np.ceil(CHARACTERS * tokens / np.maximum(characters, 1)).astype(np.int64))


def default_longest(tokens: np.ndarray, characters: np.ndarray, answers: np.ndarray) -> int:
    """Return how many tokens an answer may have, for a model that is to learn from these contexts and answers.

    The limit holds 250 characters in the model's vocabulary and, with a quarter more, 999 of 1,000 training answers.

    tokens, characters  of each context
    answers             tokens of each training answer
    """
    by_vocabulary = int(answer_limits(tokens.sum(), characters.sum()))
    if not len(answers):
        return by_vocabulary
    return max(by_vocabulary, int(np.ceil(MARGIN * np.quantile(answers, HELD, method="higher"))))
