"""The lines that the demo prints at its end."""

from collections.abc import Iterator
from pathlib import Path

from bert_jax.demo.demo_report import SURE_A_LABEL, UNSURE, demo_verdict, one_cell, scores, words
from bert_jax.demo.demo_results import DemoAnswer, DemoResults
from bert_jax.pictures import percent

HIDDEN_WORDS = "Predictions for a masked word (in minutes a model learns little more than which words are frequent):"
NARROWEST, WIDEST = 60, 120  # columns; the width of the terminal is clipped to this range


def closing_lines(results: DemoResults, folder: Path, columns: int) -> Iterator[str]:
    """Yield the lines: scores, predictions, masked words, and next steps."""
    columns = min(max(columns, NARROWEST), WIDEST)
    surer, others = results.halves()
    yield "Accuracy on held-out docstrings:"
    for name, score in scores(results):
        yield f"  {name:44} {score}"
    yield demo_verdict(results)
    yield ""
    yield f"{percent(surer)} of the more confident half of the predictions are right, {percent(others)} of the others."
    yield f"Most confident, {SURE_A_LABEL} per library:"
    yield from (_answer(answer, results, columns) for answer in results.surest(SURE_A_LABEL))
    yield "Least confident:"
    yield from (_answer(answer, results, columns) for answer in results.least_sure(UNSURE))
    yield ""
    yield HIDDEN_WORDS
    for hidden in results.hidden:
        yield f"  {hidden.text}"
        yield f"    {words(hidden)}"
    yield ""
    yield f"Done in {results.seconds / 60:.1f} minutes; the files are in {folder}/. Next steps:"
    for step, why in results.next_steps:
        yield f"  {step}"
        yield f"    {why}"


def _answer(answer: DemoAnswer, results: DemoResults, columns: int) -> str:
    """Return the line of one prediction: label, confidence, whether it is right, and the text cut to `columns`."""
    width = max(map(len, results.labels))
    mark = "right" if answer.is_right else f"no, {answer.truth}"
    head = f"  {answer.label:{width}} {answer.confidence:4.0%}  {mark:{width + 4}}  "
    return head + one_cell(answer.text, max(columns - len(head), 20))
