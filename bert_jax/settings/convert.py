"""Settings of `bert-jax convert`; the text under each field is its --help."""

import dataclasses
from pathlib import Path
from typing import Literal

import tyro

from bert_jax.settings.embed import Pooling

ModelFormat = Literal["run", "hf", "tf", "sentence-transformers", "onnx", "stablehlo"]


@dataclasses.dataclass(frozen=True)
class ConvertConfig:
    """Convert a model: a run folder, a Hugging Face folder, or a TensorFlow 1 checkpoint, in any direction.

    Ends by running both sides on the same batch, where the other library is installed, and prints how far apart they
    are. Every other verb takes a foreign folder directly; it need not be converted first.

    bert-jax convert downloads/bert-base-uncased runs/base
    bert-jax convert runs/tickets exported/tickets --to hf
    """

    source: tyro.conf.Positional[Path]
    """Run folder, one folder in its checkpoints/, Hugging Face folder, or TensorFlow 1 checkpoint."""
    target: tyro.conf.Positional[Path]
    """Folder to make."""
    to: ModelFormat | None = None
    """hf is Hugging Face, tf the original BERT code. Where not said: hf for a run, run for everything else."""
    lowercase: bool | None = None
    """--lowercase or --no-lowercase: whether texts are lower-cased for a WordPiece vocabulary, in place of what its
    files say or it looks like."""
    pooling: tuple[Pooling, ...] = ()
    """For sentence-transformers: how a vector is made of the tokens, by several side by side. The model's own where not
    said, else mean."""
    normalize: bool = False
    """For sentence-transformers: vectors of length 1."""
    ignore_extra: bool = False
    """Leave out tensors that the model does not have, as heads of its authors' own; a note lists them."""
    base: Path | None = None
    """For a LoRA adapter: the Hugging Face folder of the model that it was trained on, to merge it into."""
    int8: bool = False
    """For onnx: a second file with the matrices in eight bits; what that costs is printed."""
