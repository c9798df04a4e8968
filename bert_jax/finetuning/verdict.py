"""The verdict on a run in words: how its scores compare with the baselines, and what to try next."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from bert_jax.finetuning.recipe import Recipe
from bert_jax.pictures import MetricLine, series

RATE_FACTOR = 2.0  # a learning rate that differs from the usual one by less counts as the usual one
LEARNED_BY_HEART = 0.5  # final training loss as a share of the first
FINAL_LOSSES = 3  # that are averaged


@dataclasses.dataclass(frozen=True)
class Finished:
    """A finished run, as far as the verdict needs it.

    numbers   content of report.json
    main      main score on dev, and that of a constant answer
    settings  content of run.toml
    metrics   lines of metrics.jsonl
    """

    numbers: Mapping[str, Any]
    main: tuple[float, float]
    settings: Mapping[str, Any]
    metrics: Sequence[MetricLine]


def verdict(run: Finished, usual: Recipe) -> list[str]:
    """Return lines to print below the scores: the baselines and, if the scores are no better, what to try."""
    names: Sequence[str] = run.numbers.get("main", ())
    constant, words = (run.numbers.get(name) for name in ("baseline", "bag_of_words"))
    if not constant or not names:  # written by an older version
        return []
    baselines = [_spelled(names, baseline) for baseline in (words, constant) if baseline]
    lines = [f"{'baseline' if len(baselines) == 1 else 'baselines'}: {'; '.join(baselines)}"]
    scores, intervals = run.numbers["scores"], run.numbers["intervals"]
    achieved = ", ".join(f"{name} {scores[name]:.4f}" for name in names)
    if run.main[0] <= run.main[1] + 1e-9:
        hint = ""
        if words:
            learnable = any(words[name] > constant[name] for name in names)
            hint = "A bag of words does better. " if learnable else "Nor is a bag of words: does the text say it? "
        return [
            *lines,
            f"learned nothing: {achieved} is no better than {constant['answer']}. {hint}{_advice(run, usual)}",
        ]
    if all(intervals[name][0] <= constant[name] for name in names):
        unsure = f"not surely better than {constant['answer']}, which lies in the 95 % interval of {achieved}"
        return [*lines, f"{unsure}. Score more rows, or: {_advice(run, usual)}"]
    if words and all(scores[name] < words[name] for name in names):
        return [*lines, f"below a bag of words, which takes seconds. {_advice(run, usual)}"]
    if words and all(scores[name] <= words[name] for name in names):
        return [*lines, "level with a bag of words, which takes seconds"]
    return lines


def _spelled(names: Sequence[str], baseline: Mapping[str, Any]) -> str:
    return f"{baseline['answer']}: {' '.join(f'{name} {baseline[name]:.4f}' for name in names)}"


def _advice(run: Finished, usual: Recipe) -> str:
    """Return what to try next, from the settings that were used, the dev scores and the training loss."""
    rate, epochs = (float(run.settings.get(name, getattr(usual, name))) for name in ("learning_rate", "epochs"))
    if rate > RATE_FACTOR * usual.learning_rate:
        return f"Try a lower rate: --learning-rate {usual.learning_rate:g}"
    _, scores = series(run.metrics, "dev", "main")
    if len(scores) > 1 and scores[-1] > max(scores[:-1]):
        return f"The dev score was still rising at the end: try --epochs {2 * epochs:g}"
    _, losses = series(run.metrics, "train", "loss")
    end = losses[-FINAL_LOSSES:]
    if len(losses) > FINAL_LOSSES and sum(end) / len(end) < LEARNED_BY_HEART * losses[0]:
        return (
            f"The training rows were learned by heart (loss {losses[0]:.2f} to {sum(end) / len(end):.2f}): "
            "more labelled rows help, not more epochs"
        )
    if rate * RATE_FACTOR <= usual.learning_rate or epochs < usual.epochs:
        return f"Try --learning-rate {max(rate, usual.learning_rate):g} --epochs {max(epochs, usual.epochs):g}"
    start = ", or a pre-trained encoder" if run.settings.get("from_scratch") else ""
    return f"Try --learning-rate {3 * rate:g} --epochs {2 * epochs:g}{start}"
