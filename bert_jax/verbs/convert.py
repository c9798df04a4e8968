"""bert-jax convert: a model from one format to another, and the proof that nothing changed on the way."""

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import tyro

from bert_jax import hosts
from bert_jax.convert.huggingface import write_huggingface
from bert_jax.convert.pretrained import Pretrained
from bert_jax.convert.proof import Difference, against_transformers
from bert_jax.convert.rules import Flat
from bert_jax.convert.run_folder import write_run
from bert_jax.convert.source import read_model
from bert_jax.convert.tf_bert import write_tf_bert
from bert_jax.errors import UserError
from bert_jax.train.checkpoint import parameter_hash
from bert_jax.verbs.command_line import parse

Format = Literal["run", "hf", "tf"]


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
    to: Format | None = None
    """run, hf (Hugging Face) or tf (the original BERT code). hf for a run, run for everything else where not said."""


def convert(config: ConvertConfig) -> list[Difference] | None:
    """Makes the target, whole or not at all. Returns how far the two sides lie apart, None where that was not run."""
    if config.target.exists() and (not config.target.is_dir() or any(config.target.iterdir())):
        raise UserError(f"{config.target} exists. Choose another target, or remove it")
    hosts.prepare()
    pretrained = read_model(config.source)
    to = config.to or ("run" if pretrained.origin.get("format") and not _is_run(config.source) else "hf")
    making = config.target.absolute().with_name(f".{config.target.absolute().name}.converting")
    try:
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        WRITERS[to](pretrained, making, config)
        _require_same(pretrained.params, read_model(making).params)
        differences = _prove(pretrained, to, config.source, making)
        if config.target.is_dir():
            config.target.rmdir()
        making.rename(config.target)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return differences


WRITERS: dict[str, Callable[[Pretrained, Path, ConvertConfig], None]] = {
    "run": lambda pretrained, folder, config: write_run(pretrained, folder, config),
    "hf": lambda pretrained, folder, config: write_huggingface(pretrained, folder),
    "tf": lambda pretrained, folder, config: write_tf_bert(pretrained, folder),
}


def _is_run(path: Path) -> bool:
    from bert_jax.train.run import is_run

    return is_run(path)


def _require_same(before: Flat, after: Flat) -> None:
    """Raises UserError where reading the target again does not give the same parameters, bit for bit."""
    if parameter_hash(dict(before)) != parameter_hash(dict(after)):
        raise UserError("what was written does not read back as it was; is the disk sound? Nothing was left behind")


def _prove(pretrained: Pretrained, to: str, source: Path, target: Path) -> list[Difference] | None:
    """Against the library whose folder is on one of the two sides."""
    if to == "hf":
        return against_transformers(pretrained, target)
    if pretrained.origin.get("format") == "hf" and not _is_run(source):
        return against_transformers(pretrained, source)
    return None


def main(arguments: Sequence[str]) -> int:
    config = parse(ConvertConfig, arguments, prog="bert-jax convert")
    differences = convert(config)
    print(f"{config.target}: written, and read back bit for bit")
    if differences is None:
        print("not run on both sides: no other library here runs this. pip install 'bert_jax[parity]' compares with HF")
    for found in differences or ():
        print(f"  {found.name:24} largest difference {found.difference:.2e}   (values to {found.largest:.3g})")
    return 0
