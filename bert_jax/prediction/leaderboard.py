"""Predictions for GLUE's test files, in the format of gluebenchmark.com."""

from pathlib import Path
from typing import Any

from bert_jax.data.labelled.glue import label_in_files, leaderboard_file, read_glue
from bert_jax.data.labelled.glue_tasks import GLUE, LEADERBOARD
from bert_jax.data.labelled.row_files import DEFAULT_OPTIONS, FileOptions
from bert_jax.data.text_output import write_output
from bert_jax.inference.loading import load
from bert_jax.terminal import note

SUBMISSION = "submission"
LOWEST, HIGHEST = 0.0, 5.0  # range of STS-B's scores


def predict_test_file(model: Any, path: Path, *, batch_size: int = 64, reading: FileOptions = DEFAULT_OPTIONS) -> str:
    """Return the content of a submission file: a header, then the index and prediction of each row.

    Classes are spelled as in the task's files; scores are clipped to 0 to 5.
    """
    name = model.task.name
    rows = read_glue(name, path, reading)
    answers = model.answer(rows, batch_size=batch_size)
    if model.labels is None:
        predictions = [f"{min(max(answer.score, LOWEST), HIGHEST):.3f}" for answer in answers]
    else:
        predictions = [label_in_files(GLUE[name], answer.label, model.labels) for answer in answers]
    return "\n".join(["index\tprediction", *(f"{i}\t{text}" for i, text in enumerate(predictions))]) + "\n"


def check_test_files(data: Path, names: list[str], reading: FileOptions) -> None:
    """Raise UserError if a test file of these tasks cannot be read. Call this before the training, not after it."""
    for entry, (name, _) in LEADERBOARD.items():
        path = leaderboard_file(entry, data) if name in names else None
        if path is not None:
            read_glue(name, path, reading)


def write_submission(data: Path, runs: dict[str, Path], output: Path, reading: FileOptions) -> None:
    """Write the predictions for each test file whose task has a run to `output`, ready to be zipped and submitted.

    A note names the files that the leaderboard requires and that are missing.
    """
    missing = []
    for entry, (name, _) in LEADERBOARD.items():
        path = leaderboard_file(entry, data) if name in runs else None
        if path is None:
            missing.append(entry)
            continue
        text = predict_test_file(load(runs[name]), path, reading=reading)
        output.mkdir(parents=True, exist_ok=True)
        write_output(output / f"{entry}.tsv", text)
    if missing and output.is_dir():
        note(f"{output} lacks {', '.join(missing)}, which the leaderboard requires")
