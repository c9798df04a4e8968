"""Exact match and F1 as the official evaluation scripts of SQuAD 1.1 and 2.0 count them, in per cent."""

import itertools
import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from bert_jax.errors import UserError

_ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)
_PUNCTUATION = str.maketrans("", "", string.punctuation)

Golds = Mapping[str, Sequence[str]]  # question id to the texts of its answers; none: it has no answer


def normalize_answer(text: str) -> str:
    """Lower case, without punctuation, articles and more than one blank."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, gold: str) -> float:
    return float(normalize_answer(answer) == normalize_answer(gold))


def f1(answer: str, gold: str) -> float:
    """Of the words that both have. Where one has none, 1 if the other has none either."""
    given, expected = normalize_answer(answer).split(), normalize_answer(gold).split()
    if not given or not expected:
        return float(given == expected)
    same = sum((Counter(given) & Counter(expected)).values())
    if not same:
        return 0.0
    precision, recall = same / len(given), same / len(expected)
    return 2 * precision * recall / (precision + recall)


def scores_by_question(answers: Mapping[str, str], golds: Golds) -> dict[str, tuple[float, float]]:
    """(exact match, F1) of each question, the best over its answers.

    One that was not answered has 0 by the script of SQuAD 1.1; that of 2.0 leaves it out.
    """
    found = {}
    two = not all(golds.values())
    for name, texts in golds.items():
        if name not in answers:
            if not two:
                found[name] = (0.0, 0.0)
            continue
        expected = [text for text in texts if normalize_answer(text)] or [""]
        answer = answers[name]
        found[name] = (
            max(exact_match(answer, text) for text in expected),
            max(f1(answer, text) for text in expected),
        )
    return found


def squad_scores(answers: Mapping[str, str], golds: Golds) -> dict[str, float]:
    """`exact_match` and `f1` over all questions; with some that have no answer, also apart for those and the others."""
    by_question = scores_by_question(answers, golds)
    if not by_question:
        raise UserError("none of the questions has an answer in the predictions. Do the two files belong together?")
    answered = np.array([bool(golds[name]) for name in by_question])
    return mean_scores(np.array(list(by_question.values())), answered)


def mean_scores(by_question: np.ndarray, answered: np.ndarray) -> dict[str, float]:
    """The same from (exact match, F1) of each question, and whether it has an answer."""
    scores: dict[str, float] = {}
    for prefix, those in (("", np.ones_like(answered)), ("has_answer_", answered), ("no_answer_", ~answered)):
        if not those.any() or (prefix and those.all()):
            continue
        exact, overlap = by_question[those].mean(axis=0)
        scores |= {f"{prefix}exact_match": 100 * float(exact), f"{prefix}f1": 100 * float(overlap)}
    return scores


def best_threshold(
    no_answer: Mapping[str, float], answers: Mapping[str, str], golds: Golds
) -> tuple[float, dict[str, float]]:
    """The threshold on `no_answer` above which an answer is better withheld, for the best F1, and the best scores.

    `answers` are those given if all are. As find_best_thresh of the official script, but half-way between two
    questions, so that rounding does not decide. Finite, as JSON has it, also where `no_answer` is not.
    """
    by_question = scores_by_question(answers, golds)
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
