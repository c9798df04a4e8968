"""bert-jax predict: a file of texts to a file of labels."""

import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rich.progress import track

from bert_jax.config import check_ranges
from bert_jax.data.rows import Columns, Rows, read_rows, read_text
from bert_jax.errors import UserError
from bert_jax.inference.load import load
from bert_jax.verbs.command_line import parse

CHUNK_ROWS = 8192  # sorted by length together


@dataclasses.dataclass(frozen=True)
class PredictConfig:
    """Answer a file of rows: .txt with a text a line, or CSV, TSV, JSONL. One JSON line a row, in order.

    bert-jax predict --model runs/tickets --input new.csv --output labels.jsonl
    bert-jax predict --model downloads/squad --input asked.csv --text question --pair context --output answers.jsonl

    A model of classes gives a label with probabilities (or a score), one of tokens the entities with their places, one
    of spans the answer to a question from its context, one of multiple choice the best choice.
    """

    model: Path
    """Run folder of `bert-jax finetune` or one folder in its checkpoints/, a folder from elsewhere, or model.onnx."""
    input: Path
    output: Path
    text: str | None = None
    """Column of the text (or question), where not as in training."""
    pair: str | None = None
    """Column of the second text (or context), where not as in training."""
    choices: tuple[str, ...] = ()
    """For multiple choice: a column for each choice, or one with a list."""
    batch_size: int = 64
    encoding_errors: Literal["strict", "replace"] = "strict"
    """What to do with rows that are not UTF-8."""


def predict(config: PredictConfig) -> int:
    """Writes one line a row to the output, whole or not at all; returns how many."""
    if config.output.exists():
        raise UserError(f"{config.output} exists. Choose another --output, or remove it")
    check_ranges(config, batch_size=(1, None))
    model = load(config.model)
    columns = model.columns(config.text, config.pair, config.choices)
    rows = _read(config.input, columns, config.encoding_errors)
    temporary = config.output.with_name(f".{config.output.name}.writing")
    try:
        with temporary.open("w") as file:
            chunks = range(0, len(rows), CHUNK_ROWS)
            for start in track(chunks, "predicting", disable=not sys.stderr.isatty(), transient=True):
                chunk = rows.pick(range(start, min(start + CHUNK_ROWS, len(rows))))
                for answer in model.answer(chunk, batch_size=config.batch_size):
                    file.write(json.dumps(answer.as_dict(), ensure_ascii=False) + "\n")
        temporary.replace(config.output)
    except OSError as error:
        raise UserError(f"{config.output}: {error.strerror}. Make room, or choose another --output") from None
    finally:
        temporary.unlink(missing_ok=True)
    return len(rows)


def _read(path: Path, columns: Columns, encoding_errors: str) -> Rows:
    if path.suffix != ".txt":
        return read_rows(path, columns, encoding_errors=encoding_errors)
    if len(columns.texts) > 1 or columns.choices:
        raise UserError(f"{path}: a .txt file has one text a line, this model takes more. Give it CSV, TSV or JSONL")
    lines = read_texts(path, columns.text, encoding_errors)
    return Rows(lines, None, None, str(path), list(range(1, len(lines) + 1)))


def read_texts(path: Path, column: str, encoding_errors: str = "strict") -> list[str]:
    """The lines of a .txt file, or a column of CSV, TSV or JSONL."""
    if path.suffix != ".txt":
        return read_rows(path, Columns(column, None, None), encoding_errors=encoding_errors).texts
    text = read_text(path, encoding_errors=encoding_errors)
    if not text.strip():
        raise UserError(f"{path}: no text")
    lines = text.removesuffix("\n").split("\n")
    return [line.removesuffix("\r") for line in lines]


def main(arguments: Sequence[str]) -> int:
    config = parse(PredictConfig, arguments, prog="bert-jax predict")
    began = time.perf_counter()
    count = predict(config)
    seconds = time.perf_counter() - began
    print(f"{config.output}: {count} rows in {seconds:.1f} s, start-up included ({count / seconds:,.0f} rows/s)")
    return 0
