"""Settings of fine-tuning; the string under each field is its --help."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from bert_jax.config import MOST_ANSWER_TOKENS, SEED_RANGE, LongTexts, MeshConfig, Schedule, check_ranges
from bert_jax.cpu import MAX_THREADS
from bert_jax.data.labelled.glue_tasks import GLUE
from bert_jax.errors import UserError
from bert_jax.registry import TASKS, own_settings, tasks_with
from bert_jax.settings.file_flags import Delimiter, EncodingErrors, FileEncoding, TableDialect

CURVE = (0.125, 0.25, 0.5, 1.0)  # shares of the training examples for a learning curve
MAX_BATCH_SIZE = 1 << 16
TASK_HELP = (
    f"{'; '.join(f'{name}: {task.about}' for name, task in TASKS.items() if name not in GLUE)}; or one GLUE task: "
    f"{', '.join(GLUE)}."
)


@dataclasses.dataclass(frozen=True)
class SweepConfig:
    """Values to try. Each combination is run with each seed; a setting without values keeps its single value."""

    learning_rates: tuple[float, ...] = ()
    batch_sizes: tuple[int, ...] = ()
    epochs: tuple[float, ...] = ()
    paper: bool = False
    """The grid of Devlin et al. 2018, A.3: rates 5e-5, 3e-5, 2e-5, batch sizes 16 and 32, 2, 3 and 4 epochs."""

    def __post_init__(self) -> None:
        for name in ("learning_rates", "batch_sizes", "epochs"):
            values = getattr(self, name)
            if values and self.paper:
                raise UserError(f"--sweep.paper and --sweep.{name.replace('_', '-')}: give only one of them")
            if len(set(values)) != len(values):
                raise UserError(f"sweep.{name} {values}: each value once")

    @property
    def grid(self) -> dict[str, tuple[float, ...]]:
        """The values to try, by the name of the setting."""
        if self.paper:
            return {"learning_rate": (5e-5, 3e-5, 2e-5), "batch_size": (16, 32), "epochs": (2.0, 3.0, 4.0)}
        grid = {"learning_rate": self.learning_rates, "batch_size": self.batch_sizes, "epochs": self.epochs}
        return {name: values for name, values in grid.items() if values}


@dataclasses.dataclass(frozen=True)
class FinetuneConfig:
    """Fine-tune a pre-trained encoder on a GLUE task, SQuAD, entities or your own rows. The same command resumes.

    Each finished run folder has a report: report.html, report.md, and report.json with the numbers.

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
    """The folder of the task with train.* and dev.*, or one file, part of which is held out. Or tfds:NAME[@FOLDER], as
    prepared by TensorFlow Datasets in its default folder or another: tfds:glue, tfds:squad/v2.0, tfds:imdb_reviews."""
    output: Path
    """Run folder to create or to resume. With several seeds, a sweep or a learning curve: a folder of runs."""
    lowercase: bool | None = None
    """--lowercase or --no-lowercase: whether texts are lower-cased for the WordPiece vocabulary of --from. Default: as
    its files say, or as the vocabulary suggests."""
    task: Annotated[str, tyro.conf.arg(help=TASK_HELP)] = "rows"
    text: str = "text"
    """For rows and choice: the column of the text."""
    pair: str | None = None
    """For rows: the column of the second text, if any."""
    label: str = "label"
    """For rows and choice: the column of the label; for choice, the number of the right choice from 0."""
    choices: tuple[str, ...] = ()
    """For choice: a column for each choice, or one column with lists (default: choices)."""
    several: bool = False
    """For rows: a row has any number of labels, as a list in .jsonl, or separated by |."""
    score: bool = False
    """For rows: the label is a number to predict, not a class."""
    scores: tuple[str, ...] = ()
    """For rows, instead of --label: several numbers to predict, a column for each, or one column with lists."""
    class_weights: Literal["equal", "balanced"] = "equal"
    """balanced: rows of rare classes weigh more in the loss, so that all classes weigh the same in total."""
    dev_share: float = 0.1
    """Without a dev file: share of the examples to hold out; for rows, of each class."""
    group: str | None = None
    """For rows and choice: a column such as the customer or document. Rows of one group are held out together; with a
    dev file, a note counts the groups that are in both files."""
    split_seed: int = 0
    """Seed of the choice of held-out examples, the same for all --seeds."""
    dialect: TableDialect = "auto"
    delimiter: Delimiter = None
    encoding: FileEncoding = None
    encoding_errors: EncodingErrors = "strict"
    epochs: float | None = None
    """Default: by the width of the encoder, from 3 for BERT-base and wider to 10 for bert-tiny; a note prints it."""
    batch_size: int = 32
    learning_rate: float | None = None
    """Peak learning rate, after the warm-up. Default: by the width of the encoder, from 5e-5 for BERT-base to 1e-3 for
    bert-tiny; a note prints it."""
    warmup: float = 0.1
    """Share of the steps over which the learning rate rises from 0 to its peak."""
    schedule: Schedule = "linear"
    """Learning rate after the warm-up: falls to 0 in a line or a half cosine, or stays constant. wsd
    (warm-up-stable-decay) and one-minus-sqrt stay constant and fall to 0 over the last steps."""
    cooldown: float = 0.1
    """For wsd and one-minus-sqrt: share of the steps over which the learning rate falls."""
    weight_decay: float = 0.01
    layer_decay: float = 1.0
    """Factor of the learning rate from each layer to the one below. 0.9 helps on small data; 1: the same for all."""
    freeze_layers: int = 0
    """Number of lowest layers that are not trained; the embeddings then are not either."""
    fresh_layers: int = 0
    """Number of top layers that start from random weights; the pooler then does, too."""
    patience: int | None = None
    """Stop training after this many evaluations without a better dev score. Default: train to the end."""
    dropout: float | None = None
    """Dropout rate. Default: that of the pre-trained model."""
    attention_dropout: float | None = None
    """Dropout rate of attention weights. Default: as --dropout, or else that of the pre-trained model."""
    max_length: int | None = None
    """Tokens of a row. Default: 128, for squad 384. See --long-texts for longer texts; squad and ner use windows."""
    long_texts: LongTexts = "cut"
    """How to read single texts longer than a row. cut: their beginning; head-tail: a quarter of the row from their
    beginning, the rest from their end; mean, max: all of it in windows, with the mean of the window scores or the
    largest window probability. In training each window is a row; the windows of a text together weigh as much as one
    text, and an epoch has all windows, so it has more steps."""
    overlap: int | None = None
    """Tokens that two neighbouring windows share, for squad, ner, and --long-texts mean and max. Default: a quarter of
    the room for text, at most 128."""
    max_answer_length: int | None = None
    """For squad: the most tokens of an answer. Default: as many as 250 characters take, or more if the training answers
    are longer."""
    seeds: tuple[int, ...] = (0,)
    """One run for each seed, which decides the initial head, the order of the rows and dropout."""
    sweep: SweepConfig = SweepConfig()
    learning_curve: bool = False
    """Train on an eighth, a quarter, half and all of the training examples, each for as many steps, to see whether more
    labels would help."""
    train_share: float = 1.0
    """Share of the training examples to use, of each class, for as many steps as with all examples."""
    from_scratch: bool = False
    """Start from random weights of the same architecture, as a baseline for pre-training."""
    accumulate: int = 1
    """Number of micro-batches whose gradients are accumulated for each update."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Number type of matrix products."""
    precision: Literal["highest", "default"] = "highest"
    """Precision of matrix products in float32. highest: float32 on every device; default: as JAX chooses, with factors
    rounded to TF32 on GPUs and to bfloat16 on TPUs, which is faster. No effect on CPUs and with --dtype bfloat16."""
    deterministic: bool = False
    """On GPUs: leave out operations that add in a varying order, and choose kernels without measuring them, so that a
    resumed run repeats bit for bit. Slower. On a CPU, runs with the same --threads do so anyway."""
    attention: Literal["auto", "plain", "cudnn", "pallas"] = "auto"
    """How attention is computed. plain: by matrix products, anywhere; cudnn: by NVIDIA's cuDNN, without attention
    dropout, packed rows and local layers; pallas: by a kernel of this project for GPUs or TPUs. auto: in bfloat16, on a
    GPU the first of cudnn and pallas that can, on a TPU pallas for rows of 128 tokens or more; otherwise plain."""
    residual_norm: Literal["auto", "plain", "pallas"] = "auto"
    """How dropout, residual connection and norm of a block are computed. plain: by XLA; pallas: in one pass, by a
    kernel of this project for GPUs, in blocks with the norm last and where a device has a multiple of 64 tokens. auto:
    pallas on a GPU in bfloat16, otherwise plain."""
    evaluate_every: int | None = None
    """Steps between two evaluations on the dev rows. Default: an epoch."""
    log_every: int = 10
    wandb: str | None = None
    """Project at Weights & Biases that gets the numbers of the log, too. WANDB_ENTITY, WANDB_MODE=offline and wandb's
    other variables keep their meaning. Needs pip install 'bert_jax[wandb]'."""
    threads: int | None = None
    """On a CPU: number of threads that XLA splits its sums for. Runs with the same number are equal bit for bit, on any
    number of cores. Default: the number that the run was started with; for a new run, the number of cores."""
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
        check_ranges(self, split_seed=SEED_RANGE, warmup=(0.0, 1.0), cooldown=(0.0, 1.0), weight_decay=(0.0, 10.0))
        check_ranges(self, layer_decay=(0.01, 1.0), freeze_layers=(0, None), fresh_layers=(0, None), patience=(1, None))
        check_ranges(self, max_answer_length=(1, MOST_ANSWER_TOKENS))
        check_ranges(self, threads=(1, MAX_THREADS))
        for name, values in self.sweep.grid.items():
            for value in values:
                changes: dict[str, Any] = {name: value, "sweep": SweepConfig()}
                dataclasses.replace(self, **changes)  # raises for a value out of range
        if not 0 < self.train_share <= 1:
            raise UserError(f"train_share {self.train_share} is not above 0 and at most 1")
        if self.learning_curve and self.train_share != 1:
            raise UserError(f"--learning-curve has its own shares. Leave out --train-share {self.train_share}")
        if self.several + self.score + bool(self.scores) > 1:
            raise UserError("--several, --score, --scores: give only one of them")
        for name in ("scores", "choices"):
            columns = getattr(self, name)
            if len(set(columns)) != len(columns):
                raise UserError(f"--{name} {' '.join(columns)}: give each column once")
        task = TASKS.get(self.task)  # an unknown name is refused where the data are read
        for name in own_settings():
            value = getattr(self, name)
            if value != getattr(type(self), name) and task is not None and name not in task.own_settings:
                shown = " ".join(value) if isinstance(value, tuple) else "" if value is True else value
                flag = f"--{name.replace('_', '-')} {shown}".strip()
                raise UserError(f"{flag}: for task {' and '.join(tasks_with(name))}, not {self.task}. Leave it out")
        has_windows = self.long_texts in ("mean", "max") or (task is not None and task.inputs == "windows")
        if self.overlap is not None and not has_windows:
            raise UserError(f"--overlap {self.overlap}: windows need --long-texts mean or max. Leave it out")
        if self.class_weights == "balanced" and self.task == "glue":
            raise UserError("--class-weights balanced: stsb, one of the tasks, has no classes. Run one task at a time")
        if self.long_texts != "cut" and task is not None and task.inputs != "texts":
            what = f"{self.task} has {task.inputs}"
            raise UserError(f"--long-texts {self.long_texts} is for single texts, {what}. Leave it out")
        if self.long_texts != "cut" and self.pair is not None:
            raise UserError(
                f"--long-texts {self.long_texts} is for single texts, --pair {self.pair} makes pairs. Use cut"
            )
        if not 0 < self.dev_share < 1:
            raise UserError(f"dev_share {self.dev_share} is not between 0 and 1")

    @property
    def length(self) -> int:
        """The tokens of a row: `max_length`, or the default of the task."""
        return self.max_length or (TASKS[self.task].max_length if self.task in TASKS else 128)
