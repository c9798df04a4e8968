"""Write the report of a run from the outputs of its best checkpoint for the dev examples."""

import json
from pathlib import Path
from typing import Any

from bert_jax.data.text_output import write_output
from bert_jax.files import read_json_if_there
from bert_jax.finetuning.dev_scoring import DevOutputs
from bert_jax.finetuning.drift import measure_drift
from bert_jax.finetuning.recipe import usual_recipe
from bert_jax.finetuning.report.run_report import (
    MARKDOWN,
    NUMBERS,
    PAGE,
    describe_run,
    findings,
    numbers_of,
    write_document,
)
from bert_jax.finetuning.reviews.review import Baseline
from bert_jax.finetuning.task_data import TaskData
from bert_jax.finetuning.verdict import Finished, verdict
from bert_jax.pretrained import Pretrained, encoder_params
from bert_jax.train.metrics import read_metrics
from bert_jax.train.run import RunFolder


def write_run_report(
    run: RunFolder, data: TaskData, pretrained: Pretrained, outputs: DevOutputs, words: Baseline | None
) -> dict[str, Any]:
    """Write report.md, report.html and report.json of a run that has a result, and return the content of report.json.

    outputs  of the best checkpoint
    words    the scores of a bag of words trained on the same examples
    The same run writes the same bytes, so that an interrupted report can be repeated.
    """
    dev = findings(data.dev.review(outputs.dev), words)
    also = {name: findings(examples.review(outputs.also[name])) for name, examples in data.also.items()}
    if run.settings_table().get("from_scratch"):
        start, drift = f"random weights, in the shape of {pretrained.where}", []
    else:
        start = pretrained.where
        params = run.params(run.dev_result()[0])
        drift = measure_drift(pretrained.model, encoder_params(pretrained), params["encoder"], data.dev.encoded)
    write_document(describe_run(run, data, dev, also, drift, start), run.path)
    numbers = numbers_of(dev, drift)
    write_json(run.path / NUMBERS, numbers)
    return numbers


def read_numbers(run: RunFolder) -> dict[str, Any]:
    """Return the content of a run's report.json; empty if there is none."""
    return read_json_if_there(run.path / NUMBERS)


def verdict_of(run: RunFolder) -> list[str]:
    """Return lines that compare a finished run with its baselines, with advice if it is not above them."""
    result = run.result() or {}
    main = run.dev_result()[1]["main"], float(result.get("baseline", 0.0))
    finished = Finished(read_numbers(run), main, run.settings_table(), read_metrics(run.path))
    return verdict(finished, usual_recipe(run.model()))


def is_reported(run: RunFolder) -> bool:
    """Return whether all files of the report exist."""
    return all((run.path / name).is_file() for name in (MARKDOWN, PAGE, NUMBERS))


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, whole or not at all."""
    write_output(path, json.dumps(value, indent=2) + "\n")
