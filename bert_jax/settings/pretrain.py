"""Settings of pre-training; the text under each field is its --help."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from bert_jax.config import MeshConfig, OptimConfig


@dataclasses.dataclass(frozen=True)
class PretrainConfig:
    """Pre-train an encoder on the shards that `bert-jax prep shards` made. The same command resumes a stopped run.

    bert-jax pretrain --data shards --output runs/mini --model bert-mini --steps 20000 --batch-size 256
    bert-jax pretrain bert-base.toml --data shards --output runs/base --mesh.fsdp 4
    bert-jax pretrain --from bert-base-uncased --data shards --output runs/more --steps 20000 --optim.peak-lr 2e-5
    """

    data: Path
    """Folder of shards."""
    output: Path
    """Run folder to make, or to go on with."""
    steps: int
    """Updates to make. A run can be lengthened: more than it was started with change its learning rate from where it
    is, to the schedule of so many steps."""
    model: str | None = None
    """A named model, or a .toml file with its sizes. The vocabulary is the shards'. Default: bert-base-uncased"""
    from_: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """Model to go on from, in place of --model: run folder or one folder in its checkpoints/, Hugging Face folder, or
    TensorFlow 1 checkpoint. The shards' tokenizer is its own, or what `bert-jax prep vocab --extend` made of it."""
    lowercase: bool | None = None
    """--lowercase or --no-lowercase: whether texts are lower-cased for the WordPiece vocabulary of --from, in place of
    what its files say or it looks like."""
    batch_size: int = 256
    """Sequences an update, over all devices."""
    accumulate: int = 1
    """Micro-batches that each update is added up from, where the batch does not fit into memory."""
    seed: int = 0
    """Initial weights, order of the data, dropout."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What matrix products run in. Parameters, normalisation, softmax and loss stay float32."""
    dropout: float | None = None
    """In place of the model's own. Fine-tuning has its own setting."""
    next_sentence: bool | None = None
    """Train the pair loss beside the masked LM: next sentence, or sentence order where the shards hold that. Default:
    where the shards hold pairs."""
    save_every: int = 1000
    """Steps between two checkpoints."""
    keep: int = 3
    """Newest checkpoints kept."""
    evaluate_every: int = 1000
    """Steps between two evaluations on the held-out shards."""
    held_out_examples: int = 2048
    """At most so many held-out examples are scored."""
    log_every: int = 10
    """Steps between two lines of metrics.jsonl."""
    threads: int | None = None
    """On a CPU: for how many threads XLA splits its sums. Runs repeat bit for bit where this is the same, on however
    many cores. Default: what the run was begun with; of a new run the cores here."""
    optim: OptimConfig = OptimConfig()
    mesh: MeshConfig = MeshConfig()
