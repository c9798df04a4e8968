"""Settings of `bert-jax demo`; the text under each field is its --help."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class DemoConfig:
    """Train a small BERT on the documentation of the installed Python packages, and put it to work.

    bert-jax demo

    Needs no file and no network. Writes demo/: corpus, vocabulary, shards, run folders, report.md, curves.png.
    """

    output: Path = Path("demo")
    """Folder to write; one that an earlier demo left is replaced."""
