"""Settings of `bert-jax plan`: those of pre-training, and the hardware; the text under each field is its --help."""

import dataclasses
from pathlib import Path

from bert_jax.config import check_ranges
from bert_jax.settings.pretrain import PretrainConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class RooflineConfig:
    """Shares of the peaks on the data sheet that are assumed to be reached."""

    matmul: float = 0.75
    """Of the FLOP/s of matrix products."""
    memory: float = 0.8
    """Of the bandwidth of the memory."""
    link: float = 0.8
    """Of the bandwidth between chips."""

    def __post_init__(self) -> None:
        check_ranges(self, matmul=(0.01, 1.0), memory=(0.01, 1.0), link=(0.01, 1.0))


@dataclasses.dataclass(frozen=True)
class PlanConfig(PretrainConfig):
    """Compile the training step for hardware that is not here: whether it fits, a bound on its time, the cost of a run.

    bert-jax plan bert-base.toml --topology v5e:4x4
    bert-jax plan bert-base.toml --topology h100:2x8 --mesh.fsdp 8 --output plan.json

    Takes the file and the flags of `pretrain`. Those that do not change the step have no effect.
    """

    data: Path | None = None  # type: ignore[assignment]
    """Folder of shards, for length, vocabulary and kind of the examples. Not needed."""
    output: Path | None = None  # type: ignore[assignment]
    """File to write the plan to, as JSON."""
    steps: int | None = None  # type: ignore[assignment]
    """Number of updates of the whole run, for its cost."""
    topology: str = "v5e:4x4"
    """Hardware: v4, v5e, v5p or v6e with the shape of the slice, as in v5e:16x16, or the number of chips (v5e, v6e);
    a100, h100 or h200 with the number of GPUs, or nodes x GPUs, as in h100:2x8; cpu:8."""
    length: int | None = None
    """Tokens of a row. Default: that of --data, or else 128."""
    predictions: int | None = None
    """Masked positions of a row. Default: those of --data, or else 15 % of the tokens."""
    vocab_size: int | None = None
    """Entries of the vocabulary. Default: those of --data, or of the model, or else 30,522."""
    phase: int = 1
    """Phase to plan, where the file has several."""
    alternatives: int = 3
    """Where the step does not fit: number of other settings to compile in search of one that does."""
    roofline: RooflineConfig = RooflineConfig()
