"""`bert_jax.prepare`: make and check shards of examples, and train vocabularies, from Python."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bert_jax.api.in_memory_rows import in_folder
from bert_jax.api.keywords import ApiFunction, errors_in_one_line
from bert_jax.api.results import TableResult
from bert_jax.data.pretraining.record import Manifest
from bert_jax.errors import UserError
from bert_jax.terminal import say
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.wording import counted
from data_prep.checking.check import check_shards
from data_prep.job.build import build_lengths
from data_prep.settings import ReportConfig, ShardsConfig, VocabConfig
from data_prep.vocabulary.comparison import VocabularyReport, compare_vocabularies
from data_prep.vocabulary.train import train_vocab

LIST_INPUTS = {"texts": "field"}


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class PrepareResult(TableResult):
    """Folders of shards, one for each length, and their manifests. Accepted wherever a path is.

    path       the output folder, which holds the folders of several lengths
    manifests  the manifests by folder; empty while other shares of the job are missing
    """

    path: Path
    manifests: Mapping[Path, Manifest]

    def title(self) -> str:
        examples = sum(manifest.examples("train") for manifest in self.manifests.values())
        return f"{self.path}: {counted(examples, 'training example') if self.manifests else 'not finished yet'}"

    def table(self) -> list[dict[str, Any]]:
        """Return a row for each split of each folder."""
        return [
            {
                "folder": str(folder),
                "kind": manifest.kind,
                "length": manifest.length,
                "split": split.replace("_", " "),
                "examples": manifest.examples(split),
                "MB": sum(shard.bytes for shard in shards) / 1e6,
            }
            for folder, manifest in self.manifests.items()
            for split, shards in sorted(manifest.splits.items(), reverse=True)
        ]

    def __fspath__(self) -> str:
        return str(self.path)


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class VocabResult(TableResult):
    """A tokenizer folder and its tokenizer. Accepted wherever a path is."""

    path: Path
    tokenizer: Tokenizer

    def title(self) -> str:
        return f"{self.path}: {self.tokenizer.vocab_size:,} entries"

    def table(self) -> list[dict[str, Any]]:
        """Return one row with the kind of the tokenizer and its size."""
        return [{"kind": type(self.tokenizer).__name__, "entries": self.tokenizer.vocab_size}]

    def __fspath__(self) -> str:
        return str(self.path)


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class ReportResult(TableResult):
    """A comparison of vocabularies on a corpus. `report` holds the numbers."""

    report: VocabularyReport

    def title(self) -> str:
        return self.report.verdict

    def table(self) -> list[dict[str, Any]]:
        """Return a row for each figure, with a column for each vocabulary."""
        names = ["", *(measurement.tokenizer for measurement in self.report.measurements)]
        return [dict(zip(names, row, strict=True)) for row in self.report.rows()]


@ApiFunction(ShardsConfig, "prepare", rows="input", lists=LIST_INPUTS, place=in_folder)
def shards(config: ShardsConfig) -> PrepareResult:
    """Turn text into shards of pre-training examples, as `bert-jax prep shards` does.

    bert_jax.prepare(input="books/", tokenizer="vocab", output="shards", length=128)
    bert_jax.prepare(texts=texts, tokenizer="vocab", output="shards", length=128)

    Each of `texts` is a document. A second call with the same settings resumes a stopped job. See also
    `bert_jax.prepare.vocab`, `prepare.report` and `prepare.check`. With several workers, a script needs
    `if __name__ == "__main__":` around the call; a notebook does not.
    """
    return PrepareResult(Path(config.output), build_lengths(config, say=_say))


@ApiFunction(VocabConfig, "prepare.vocab", rows="input", lists=LIST_INPUTS, place=in_folder)
def vocab(config: VocabConfig) -> VocabResult:
    """Train a vocabulary on text, or add words to an existing one, as `bert-jax prep vocab` does.

    bert_jax.prepare.vocab(input="books/", output="vocab", size=8000)
    """
    return VocabResult(Path(config.output), train_vocab(config, say=_say))


@ApiFunction(ReportConfig, "prepare.report", rows="input", lists=LIST_INPUTS, place=in_folder)
def report(config: ReportConfig) -> ReportResult:
    """Compare how vocabularies tokenise a corpus, as `bert-jax prep report` does.

    bert_jax.prepare.report(input="trials/", tokenizer=["bert-base-uncased/vocab.txt", "vocab"])
    """
    return ReportResult(compare_vocabularies(config, say=_say))


def check(folder: str | os.PathLike[str]) -> PrepareResult:
    """Verify every file, checksum and example of a folder of shards. Raises UserError if anything is wrong."""
    path = Path(folder)
    with errors_in_one_line():
        if not path.is_dir():
            raise UserError(f"{path}: no such folder")
        return PrepareResult(path, {path: check_shards(path)})


class _Prepare:
    """`bert_jax.prepare(...)`, which makes shards. The other functions of the preparation are its attributes."""

    shards = staticmethod(shards)
    vocab = staticmethod(vocab)
    report = staticmethod(report)
    check = staticmethod(check)

    def __init__(self) -> None:
        self.__doc__ = shards.__doc__
        self.__signature__ = shards.__signature__  # type: ignore[attr-defined]

    def __call__(self, *arguments: Any, **keywords: Any) -> PrepareResult:
        return shards(*arguments, **keywords)


def _say(line: str) -> None:
    say(line, to_stderr=True)


prepare = _Prepare()
