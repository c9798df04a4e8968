"""bert-jax fill-mask: what a pre-trained model expects at a mask."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import tyro

from bert_jax.inference.mask_filler import load_mask_filler
from bert_jax.terminal import say
from bert_jax.verbs.command_line import parse


@dataclasses.dataclass(frozen=True)
class FillMaskConfig:
    """Show the likeliest words at the [MASK] of a text.

    bert-jax fill-mask --model runs/mini "The dog [MASK] at the postman."
    """

    text: tyro.conf.Positional[str]
    """With one [MASK]."""
    model: Path
    """Run folder of `bert-jax pretrain`, one of its checkpoints, Hugging Face folder, or TensorFlow 1 checkpoint."""
    best: int = 5
    """How many."""


def main(arguments: Sequence[str]) -> int:
    config = parse(FillMaskConfig, arguments, prog="bert-jax fill-mask")
    for filling in load_mask_filler(config.model, best=config.best).fill(config.text):
        say(f"{filling.probability:7.2%}  {filling.token:16}  {filling.text}")
    return 0
