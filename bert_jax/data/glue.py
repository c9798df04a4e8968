"""The GLUE tasks as published: files, columns, label order, metrics. Wang et al. 2018, table 1."""

import dataclasses
import difflib
from pathlib import Path

from bert_jax.data.rows import Columns, Labelled, Rows, read_labelled, with_classes, with_scores
from bert_jax.data.tables import read_text, tsv_fields
from bert_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class GlueTask:
    """One task, its columns by name.

    labels   the classes in the order of Hugging Face and TFDS; None: a score
    in_file  how the files spell them, where not by name
    header   the columns of train and dev, where the files do not say
    dev      the dev files; scores on those after the first are told under the name that stands behind dev_
    """

    folder: str
    text: str
    pair: str | None
    label: str
    labels: tuple[str, ...] | None
    metrics: tuple[str, ...] = ("accuracy",)
    main: tuple[str, ...] = ("accuracy",)
    in_file: tuple[str, ...] | None = None
    header: tuple[str, ...] | None = None
    skip_short_rows: bool = False
    dev: tuple[str, ...] = ("dev.tsv",)

    @property
    def spelled(self) -> tuple[str, ...]:
        """The classes as the files, and the leaderboard, spell them."""
        return self.in_file or self.labels or ()


ENTAILMENT = ("entailment", "not_entailment")
F1_ACCURACY = ("f1", "accuracy")
CORRELATIONS = ("pearson", "spearman")
ZERO_ONE = ("0", "1")

GLUE = {
    "cola": GlueTask(
        "CoLA",
        "sentence",
        None,
        "label",
        ("unacceptable", "acceptable"),
        ("matthews", "accuracy"),
        ("matthews",),
        in_file=ZERO_ONE,
        header=("source", "label", "mark", "sentence"),
    ),
    "sst2": GlueTask("SST-2", "sentence", None, "label", ("negative", "positive"), in_file=ZERO_ONE),
    "mrpc": GlueTask(
        "MRPC",
        "#1 String",
        "#2 String",
        "Quality",
        ("not_equivalent", "equivalent"),
        F1_ACCURACY,
        F1_ACCURACY,
        in_file=ZERO_ONE,
    ),
    "qqp": GlueTask(
        "QQP",
        "question1",
        "question2",
        "is_duplicate",
        ("not_duplicate", "duplicate"),
        F1_ACCURACY,
        F1_ACCURACY,
        in_file=ZERO_ONE,
        skip_short_rows=True,  # three rows of the official train.tsv are broken
    ),
    "stsb": GlueTask("STS-B", "sentence1", "sentence2", "score", None, CORRELATIONS, CORRELATIONS),
    "mnli": GlueTask(
        "MNLI",
        "sentence1",
        "sentence2",
        "gold_label",
        ("entailment", "neutral", "contradiction"),
        dev=("dev_matched.tsv", "dev_mismatched.tsv"),
    ),
    "qnli": GlueTask("QNLI", "question", "sentence", "label", ENTAILMENT),
    "rte": GlueTask("RTE", "sentence1", "sentence2", "label", ENTAILMENT),
    "wnli": GlueTask("WNLI", "sentence1", "sentence2", "label", ("not_entailment", "entailment"), in_file=ZERO_ONE),
}
TASKS = ("rows", *GLUE)


def read_task(
    name: str,
    data: Path,
    *,
    columns: Columns | None = None,
    score: bool = False,
    dev_share: float = 0.1,
    seed: int = 0,
    encoding_errors: str = "strict",
) -> Labelled:
    """Training and dev rows of a GLUE task, or of the user's own "rows". Columns, score, dev_share and seed serve
    "rows" alone."""
    if name == "rows":
        return read_labelled(
            data,
            columns or Columns(),
            score=score,
            dev_share=dev_share,
            seed=seed,
            encoding_errors=encoding_errors,
        )
    task = _find_task(name)
    folder = glue_folder(name, data)
    notes: list[str] = []

    def read(file: str) -> Rows:
        return settle(read_glue(name, folder / file, notes=notes, encoding_errors=encoding_errors), task)

    train, dev, *others = (read(file) for file in ("train.tsv", *task.dev))
    also = {_set_name(file): rows for file, rows in zip(task.dev[1:], others, strict=True)}
    return Labelled(train, dev, task.labels, task.metrics, task.main, notes, also)


def _set_name(file: str) -> str:
    """mismatched, of dev_mismatched.tsv."""
    return file.removesuffix(".tsv").partition("_")[2]


def glue_folder(name: str, data: Path) -> Path:
    """The folder of a task, given itself or the folder that holds them all."""
    task = _find_task(name)
    if not data.exists():
        raise UserError(f"{data}: no such folder")
    for folder in (data / task.folder, data / name, data):
        if (folder / task.dev[0]).is_file() or (folder / "train.tsv").is_file():
            return folder
    raise UserError(f"{data}: no {task.folder}/train.tsv and no train.tsv in this folder")


def read_glue(name: str, path: Path, *, notes: list[str] | None = None, encoding_errors: str = "strict") -> Rows:
    """The rows of an official file; labels as spelled there, none in a test file. No quoting."""
    task = _find_task(name)
    if not path.is_file() and path.parent.is_dir():
        beside = ", ".join(sorted(file.name for file in path.parent.glob("*.tsv"))) or "no .tsv file"
        raise UserError(f"{path}: no such file; {path.parent} holds {beside}")
    fields = tsv_fields(iter(read_text(path, encoding_errors=encoding_errors).split("\n")))
    is_test = path.stem.startswith(("test", "diagnostic"))  # these have a header in every task
    header = list(task.header) if task.header and not is_test else next(fields, (0, [""]))[1]
    for column in (task.text, task.pair, None if is_test else task.label):
        if column is not None and column not in header:
            raise UserError(
                f"{path}: no column {column!r}; it has {', '.join(map(repr, header))}. Is it {task.folder}?"
            )
    rows = Rows([], None if task.pair is None else [], None if is_test else [], str(path), [])
    broken = 0
    for line, values in fields:
        if len(values) != len(header):
            if task.skip_short_rows:
                broken += 1
                continue
            raise UserError(
                f"{path} line {line}: {len(values)} fields, {len(header)} are expected. Is it {task.folder}?"
            )
        record = dict(zip(header, values, strict=True))
        rows.lines.append(line)
        rows.texts.append(record[task.text])
        if rows.pairs is not None and task.pair is not None:
            rows.pairs.append(record[task.pair])
        if rows.labels is not None:
            rows.labels.append(record[task.label])
    if not len(rows):
        raise UserError(f"{path}: no rows")
    if broken and notes is not None:
        notes.append(f"{path}: {broken} broken rows left out")
    return rows


def settle(rows: Rows, task: GlueTask) -> Rows:
    """The rows with class ids, or numbers, for labels."""
    return with_scores(rows) if task.labels is None else with_classes(rows, task.spelled)


def _find_task(name: str) -> GlueTask:
    if name not in GLUE:
        close = difflib.get_close_matches(name.lower().replace("-", ""), TASKS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known tasks: {', '.join(TASKS)}"
        raise UserError(f"unknown task {name!r}; {hint}")
    return GLUE[name]
