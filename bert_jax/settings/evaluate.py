"""Settings of `bert-jax evaluate`; the string under each field is its --help."""

import dataclasses
from pathlib import Path
from typing import Literal

from bert_jax.config import LongTexts
from bert_jax.settings.file_flags import Delimiter, EncodingErrors, FileEncoding, TableDialect


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """Score a fine-tuned model on labelled data: a GLUE task's dev file, SQuAD, CoNLL columns, or your own rows.
    With --task, score the vectors of `bert-jax embed`: by similarity of pairs of texts (sts), or by search (retrieval).

    bert-jax evaluate --model runs/tickets --data tickets-june.csv --json scores.json
    bert-jax evaluate --predictions answers.json --data squad/dev-v1.1.json
    bert-jax evaluate --task sts --model downloads/minilm --data glue/STS-B --compare-poolings
    bert-jax evaluate --task retrieval --model downloads/minilm --data beir/scifact --json scores.json
    """

    data: Path
    """A file, or a folder with a dev file, as for fine-tuning on the task, or tfds:NAME?split=SPLIT."""
    model: Path | None = None
    """Run folder of `bert-jax finetune` or one folder in its checkpoints/, a foreign folder, or model.onnx. With
    --task, any model that `bert-jax embed` takes."""
    predictions: Path | None = None
    """Instead of a model, a file of answers to SQuAD questions: {"question id": "answer", ...}."""
    task: Literal["sts", "retrieval"] | None = None
    """Score the vectors of an encoder instead. sts: Pearson and Spearman correlation of cosines with given scores, on
    STS-B or on rows of two texts and a number (--text sentence1 --pair sentence2 --label score). retrieval: nDCG@10,
    recall, MRR@10 and MAP, on a folder with corpus.jsonl, queries.jsonl and qrels/test.tsv (BEIR's layout; another file
    of qrels/ is chosen by its path), or on rows of a query and its passage (--text query --pair passage). retrieval
    needs pip install 'bert_jax[retrieval]'."""
    compare_poolings: bool = False
    """With --task: also show all poolings side by side, with vectors normalised (cosines) and not (dot products)."""
    prompt: str | None = None
    """With --task: text to put before every text, for retrieval before every query. Default: that of the model, for
    retrieval the one named query, if there is one."""
    passage_prompt: str | None = None
    """For retrieval: text to put before every passage. Default: the model's prompt named document, passage or corpus,
    or else its default prompt."""
    score_range: tuple[float, ...] = ()
    """For sts: the lowest and the highest score; one outside is an error. Default: 0 5 for STS-B, otherwise any."""
    text: str | None = None
    """Column of the text. Default: as in training."""
    pair: str | None = None
    """Column of the second text. Default: as in training."""
    label: str | None = None
    """Column of the label. Default: as in training."""
    choices: tuple[str, ...] = ()
    """For multiple choice: a column for each choice, or one column with lists. Default: as in training."""
    long_texts: tuple[LongTexts, ...] = ()
    """For models of single texts: how to read texts longer than a row; see finetune --help. Given several ways, the
    scores are those of the first, and a table shows all. Default: as in training."""
    json: Path | None = None
    """Also write the scores to this file, with their 95 % intervals under "intervals". `-` is standard output, which
    then has nothing else."""
    max_answer_length: int | None = None
    """For span models: the most tokens of an answer. Default: as in training."""
    report: Path | None = None
    """Folder for report.md and report.html: scores, classes, calibration and the worst mistakes in full text."""
    batch_size: int = 64
    """Rows of 32 tokens in a batch; fewer longer rows, more shorter ones. For a GPU: 1024."""
    dialect: TableDialect = "auto"
    delimiter: Delimiter = None
    encoding: FileEncoding = None
    encoding_errors: EncodingErrors = "strict"
