"""bert-jax evaluate: scores of a fine-tuned run on labelled rows."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from bert_jax.config import check_ranges
from bert_jax.data.encoded import encode_rows
from bert_jax.data.glue import GLUE, glue_folder, read_glue, settle
from bert_jax.data.rows import Columns, Labelled, Rows, find_files, read_rows, with_classes, with_scores
from bert_jax.errors import UserError
from bert_jax.inference.load import load
from bert_jax.inference.predictor import Predictor
from bert_jax.verbs.command_line import parse
from bert_jax.verbs.finetune import score_outputs


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """Score a fine-tuned run on labelled rows: for GLUE the task's dev file, for rows a file, or a folder's dev file.

    bert-jax evaluate --model runs/tickets --data tickets-june.csv --json scores.json
    """

    model: Path
    """Run folder of `bert-jax finetune`, or one folder in its checkpoints/."""
    data: Path
    """Labelled rows, with the columns that the run was trained on."""
    json: Path | None = None
    """Write the scores here too."""
    batch_size: int = 64
    encoding_errors: Literal["strict", "replace"] = "strict"
    """What to do with rows that are not UTF-8."""


def evaluate(config: EvaluateConfig) -> dict[str, float]:
    """Each metric of the run's task by name, and `rows`, how many were scored."""
    check_ranges(config, batch_size=(1, None))
    if config.json and config.json.is_dir():
        raise UserError(f"{config.json}: a folder, where --json names the file to write")
    predictor = load(config.model)
    if not isinstance(predictor, Predictor):
        raise UserError(
            f"{config.model}: so far, models of whole texts and pairs are scored. `bert-jax predict` runs it"
        )
    task = predictor.task
    rows = _read(config.data, task["name"], task["columns"], predictor.labels, config.encoding_errors)
    labelled = Labelled(
        rows, rows, None if predictor.labels is None else tuple(predictor.labels), task["metrics"], task["main"]
    )
    encoded = encode_rows(rows, predictor.tokenizer, predictor.max_length)
    outputs = predictor.outputs(encoded, config.batch_size)
    scores = score_outputs(outputs, encoded.labels, labelled)
    del scores["main"]
    return {**scores, "rows": len(rows), "rows_cut": encoded.truncated}


def _read(data: Path, name: str, columns: dict[str, Any] | None, labels: list[str] | None, errors: str) -> Rows:
    if name in GLUE:
        path = data if data.is_file() else glue_folder(name, data) / "dev.tsv"
        rows = read_glue(name, path)
        if rows.labels is None:
            raise UserError(f"{path}: a test file has no labels to score against. `bert-jax predict` labels it")
        return settle(rows, GLUE[name])
    train, dev = find_files(data)
    rows = read_rows(dev or train, Columns(**(columns or {})), encoding_errors=errors)
    return with_scores(rows) if labels is None else with_classes(rows, labels)


def main(arguments: Sequence[str]) -> int:
    config = parse(EvaluateConfig, arguments, prog="bert-jax evaluate")
    scores = evaluate(config)
    if config.json:
        temporary = config.json.with_name(f".{config.json.name}.writing")
        temporary.write_text(json.dumps(scores, indent=2) + "\n")
        temporary.replace(config.json)
    for name, value in scores.items():
        print(f"{name:12} {value:.4f}" if isinstance(value, float) else f"{name:12} {value}")
    return 0
