"""Settings of `bert-jax predict`; the text under each field is its --help."""

import dataclasses
from pathlib import Path
from typing import Literal

import tyro

from bert_jax.settings.file_flags import Delimiter, EncodingErrors, FileEncoding, TableDialect


@dataclasses.dataclass(frozen=True)
class PredictConfig:
    """Answer a text, or all rows of a file, in their order.

    bert-jax predict --model runs/tickets "The export has hung since noon."
    bert-jax predict --model runs/tickets --input new.csv --output labels.csv
    bert-jax predict --model runs/entities --input words.conll --output entities.jsonl
    bert-jax predict --model runs/squad --input squad/dev.json --output answers.json
    tail -n +1 texts.txt | bert-jax predict --model runs/tickets --input - --output - --format txt

    A model of classes gives a label with probabilities (or a score), one of tokens the entities with their places, one
    of spans the answer to a question from its context, one of multiple choice the best choice. Interrupted, the same
    command on a file of rows goes on where it was.
    """

    model: Path
    """Run folder of `bert-jax finetune` or one folder in its checkpoints/, a folder from elsewhere, or model.onnx."""
    input: Path | None = None
    """The rows: .csv, .tsv, .jsonl, .json (a list of objects), .parquet, .xlsx, .txt (a text a line), packed or not,
    tfds:NAME?split=SPLIT; - is standard input. For a span model also a SQuAD file (.json), for one of tokens also
    .conll."""
    output: Path | None = None
    """The suffix decides: .csv, .tsv, .parquet with the ids and texts beside the answers; .jsonl, .json; - is standard
    output, as .jsonl. For SQuAD's questions .json is the official {id: answer}, for the test file of a GLUE task .tsv
    the leaderboard's format."""
    columns: tuple[str, ...] = ()
    """Columns of the input that stand before the answers: their names, all or none. Default: ids and texts; in .jsonl
    none."""
    text: str | None = None
    """Column of the text (or question), where not as in training."""
    pair: str | None = None
    """Column of the second text (or context), where not as in training."""
    choices: tuple[str, ...] = ()
    """For multiple choice: a column for each choice, or one with a list."""
    n_best: int = 0
    """Of a span model: also this many of its likeliest answers to each question, 20 at most."""
    max_answer_length: int | None = None
    """Of a span model: the most tokens of an answer. Default: as in training; of a model from elsewhere as many as 250
    characters of the context take."""
    format: Literal["csv", "tsv", "jsonl", "json", "txt", "conll"] = "jsonl"
    """Of standard input."""
    batch_size: int = 64
    """Rows of 32 tokens in a batch; of longer texts fewer, of shorter ones more. A GPU takes 1024."""
    dialect: TableDialect = "auto"
    delimiter: Delimiter = None
    encoding: FileEncoding = None
    encoding_errors: EncodingErrors = "strict"
    escape_formulas: bool = False
    """In .csv and .tsv: put an apostrophe before cells that a spreadsheet would run as formulas (= + - @). Otherwise
    cells are as they are, and a note says that there are such."""
    texts: tyro.conf.Positional[tuple[str, ...]] = ()
    """In place of --input: a text, several, two that are a pair, or one and its choices. The answer is printed."""
