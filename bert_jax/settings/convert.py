"""Settings of `bert-jax convert`; the text under each field is its --help."""

import dataclasses
from pathlib import Path
from typing import Literal

import tyro

from bert_jax.settings.embed import Pooling

ModelFormat = Literal["run", "hf", "tf", "sentence-transformers", "onnx", "stablehlo"]


@dataclasses.dataclass(frozen=True)
class ConvertConfig:
    """Convert a model between run folders, Hugging Face folders and TensorFlow 1 checkpoints, or export it.

    Runs both sides on the same batch at the end, where the other library is installed, and prints the differences.
    Every other verb takes a foreign folder directly; it need not be converted first.

    bert-jax convert downloads/bert-base-uncased runs/base
    bert-jax convert runs/tickets exported/tickets --to hf
    """

    source: tyro.conf.Positional[Path]
    """Run folder, one folder in its checkpoints/, Hugging Face folder, or TensorFlow 1 checkpoint."""
    target: tyro.conf.Positional[Path]
    """Folder to make."""
    to: ModelFormat | None = None
    """Format of the target: hf is Hugging Face, tf the original BERT code. Default: hf for a run, else run."""
    lowercase: bool | None = None
    """--lowercase or --no-lowercase: whether texts are lower-cased for a WordPiece vocabulary, whatever its files or
    its entries suggest."""
    pooling: tuple[Pooling, ...] = ()
    """For sentence-transformers: how one vector is made of the tokens; several poolings are concatenated. Default: the
    model's own, else mean."""
    normalize: bool = False
    """For sentence-transformers: scale vectors to length 1."""
    ignore_extra: bool = False
    """Leave out tensors that the model does not have, such as custom heads; a note lists them."""
    base: Path | None = None
    """For a LoRA adapter: the Hugging Face folder of the model that it was trained on, to merge it into."""
    int8: bool = False
    """For onnx: write a second file with the matrices in eight bits, and print the loss."""
