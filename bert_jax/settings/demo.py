"""Settings of `bert-jax demo`; the text under each field is its --help."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class DemoConfig:
    """Train a small BERT on the documentation of the installed Python packages, and use it.

    bert-jax demo

    Needs no files and no network. Writes demo/: corpus, vocabulary, shards, run folders, report.md, curves.png.
    """

    output: Path = Path("demo")
    """Folder to write. The folder of an earlier demo is replaced."""
