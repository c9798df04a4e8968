"""Settings of fine-tuning; the text under each field is its --help."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from bert_jax.config import SEED_RANGE, MeshConfig, check_ranges
from bert_jax.errors import UserError

LONGEST = {"squad": 384}  # tokens of a row where nothing is said; 128 for other tasks


@dataclasses.dataclass(frozen=True)
class FinetuneConfig:
    """Fine-tune a pre-trained encoder on a GLUE task, SQuAD, entities or your own rows. The same command resumes.

    bert-jax finetune --from runs/mini --task mrpc --data glue/ --output runs/mrpc --seeds 1 2 3
    bert-jax finetune --from runs/mini --task rows --data tickets.csv --text body --label priority --output runs/tickets
    bert-jax finetune --from runs/base --task squad --data squad/ --output runs/squad --epochs 2
    bert-jax finetune --from runs/base --task swag --data swag/ --output runs/swag --max-length 80
    bert-jax finetune --from runs/base --task glue --data tfds:glue --output runs/glue
    bert-jax finetune --from runs/base --task ner --data conll/ --output runs/entities
    """

    from_: Annotated[Path, tyro.conf.arg(name="from")]
    """Run folder or one folder in its checkpoints/, Hugging Face folder, or TensorFlow 1 checkpoint."""
    data: Path
    """The task's folder with train.* and dev.*, or one file: some of it is held out. Or tfds:NAME[@FOLDER] as prepared
    by TensorFlow Datasets in its folder or another: tfds:glue, tfds:squad/v2.0, tfds:imdb_reviews."""
    output: Path
    """Run folder to make, or to go on with. With several seeds: a folder of runs."""
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
    class_weights: Literal["equal", "balanced"] = "equal"
    """balanced: a row counts in the loss by how rare its class is, so that rare classes are not passed over."""
    dev_share: float = 0.1
    """Without a dev file: share of the examples held out, of rows each class in its share."""
    encoding_errors: Literal["strict", "replace"] = "strict"
    """What to do with rows that are not UTF-8."""
    epochs: float = 3.0
    batch_size: int = 32
    learning_rate: float = 5e-5
    """At its peak, after the warm-up."""
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
    """Tokens of a row: 128, for squad 384. Longer texts are cut and counted; squad and ner read them in windows."""
    overlap: int | None = None
    """Tokens that two windows share. Default: a quarter of the room, at most 128."""
    seeds: tuple[int, ...] = (0,)
    """One run for each: fresh head, order of the rows, dropout."""
    from_scratch: bool = False
    """Start from random weights of the same architecture: the baseline that pre-training has to beat."""
    accumulate: int = 1
    """Micro-batches that each update is added up from."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What matrix products run in."""
    evaluate_every: int | None = None
    """Steps between two scorings of the dev rows. Each epoch where not said."""
    log_every: int = 10
    mesh: MeshConfig = MeshConfig()

    def __post_init__(self) -> None:
        low, high = SEED_RANGE
        seeds = set(self.seeds)
        if not seeds or len(seeds) != len(self.seeds) or min(seeds) < low or max(seeds) > high:
            raise UserError(f"seeds {self.seeds}: give one or more, each once, between {low} and {high}")
        check_ranges(self, epochs=(1e-9, 1e6), learning_rate=(0.0, 10.0))
        check_ranges(self, **dict.fromkeys(("max_length", "evaluate_every", "log_every"), (1, None)))
        check_ranges(self, layer_decay=(0.01, 1.0), freeze_layers=(0, None), fresh_layers=(0, None), patience=(1, None))
        if self.several and self.score:
            raise UserError("--several and --score: a row has labels or a number. Leave one of the two out")
        if not 0 < self.dev_share < 1:
            raise UserError(f"dev_share {self.dev_share} is not between 0 and 1")

    @property
    def length(self) -> int:
        """`max_length`, worked out where it was not given."""
        return self.max_length or LONGEST.get(self.task, 128)
