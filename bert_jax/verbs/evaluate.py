"""bert-jax evaluate: scores of a fine-tuned model, or of anyone's answers, on labelled data."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from bert_jax.config import check_ranges
from bert_jax.convert.pretrained import REGRESSION
from bert_jax.data.squad import read_predictions, read_squad
from bert_jax.errors import UserError
from bert_jax.finetuning.data import Asked
from bert_jax.finetuning.tasks import read_dev
from bert_jax.inference.load import open_model
from bert_jax.inference.model import require_tokenizer
from bert_jax.inference.reader import LENGTH
from bert_jax.tasks.squad_scores import squad_scores
from bert_jax.verbs.command_line import parse

COLUMN_FLAGS = {"sequence": {"text", "pair", "label"}, "choice": {"text", "label", "choices"}}  # others: fixed formats


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """Score a fine-tuned model on labelled data: a GLUE task's dev file, SQuAD, CoNLL columns, or your own rows.

    bert-jax evaluate --model runs/tickets --data tickets-june.csv --json scores.json
    bert-jax evaluate --predictions answers.json --data squad/dev-v1.1.json
    """

    data: Path
    """A file, or a folder with a dev file, as for the fine-tuning of the task, or tfds:NAME?split=SPLIT."""
    model: Path | None = None
    """Run folder of `bert-jax finetune` or one folder in its checkpoints/, a folder from elsewhere, or model.onnx."""
    predictions: Path | None = None
    """Instead of a model, anyone's answers to SQuAD questions: {"question id": "answer", ...}."""
    text: str | None = None
    """Column of the text, where not as in training."""
    pair: str | None = None
    """Column of the second text, where not as in training."""
    label: str | None = None
    """Column of the label, where not as in training."""
    choices: tuple[str, ...] = ()
    """For multiple choice, where not as in training: a column for each choice, or one with a list."""
    json: Path | None = None
    """Write the scores here too."""
    batch_size: int = 64
    encoding_errors: Literal["strict", "replace"] = "strict"
    """What to do with rows that are not UTF-8."""


def evaluate(config: EvaluateConfig) -> dict[str, float]:
    """Each metric of the model's task by name, and `rows`, how many were scored."""
    check_ranges(config, batch_size=(1, None))
    if config.json and config.json.is_dir():
        raise UserError(f"{config.json}: a folder, where --json names the file to write")
    if config.json and not config.json.absolute().parent.is_dir():
        raise UserError(f"{config.json}: its folder is not there. Make it first")
    if (config.model is None) == (config.predictions is None):
        raise UserError("give either --model, or --predictions with answers to score")
    if config.predictions is not None:
        return _score_predictions(config.predictions, config.data, config.encoding_errors)
    assert config.model is not None
    about, compute = open_model(config.model)
    known = {**(about.task.get("columns") or {}), **({"opening": None} if config.choices else {})}
    given = {name: value for name in ("text", "pair", "label", "choices") if (value := getattr(config, name))}
    for name in given.keys() - COLUMN_FLAGS.get(about.kind, set()):
        raise UserError(f"--{name} {given[name]}: {config.model} reads no such column. Leave it out")
    longest = LENGTH if about.kind == "span" else about.max_length
    asked = Asked(
        data=config.data,
        record={**about.task, "columns": {**known, **given}},
        labels=None if about.problem == REGRESSION else about.labels,
        problem=about.problem,
        tokenizer=require_tokenizer(about),
        length=about.task.get("max_length") or min(longest, about.max_length),
        encoding_errors=config.encoding_errors,
    )
    examples = read_dev(about.kind, asked)
    scores = examples.score(compute(examples.encoded, config.batch_size))
    del scores["main"]
    return {**scores, "rows": examples.count, "rows_cut": examples.encoded.truncated}


def _score_predictions(predictions: Path, data: Path, encoding_errors: str) -> dict[str, float]:
    """The official scores of SQuAD, and how many questions have no answer in the predictions."""
    questions = read_squad(data, encoding_errors=encoding_errors)
    answers = read_predictions(predictions)
    golds = {item.id: [text for text, _ in item.answers] for item in questions.items}
    missing = sum(name not in answers for name in golds)
    return {**squad_scores(answers, golds), "rows": len(golds), "rows_missing": missing}


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
