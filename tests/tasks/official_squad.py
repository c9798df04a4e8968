"""What the official evaluation scripts of SQuAD do, a question at a time and without shortcuts."""

import re
import string
from collections import Counter


def normalize(text):
    text = "".join(c for c in text.lower() if c not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def overlap(answer, gold):
    """(words of the answer, of the gold, in both)."""
    given, expected = normalize(answer).split(), normalize(gold).split()
    return len(given), len(expected), sum((Counter(given) & Counter(expected)).values())


def harmonic(given, expected, same):
    precision, recall = same / given, same / expected
    return 2 * precision * recall / (precision + recall)


def f1_1_1(answer, gold):
    counts = overlap(answer, gold)
    return 0 if counts[2] == 0 else harmonic(*counts)


def f1_2_0(answer, gold):
    given, expected, same = overlap(answer, gold)
    if given == 0 or expected == 0:
        return int(given == expected)
    return 0 if same == 0 else harmonic(given, expected, same)


def evaluate_1_1(questions, predictions):
    """evaluate-v1.1.py; `questions` are (id, golds)."""
    exact = f1 = total = 0
    for name, golds in questions:
        total += 1
        if name not in predictions:
            continue
        exact += max(normalize(predictions[name]) == normalize(gold) for gold in golds)
        f1 += max(f1_1_1(predictions[name], gold) for gold in golds)
    return {"exact_match": 100.0 * exact / total, "f1": 100.0 * f1 / total}


def evaluate_2_0(questions, predictions):
    """evaluate-v2.0.py without probabilities of no answer; of those with and without one only if all were answered."""
    exact, f1 = {}, {}
    for name, golds in questions:
        if name not in predictions:
            continue
        known = [gold for gold in golds if normalize(gold)] or [""]
        exact[name] = max(int(normalize(predictions[name]) == normalize(gold)) for gold in known)
        f1[name] = max(f1_2_0(predictions[name], gold) for gold in known)

    def means(prefix, names):
        count = len(names)
        return {
            f"{prefix}exact_match": 100.0 * sum(exact[name] for name in names) / count,
            f"{prefix}f1": 100.0 * sum(f1[name] for name in names) / count,
        }

    found = means("", list(exact))
    answered = [name for name, golds in questions if golds]
    refused = [name for name, golds in questions if not golds]
    if answered and refused and len(exact) == len(questions):
        found |= means("has_answer_", answered) | means("no_answer_", refused)
    return found
