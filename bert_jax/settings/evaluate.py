"""Settings of `bert-jax evaluate`; the text under each field is its --help."""

import dataclasses
from pathlib import Path

from bert_jax.config import LongTexts
from bert_jax.settings.file_flags import Delimiter, Encoding, EncodingErrors, TableDialect


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
    long_texts: tuple[LongTexts, ...] = ()
    """For models of single texts: how those longer than a row are read, where not as in training; see the help of
    finetune. Several: the scores are those of the first, and a table has all."""
    json: Path | None = None
    """Write the scores here too, with the 95 % interval of each under "intervals". `-` is standard output, which then
    has nothing else."""
    max_answer_length: int | None = None
    """For models of spans: the most tokens of an answer, where not as in training."""
    report: Path | None = None
    """Folder for report.md and report.html: scores, classes, confidence and the worst mistakes in full text."""
    batch_size: int = 64
    """Rows of 32 tokens in a batch; of longer texts fewer, of shorter ones more. A GPU takes 1024."""
    dialect: TableDialect = "auto"
    delimiter: Delimiter = None
    encoding: Encoding = None
    encoding_errors: EncodingErrors = "strict"
