"""The last lines of the demo on the terminal."""

from collections.abc import Iterator
from pathlib import Path

from bert_jax.demo.demo_report import SURE_A_LABEL, UNSURE, one_cell, scores, verdict, words
from bert_jax.demo.demo_results import Answer, DemoResults
from bert_jax.pictures import percent

HIDDEN_WORDS = "A hidden word, as the pre-trained model fills it in (minutes teach little more than frequent words):"
NARROWEST, WIDEST = 60, 120  # columns that lines are written for, whatever the terminal has


def closing_lines(results: DemoResults, folder: Path, columns: int) -> Iterator[str]:
    """Yield the lines: scores, answers, hidden words, and what to do next."""
    columns = min(max(columns, NARROWEST), WIDEST)
    surer, others = results.halves()
    yield "Accuracy on held-out docstrings:"
    for name, score in scores(results):
        yield f"  {name:44} {score}"
    yield verdict(results)
    yield ""
    yield f"{percent(surer)} of the surer half of its answers are right, {percent(others)} of the other half."
    yield f"Surest, {SURE_A_LABEL} of each library:"
    yield from (_answer(answer, results, columns) for answer in results.surest(SURE_A_LABEL))
    yield "Least sure:"
    yield from (_answer(answer, results, columns) for answer in results.least_sure(UNSURE))
    yield ""
    yield HIDDEN_WORDS
    for hidden in results.hidden:
        yield f"  {hidden.text}"
        yield f"    {words(hidden)}"
    yield ""
    yield f"{results.seconds / 60:.1f} minutes; all of it is in {folder}/. Go on with:"
    for step, why in results.next_steps:
        yield f"  {step}"
        yield f"    {why}"


def _answer(answer: Answer, results: DemoResults, columns: int) -> str:
    widest = max(map(len, results.labels))
    mark = "right" if answer.is_right else f"no, {answer.truth}"
    head = f"  {answer.label:{widest}} {answer.confidence:4.0%}  {mark:{widest + 4}}  "
    return head + one_cell(answer.text, max(columns - len(head), 20))
