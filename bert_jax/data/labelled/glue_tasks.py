"""The GLUE tasks by name: files, columns, label order, metrics. Wang et al. 2018, table 1. Standard library only."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class GlueTask:
    """One task, its columns by name.

    labels   the classes in the order of Hugging Face and TFDS; None: a score
    in_file  how the files spell them, where not by name
    header   the columns of train and dev, where the files do not say
    features the columns of the texts in TFDS, where it names them otherwise
    also     further data sets of TFDS that have its kind of rows
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
    features: tuple[str, ...] | None = None
    also: tuple[str, ...] = ()
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
        features=("sentence1", "sentence2"),
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
        features=("premise", "hypothesis"),
        also=("ax", "mnli_matched", "mnli_mismatched"),
        dev=("dev_matched.tsv", "dev_mismatched.tsv"),
    ),
    "qnli": GlueTask("QNLI", "question", "sentence", "label", ENTAILMENT),
    "rte": GlueTask("RTE", "sentence1", "sentence2", "label", ENTAILMENT),
    "wnli": GlueTask("WNLI", "sentence1", "sentence2", "label", ("not_entailment", "entailment"), in_file=ZERO_ONE),
}
TASKS = ("rows", "squad", "ner", "choice", "swag", "glue", *GLUE)  # to tell which is meant
AX = "diagnostic.tsv"
AX_FOLDERS = ("AX", "diagnostic", "MNLI", ".")

# What gluebenchmark.com takes: the name of each file of answers, the task, and the file of its rows.
LEADERBOARD = {
    **{task.folder: (name, "test.tsv") for name, task in GLUE.items() if name != "mnli"},
    "MNLI-m": ("mnli", "test_matched.tsv"),
    "MNLI-mm": ("mnli", "test_mismatched.tsv"),
    "AX": ("mnli", AX),
}
