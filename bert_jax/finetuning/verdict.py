"""The verdict on a run in words: whether its scores are above those that need no encoder, and what to try otherwise."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from bert_jax.finetuning.recipe import Recipe
from bert_jax.pictures import Line, series

FAR = 2.0  # a rate so many times the usual one is another
LEARNED_BY_HEART = 0.5  # of the first training loss, at the end
FEW_LOSSES = 3  # at the end, of which the mean is taken


@dataclasses.dataclass(frozen=True)
class Finished:
    """The numbers of a finished run that the verdict rests on.

    numbers   of its report.json
    main      the score that decides, on dev, and that of reading nothing
    settings  of its run.toml
    metrics   of its metrics.jsonl
    """

    numbers: Mapping[str, Any]
    main: tuple[float, float]
    settings: Mapping[str, Any]
    metrics: Sequence[Line]


def verdict(run: Finished, usual: Recipe) -> list[str]:
    """Return lines to print below the scores: what stands beside them, and where they are no better, what to try."""
    names: Sequence[str] = run.numbers.get("main", ())
    nothing, words = (run.numbers.get(name) for name in ("baseline", "bag_of_words"))
    if not nothing or not names:  # of an older version
        return []
    beside = [_of(names, one) for one in (words, nothing) if one]
    lines = [f"beside it: {'; '.join(beside)}"]
    scores, intervals = run.numbers["scores"], run.numbers["intervals"]
    own = ", ".join(f"{name} {scores[name]:.4f}" for name in names)
    if run.main[0] <= run.main[1] + 1e-9:
        something = ""
        if words:
            found = any(words[name] > nothing[name] for name in names)
            something = "A bag of words does better. " if found else "Nor is a bag of words: does the text say it? "
        return [
            *lines,
            f"learned nothing: {own} is no better than {nothing['answer']}. {something}{_advice(run, usual)}",
        ]
    if all(intervals[name][0] <= nothing[name] for name in names):
        unsure = f"not surely better than {nothing['answer']}, which lies in the 95 % interval of {own}"
        return [*lines, f"{unsure}. Score more rows, or: {_advice(run, usual)}"]
    if words and all(scores[name] < words[name] for name in names):
        return [*lines, f"below a bag of words, which takes seconds. {_advice(run, usual)}"]
    if words and all(scores[name] <= words[name] for name in names):
        return [*lines, "level with a bag of words, which takes seconds"]
    return lines


def _of(names: Sequence[str], baseline: Mapping[str, Any]) -> str:
    return f"{baseline['answer']}: {' '.join(f'{name} {baseline[name]:.4f}' for name in names)}"


def _advice(run: Finished, usual: Recipe) -> str:
    """Say what to try, from the rate and epochs that were used and from what became of the training loss."""
    rate, epochs = (float(run.settings.get(name, getattr(usual, name))) for name in ("learning_rate", "epochs"))
    if rate > FAR * usual.learning_rate:
        return f"Try a lower rate: --learning-rate {usual.learning_rate:g}"
    _, losses = series(run.metrics, "train", "loss")
    end = losses[-FEW_LOSSES:]
    if len(losses) > FEW_LOSSES and sum(end) / len(end) < LEARNED_BY_HEART * losses[0]:
        return (
            f"The training rows were learned by heart (loss {losses[0]:.2f} to {sum(end) / len(end):.2f}): "
            "more labelled rows help, not more epochs"
        )
    if rate * FAR <= usual.learning_rate or epochs < usual.epochs:
        return f"Try --learning-rate {max(rate, usual.learning_rate):g} --epochs {max(epochs, usual.epochs):g}"
    start = ", or an encoder that was pre-trained" if run.settings.get("from_scratch") else ""
    return f"Try --learning-rate {3 * rate:g} --epochs {2 * epochs:g}{start}"
