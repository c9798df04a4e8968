"""Settings of fine-tuning; the text under each field is its --help."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from bert_jax.config import MOST_ANSWER_TOKENS, SEED_RANGE, LongTexts, MeshConfig, check_ranges
from bert_jax.cpu import MOST_THREADS
from bert_jax.data.labelled.glue_tasks import TASKS
from bert_jax.errors import UserError
from bert_jax.settings.file_flags import Delimiter, Encoding, EncodingErrors, TableDialect

LONGEST = {"squad": 384}  # tokens of a row where nothing is said; 128 for other tasks
CURVE = (0.125, 0.25, 0.5, 1.0)  # shares of the training examples that a learning curve is drawn through
MAX_BATCH_SIZE = 1 << 16  # what is not filled is padding
OF_TASKS = {  # settings that say something of the user's own files, and the tasks that have such
    "several": ("rows",),
    "score": ("rows",),
    "scores": ("rows",),
    "pair": ("rows",),
    "choices": ("choice",),
    "text": ("rows", "choice"),
    "label": ("rows", "choice"),
    "group": ("rows", "choice"),
    "delimiter": ("rows", "choice", "swag"),
    "dialect": ("rows", "choice", "swag"),  # the others' files have formats of their own
    "max_answer_length": ("squad",),
}
WINDOWED = ("squad", "ner")
NOT_SINGLE_TEXTS = {"squad": "has windows", "ner": "has windows", "choice": "has pairs", "glue": "has pairs"}


@dataclasses.dataclass(frozen=True)
class SweepConfig:
    """Values to try. Each combination is a run with each seed; what is not given is as the setting of its name says."""

    learning_rates: tuple[float, ...] = ()
    batch_sizes: tuple[int, ...] = ()
    epochs: tuple[float, ...] = ()
    paper: bool = False
    """The grid of Devlin et al. 2018, A.3: rates 5e-5, 3e-5, 2e-5, batches of 16 and 32, 2, 3 and 4 epochs."""

    def __post_init__(self) -> None:
        for name in ("learning_rates", "batch_sizes", "epochs"):
            values = getattr(self, name)
            if values and self.paper:
                raise UserError(f"--sweep.paper and --sweep.{name.replace('_', '-')}: the paper's grid has its own")
            if len(set(values)) != len(values):
                raise UserError(f"sweep.{name} {values}: each value once")

    @property
    def grid(self) -> dict[str, tuple[float, ...]]:
        """The values to try of each setting, by its name."""
        if self.paper:
            return {"learning_rate": (5e-5, 3e-5, 2e-5), "batch_size": (16, 32), "epochs": (2.0, 3.0, 4.0)}
        given = {"learning_rate": self.learning_rates, "batch_size": self.batch_sizes, "epochs": self.epochs}
        return {name: values for name, values in given.items() if values}


@dataclasses.dataclass(frozen=True)
class FinetuneConfig:
    """Fine-tune a pre-trained encoder on a GLUE task, SQuAD, entities or your own rows. The same command resumes.

    Each run folder ends with a report: report.html to look at, report.md, and report.json with its numbers.

    bert-jax finetune --from runs/mini --task mrpc --data glue/ --output runs/mrpc --seeds 1 2 3
    bert-jax finetune --from runs/mini --task rows --data tickets.csv --text body --label priority --output runs/tickets
    bert-jax finetune --from runs/base --task squad --data squad/ --output runs/squad --epochs 2
    bert-jax finetune --from runs/base --task swag --data swag/ --output runs/swag --max-length 80
    bert-jax finetune --from runs/base --task glue --data tfds:glue --output runs/glue
    bert-jax finetune --from runs/base --task ner --data conll/ --output runs/entities
    bert-jax finetune --from runs/base --task rte --data glue/ --output runs/grid --sweep.paper --seeds 1 2 3
    """

    from_: Annotated[Path, tyro.conf.arg(name="from")]
    """Run folder or one folder in its checkpoints/, Hugging Face folder, or TensorFlow 1 checkpoint."""
    data: Path
    """The task's folder with train.* and dev.*, or one file: some of it is held out. Or tfds:NAME[@FOLDER] as prepared
    by TensorFlow Datasets in its folder or another: tfds:glue, tfds:squad/v2.0, tfds:imdb_reviews."""
    output: Path
    """Run folder to make, or to go on with. With several seeds, a sweep or a learning curve: a folder of runs."""
    lowercase: bool | None = None
    """--lowercase or --no-lowercase: whether texts are lower-cased for the WordPiece vocabulary of --from, in place of
    what its files say or it looks like."""
    task: str = "rows"
    """rows, squad (1.1 and 2.0), ner, choice, swag, or a GLUE task: cola, sst2, mrpc, qqp, stsb, mnli, qnli, rte, wnli;
    glue for all of them that are in the folder, with a table, and the leaderboard's answers to their test files."""
    text: str = "text"
    """For rows and choice: the column of the text."""
    pair: str | None = None
    """For rows: the column of the second text, if there is one."""
    label: str = "label"
    """For rows and choice: the column of the label; of a choice its number from 0."""
    choices: tuple[str, ...] = ()
    """For choice: a column for each choice, or one with a list (default: choices)."""
    several: bool = False
    """For rows: a row has any number of labels, a list in .jsonl, or parted by |."""
    score: bool = False
    """For rows: the label is a number to predict, not a class."""
    scores: tuple[str, ...] = ()
    """For rows, in place of --label: several numbers to predict, a column for each, or one column with lists."""
    class_weights: Literal["equal", "balanced"] = "equal"
    """balanced: a row counts in the loss by how rare its class is, so that rare classes are not passed over."""
    dev_share: float = 0.1
    """Without a dev file: share of the examples held out, of rows each class in its share."""
    group: str | None = None
    """For rows and choice: a column, of customers or documents. Rows of one group are held out together; with a dev
    file of its own, groups that are in both are told."""
    split_seed: int = 0
    """Decides which examples are held out. The same for all --seeds."""
    dialect: TableDialect = "auto"
    delimiter: Delimiter = None
    encoding: Encoding = None
    encoding_errors: EncodingErrors = "strict"
    epochs: float | None = None
    """Default: by the width of the encoder, from 3 of BERT-base and wider ones to 10 of bert-tiny; a note says it."""
    batch_size: int = 32
    learning_rate: float | None = None
    """At its peak, after the warm-up. Default: by the width of the encoder, from 5e-5 of BERT-base to 1e-3 of
    bert-tiny; a note says it."""
    warmup: float = 0.1
    """Share of the steps."""
    weight_decay: float = 0.01
    layer_decay: float = 1.0
    """Each layer learns at this share of the rate of the one above it: 0.9 holds small data together. 1: all alike."""
    freeze_layers: int = 0
    """So many of the lowest layers, and the embeddings, stay as they are."""
    fresh_layers: int = 0
    """So many of the topmost layers, and the pooler, start from random weights."""
    patience: int | None = None
    """Scorings of the dev rows without a better one after which training stops. Default: it goes to its end."""
    dropout: float | None = None
    """In place of the pre-trained model's own."""
    max_length: int | None = None
    """Tokens of a row: 128, for squad 384. Longer texts are read as --long-texts says; squad and ner have windows."""
    long_texts: LongTexts = "cut"
    """How single texts longer than a row are read: cut at the end; head-tail: the first quarter of the row from the
    text's beginning, the rest from its end; mean, max: all of it, in windows, of whose scores (max: probabilities) the
    mean or the largest is taken. A window is a row of training, the windows of a text count as much as one other text
    together, and an epoch has each text once, so a step more for each batch of windows."""
    overlap: int | None = None
    """Tokens that two windows share, of squad, ner, or --long-texts mean and max. Default: a quarter of the room, at
    most 128."""
    max_answer_length: int | None = None
    """For squad: the most tokens of an answer. Default: what 250 characters take in the vocabulary, or more where the
    training answers are longer."""
    seeds: tuple[int, ...] = (0,)
    """One run for each: fresh head, order of the rows, dropout."""
    sweep: SweepConfig = SweepConfig()
    learning_curve: bool = False
    """Train on an eighth, a quarter, half and all of the training examples, for as many steps: would more labels help?
    """
    train_share: float = 1.0
    """Of the training examples, so many are used, of each class its share, for as many steps as all would take."""
    from_scratch: bool = False
    """Start from random weights of the same architecture: the baseline that pre-training has to beat."""
    accumulate: int = 1
    """Micro-batches that each update is added up from."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What matrix products run in."""
    evaluate_every: int | None = None
    """Steps between two scorings of the dev rows. Each epoch where not said."""
    log_every: int = 10
    threads: int | None = None
    """On a CPU: for how many threads XLA splits its sums. Runs repeat bit for bit where this is the same, on however
    many cores. Default: what the run was begun with; of a new run the cores here."""
    mesh: MeshConfig = MeshConfig()

    def __post_init__(self) -> None:
        low, high = SEED_RANGE
        seeds = set(self.seeds)
        if not seeds or len(seeds) != len(self.seeds) or min(seeds) < low or max(seeds) > high:
            raise UserError(f"seeds {self.seeds}: give one or more, each once, between {low} and {high}")
        check_ranges(self, epochs=(1e-9, 1e6), learning_rate=(0.0, 10.0), batch_size=(1, MAX_BATCH_SIZE))
        check_ranges(
            self, **dict.fromkeys(("max_length", "max_answer_length", "evaluate_every", "log_every"), (1, None))
        )
        check_ranges(self, split_seed=SEED_RANGE, warmup=(0.0, 1.0), weight_decay=(0.0, 10.0))
        check_ranges(self, layer_decay=(0.01, 1.0), freeze_layers=(0, None), fresh_layers=(0, None), patience=(1, None))
        check_ranges(self, max_answer_length=(1, MOST_ANSWER_TOKENS))
        check_ranges(self, threads=(1, MOST_THREADS))
        for name, values in self.sweep.grid.items():
            for value in values:
                own: dict[str, Any] = {name: value, "sweep": SweepConfig()}
                dataclasses.replace(self, **own)  # raises for a value out of range
        if not 0 < self.train_share <= 1:
            raise UserError(f"train_share {self.train_share} is not above 0 and at most 1")
        if self.learning_curve and self.train_share != 1:
            raise UserError(f"--learning-curve takes shares of its own. Leave out --train-share {self.train_share}")
        if self.several + self.score + bool(self.scores) > 1:
            raise UserError("--several, --score, --scores: a row has labels, a number or several. Give one of them")
        for name in ("scores", "choices"):
            columns = getattr(self, name)
            if len(set(columns)) != len(columns):
                raise UserError(f"--{name} {' '.join(columns)}: give each column once")
        for name, tasks in OF_TASKS.items():
            value = getattr(self, name)
            if value != getattr(type(self), name) and self.task in set(TASKS) - set(tasks):
                shown = " ".join(value) if isinstance(value, tuple) else "" if value is True else value
                flag = f"--{name.replace('_', '-')} {shown}".strip()
                raise UserError(f"{flag}: for task {' and '.join(tasks)}, this is {self.task}. Leave it out")
        if self.overlap is not None and self.task not in WINDOWED and self.long_texts not in ("mean", "max"):
            raise UserError(f"--overlap {self.overlap}: there are windows with --long-texts mean or max. Leave it out")
        if self.class_weights == "balanced" and self.task == "glue":
            raise UserError("--class-weights balanced: stsb, one of the tasks, has no classes. Give a task at a time")
        if self.long_texts != "cut" and self.task in NOT_SINGLE_TEXTS:
            what = NOT_SINGLE_TEXTS[self.task]
            raise UserError(f"--long-texts {self.long_texts} is for single texts, {self.task} {what}. Leave it out")
        if self.long_texts != "cut" and self.pair is not None:
            raise UserError(
                f"--long-texts {self.long_texts} is for single texts, --pair {self.pair} makes pairs. Use cut"
            )
        if not 0 < self.dev_share < 1:
            raise UserError(f"dev_share {self.dev_share} is not between 0 and 1")

    @property
    def length(self) -> int:
        """`max_length`, worked out where it was not given."""
        return self.max_length or LONGEST.get(self.task, 128)
