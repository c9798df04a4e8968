"""The GLUE tasks: files, columns, order of labels, metrics. Wang et al. 2018, table 1. Standard library only."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class GlueTask:
    """A task of GLUE.

    text, pair, label  columns of its files
    labels             its classes in the order of Hugging Face and TFDS; None: a score
    main               the metrics whose mean chooses the best checkpoint
    in_file            spelling of the classes in files; None: their names
    header             columns of train and dev files without a header
    features           columns of the texts in TFDS, if other than in files
    also               further data sets of TFDS with its kind of rows
    skip_short_rows    whether rows with missing fields are skipped
    dev                dev files; scores on those after the first are named by the part of the name after dev_
    """

    folder: str
    text: str
    pair: str | None = None
    label: str = "label"
    labels: tuple[str, ...] | None
    metrics: tuple[str, ...] = ("accuracy",)
    main: tuple[str, ...] = ("accuracy",)
    in_file: tuple[str, ...] | None = None
    header: tuple[str, ...] | None = None
    features: tuple[str, ...] | None = None
    also: tuple[str, ...] = ()
    skip_short_rows: bool = False
    dev: tuple[str, ...] = ("dev.tsv",)

    @property
    def spelled(self) -> tuple[str, ...]:
        """The classes as files and the leaderboard spell them."""
        return self.in_file or self.labels or ()


ENTAILMENT = ("entailment", "not_entailment")
F1_ACCURACY = ("f1", "accuracy")
PEARSON_SPEARMAN = ("pearson", "spearman")
ZERO_ONE = ("0", "1")

GLUE = {
    "cola": GlueTask(
        folder="CoLA",
        text="sentence",
        labels=("unacceptable", "acceptable"),
        metrics=("matthews", "accuracy"),
        main=("matthews",),
        in_file=ZERO_ONE,
        header=("source", "label", "mark", "sentence"),
    ),
    "sst2": GlueTask(folder="SST-2", text="sentence", labels=("negative", "positive"), in_file=ZERO_ONE),
    "mrpc": GlueTask(
        folder="MRPC",
        text="#1 String",
        pair="#2 String",
        label="Quality",
        labels=("not_equivalent", "equivalent"),
        metrics=F1_ACCURACY,
        main=F1_ACCURACY,
        in_file=ZERO_ONE,
        features=("sentence1", "sentence2"),
    ),
    "qqp": GlueTask(
        folder="QQP",
        text="question1",
        pair="question2",
        label="is_duplicate",
        labels=("not_duplicate", "duplicate"),
        metrics=F1_ACCURACY,
        main=F1_ACCURACY,
        in_file=ZERO_ONE,
        skip_short_rows=True,  # three rows of the official train.tsv are broken
    ),
    "stsb": GlueTask(
        folder="STS-B",
        text="sentence1",
        pair="sentence2",
        label="score",
        labels=None,
        metrics=PEARSON_SPEARMAN,
        main=PEARSON_SPEARMAN,
    ),
    "mnli": GlueTask(
        folder="MNLI",
        text="sentence1",
        pair="sentence2",
        label="gold_label",
        labels=("entailment", "neutral", "contradiction"),
        features=("premise", "hypothesis"),
        also=("ax", "mnli_matched", "mnli_mismatched"),
        dev=("dev_matched.tsv", "dev_mismatched.tsv"),
    ),
    "qnli": GlueTask(folder="QNLI", text="question", pair="sentence", labels=ENTAILMENT),
    "rte": GlueTask(folder="RTE", text="sentence1", pair="sentence2", labels=ENTAILMENT),
    "wnli": GlueTask(
        folder="WNLI",
        text="sentence1",
        pair="sentence2",
        labels=("not_entailment", "entailment"),
        in_file=ZERO_ONE,
    ),
}
AX = "diagnostic.tsv"
AX_FOLDERS = ("AX", "diagnostic", "MNLI", ".")

# For gluebenchmark.com: the name of each file of answers, with its task and the file of its rows.
LEADERBOARD = {
    **{task.folder: (name, "test.tsv") for name, task in GLUE.items() if name != "mnli"},
    "MNLI-m": ("mnli", "test_matched.tsv"),
    "MNLI-mm": ("mnli", "test_mismatched.tsv"),
    "AX": ("mnli", AX),
}
