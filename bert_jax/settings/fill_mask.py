"""Settings of `bert-jax fill-mask`; the text under each field is its --help."""

import dataclasses
from pathlib import Path

import tyro


@dataclasses.dataclass(frozen=True)
class FillMaskConfig:
    """Show the most likely tokens at the [MASK] of a text.

    bert-jax fill-mask --model runs/mini "The dog [MASK] at the postman."
    """

    text: tyro.conf.Positional[str]
    """A text with one [MASK]."""
    model: Path
    """Run folder of `bert-jax pretrain`, one of its checkpoints, Hugging Face folder, or TensorFlow 1 checkpoint."""
    best: int = 5
    """Number of tokens to show."""
