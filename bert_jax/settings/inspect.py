"""Settings of `bert-jax inspect`; the text under each field is its --help."""

import dataclasses
from pathlib import Path

import tyro


@dataclasses.dataclass(frozen=True)
class InspectConfig:
    """Describe a folder: run, checkpoint, Hugging Face folder, TensorFlow 1 checkpoint, ONNX, shards, tokenizer.

    bert-jax inspect runs/mini
    """

    path: tyro.conf.Positional[Path]
    json: bool = False
    """Print the facts as JSON."""
