"""Answers to GLUE's test files as gluebenchmark.com takes them."""

from pathlib import Path
from typing import Any

from bert_jax.data.labelled.glue import read_glue, rows_to_answer, spell
from bert_jax.data.labelled.glue_tasks import GLUE, LEADERBOARD
from bert_jax.data.labelled.row_files import AS_USUAL, Reading
from bert_jax.data.text_output import write_output
from bert_jax.inference.loading import load
from bert_jax.terminal import note

SUBMISSION = "submission"
LOWEST, HIGHEST = 0.0, 5.0  # of a similarity


def answer_test(model: Any, path: Path, *, batch_size: int = 64, reading: Reading = AS_USUAL) -> str:
    """The content of a file of answers: a header, then index and prediction of each row, in the order of the rows.

    Classes are spelled as in the task's files; scores are kept between 0 and 5.
    """
    name = model.task.name
    rows = read_glue(name, path, reading)
    answers = model.answer(rows, batch_size=batch_size)
    if model.labels is None:
        told = [f"{min(max(answer.score, LOWEST), HIGHEST):.3f}" for answer in answers]
    else:
        told = [spell(GLUE[name], answer.label, model.labels) for answer in answers]
    return "\n".join(["index\tprediction", *(f"{i}\t{prediction}" for i, prediction in enumerate(told))]) + "\n"


def check_tests(data: Path, names: list[str], reading: Reading) -> None:
    """Raises UserError for what is wrong with a test file of these tasks: before the training, not after it."""
    for entry, (name, _) in LEADERBOARD.items():
        path = rows_to_answer(entry, data) if name in names else None
        if path is not None:
            read_glue(name, path, reading)


def write_submission(data: Path, runs: dict[str, Path], output: Path, reading: Reading) -> None:
    """A file of answers in `output` for each test file whose task has a run; ready to be zipped.

    What the leaderboard asks for and is not there is told.
    """
    missing = []
    for entry, (name, _) in LEADERBOARD.items():
        path = rows_to_answer(entry, data) if name in runs else None
        if path is None:
            missing.append(entry)
            continue
        told = answer_test(load(runs[name]), path, reading=reading)
        output.mkdir(parents=True, exist_ok=True)
        write_output(output / f"{entry}.tsv", told)
    if missing and output.is_dir():
        note(f"{output}: without {', '.join(missing)}, which the leaderboard wants too")
