"""Settings of `bert-jax predict`; the text under each field is its --help."""

import dataclasses
from pathlib import Path
from typing import Literal

import tyro

from bert_jax.settings.file_flags import Delimiter, EncodingErrors, FileEncoding, TableDialect


@dataclasses.dataclass(frozen=True)
class PredictConfig:
    """Predict labels, entities or answers for a text, or for all rows of a file, in order.

    bert-jax predict --model runs/tickets "The export has hung since noon."
    bert-jax predict --model runs/tickets --input new.csv --output labels.csv
    bert-jax predict --model runs/entities --input words.conll --output entities.jsonl
    bert-jax predict --model runs/squad --input squad/dev.json --output answers.json
    cat texts.txt | bert-jax predict --model runs/tickets --input - --output - --format txt

    A sequence model gives a label with probabilities (or a score), a token model entities with their positions, a span
    model the answer to a question from its context, a multiple-choice model the best choice. If it is interrupted on a
    file of rows, run the same command again to resume.
    """

    model: Path
    """Run folder of `bert-jax finetune` or one folder in its checkpoints/, Hugging Face folder, or model.onnx."""
    input: Path | None = None
    """File of rows: .csv, .tsv, .jsonl, .json (a list of objects), .parquet, .xlsx or .txt (one text per line),
    compressed or not; tfds:NAME?split=SPLIT; or - for standard input. A span model also reads SQuAD files (.json), a
    token model also .conll files."""
    output: Path | None = None
    """File to write. The suffix decides the format: .csv, .tsv and .parquet have ids and texts beside the predictions;
    .jsonl and .json; - is standard output, as .jsonl. For SQuAD questions, .json is the official {id: answer}. For the
    test file of a GLUE task, .tsv is the format of the leaderboard."""
    columns: tuple[str, ...] = ()
    """Columns of the input to write before the predictions: names, all, or none. Default: ids and texts; for .jsonl
    none."""
    text: str | None = None
    """Column of the text (or question). Default: as in training."""
    pair: str | None = None
    """Column of the second text (or context). Default: as in training."""
    choices: tuple[str, ...] = ()
    """Multiple choice: one column per choice, or one column with a list."""
    n_best: int = 0
    """Span model: number of most likely answers to add for each question, at most 20."""
    max_answer_length: int | None = None
    """Span model: maximum tokens of an answer. Default: as in training; for a Hugging Face model, as many as 250
    characters of the context have."""
    format: Literal["csv", "tsv", "jsonl", "json", "txt", "conll"] = "jsonl"
    """Format of standard input."""
    batch_size: int = 64
    """Rows in a batch if they have 32 tokens; longer texts make smaller batches, shorter ones larger. Try 1024 on a
    GPU."""
    dialect: TableDialect = "auto"
    delimiter: Delimiter = None
    encoding: FileEncoding = None
    encoding_errors: EncodingErrors = "strict"
    escape_formulas: bool = False
    """.csv and .tsv: put an apostrophe before cells that a spreadsheet would run as formulas (= + - @). By default such
    cells are unchanged, and a note gives their number."""
    texts: tyro.conf.Positional[tuple[str, ...]] = ()
    """In place of --input: one or more texts, the two texts of a pair, or a text and its choices. The prediction is
    printed."""
