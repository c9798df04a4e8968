"""Exact match and F1 of the official SQuAD 1.1 and 2.0 evaluation scripts, in per cent."""

import itertools
import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from bert_jax.data.labelled.squad import Version
from bert_jax.errors import UserError

_ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)
_PUNCTUATION = str.maketrans("", "", string.punctuation)

Golds = Mapping[str, Sequence[str]]  # question id to gold answers, empty if the question has no answer
MatchScores = tuple[float, float]  # exact match and F1


def normalize_answer(text: str) -> str:
    """Return the text in lower case, without punctuation and articles, with single blanks between words."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, gold: str) -> float:
    return float(normalize_answer(answer) == normalize_answer(gold))


def f1(answer: str, gold: str) -> float:
    """Return the F1 of the words of two answers, 0 if they share none."""
    predicted, expected = normalize_answer(answer).split(), normalize_answer(gold).split()
    same = sum((Counter(predicted) & Counter(expected)).values())
    if not same:
        return 0.0
    precision, recall = same / len(predicted), same / len(expected)
    return 2 * precision * recall / (precision + recall)


def _score_1_1(answer: str | None, golds: Sequence[str]) -> MatchScores | None:
    """Return the scores of one question as in evaluate-v1.1.py: (0, 0) if it was not answered.

    Gold answers without a word can only match exactly: their F1 is 0.
    """
    if answer is None:
        return 0.0, 0.0
    return _best(answer, golds, f1)


def _score_2_0(answer: str | None, golds: Sequence[str]) -> MatchScores | None:
    """Return the scores of one question as in evaluate-v2.0.py: None if it was not answered.

    Gold answers without a word are ignored; if none is left, an answer without a word is right.
    """
    if answer is None:
        return None
    return _best(answer, [gold for gold in golds if normalize_answer(gold)] or [""], _f1_or_empty)


def _f1_or_empty(answer: str, gold: str) -> float:
    """Return the F1 of two answers, 1 if neither has a word."""
    return f1(answer, gold) or float(not normalize_answer(answer) and not normalize_answer(gold))


def _best(answer: str, golds: Sequence[str], overlap: Callable[[str, str], float]) -> MatchScores:
    return max(exact_match(answer, gold) for gold in golds), max(overlap(answer, gold) for gold in golds)


SCRIPTS: dict[Version, Callable[[str | None, Sequence[str]], MatchScores | None]] = {
    "1.1": _score_1_1,
    "2.0": _score_2_0,
}


def scores_by_question(answers: Mapping[str, str], golds: Golds, version: Version) -> dict[str, MatchScores]:
    """Return (exact match, F1) of each question that counts, at best over its gold answers."""
    scores = {name: SCRIPTS[version](answers.get(name), texts) for name, texts in golds.items()}
    return {name: pair for name, pair in scores.items() if pair is not None}


def squad_scores(answers: Mapping[str, str], golds: Golds, version: Version) -> dict[str, float]:
    """Return `exact_match` and `f1` over all questions, and separately with and without an answer if there are both."""
    by_question = scores_by_question(answers, golds, version)
    if not by_question:
        raise UserError("none of the questions has an answer in the predictions. Do the two files belong together?")
    answered = np.array([bool(golds[name]) for name in by_question])
    return mean_scores(np.array(list(by_question.values())), answered)


def mean_scores(by_question: np.ndarray, answered: np.ndarray) -> dict[str, float]:
    """Return `squad_scores` from the (exact match, F1) of each question; `answered` marks those with an answer."""
    scores: dict[str, float] = {}
    for prefix, chosen in (("", np.ones_like(answered)), ("has_answer_", answered), ("no_answer_", ~answered)):
        if not chosen.any() or (prefix and chosen.all()):
            continue
        exact, overlap = by_question[chosen].mean(axis=0)
        scores |= {f"{prefix}exact_match": 100 * float(exact), f"{prefix}f1": 100 * float(overlap)}
    return scores


def best_threshold(
    no_answer: Mapping[str, float], answers: Mapping[str, str], golds: Golds, version: Version
) -> tuple[float, dict[str, float]]:
    """Return the threshold on `no_answer` that maximises F1, and the best exact match and F1.

    answers  of all questions, before any is withheld

    As find_best_thresh of the official script, but half-way between two questions, so that rounding does not decide.
    The threshold is finite, as JSON requires, even if `no_answer` is not.
    """
    by_question = scores_by_question(answers, golds, version)
    none = sum(not texts for texts in golds.values())
    order = sorted(golds, key=lambda name: no_answer[name])
    upper = dict(zip(order, [(no_answer[a] + no_answer[b]) / 2 for a, b in itertools.pairwise(order)], strict=False))
    best: dict[str, tuple[float, float]] = {}
    for index, metric in enumerate(("exact_match", "f1")):
        current = highest = float(none)
        lowest = no_answer[order[0]] if order else 0.0
        threshold = lowest - 1.0 if np.isfinite(lowest) else 0.0
        for name in order:
            if golds[name]:
                current += by_question[name][index]
            else:
                current -= 0.0 if not answers[name] else 1.0
            if current > highest:
                above = upper.get(name, np.inf)
                highest, threshold = current, above if np.isfinite(above) else no_answer[name] + 1.0
        best[metric] = threshold, 100 * highest / len(golds)
    return best["f1"][0], {f"best_{metric}": value for metric, (_, value) in best.items()}
