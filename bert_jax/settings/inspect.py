"""Settings of `bert-jax inspect`; the text under each field is its --help."""

import dataclasses
from pathlib import Path

import tyro


@dataclasses.dataclass(frozen=True)
class InspectConfig:
    """Describe a folder: run, checkpoint, Hugging Face folder, TensorFlow 1 checkpoint, ONNX, shards, tokenizer.

    Several runs are compared. A run may still be going on.

    bert-jax inspect runs/mini
    bert-jax inspect runs/mini runs/small --figure runs.png
    """

    path: tyro.conf.Positional[Path]
    others: tyro.conf.Positional[tuple[Path, ...]] = ()
    """More runs, to compare with the first: settings that differ, steps, last losses and speed side by side."""
    figure: Path | None = None
    """Draw the losses and scores of the run or runs into this file: .png, .svg or .pdf."""
    json: bool = False
    """Print the facts as JSON."""
