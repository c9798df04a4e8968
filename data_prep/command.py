"""`bert-jax prep vocab | report | shards | check`: thin over the functions of their names."""

import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bert_jax.data.record import Manifest
from data_prep.config import ReportConfig, ShardsConfig, VocabConfig

# tyro makes such pairs of flags for true or false, not where a third thing, the default of the kind, is possible.
FLAGS = {"--lowercase": "--lowercase=True", "--no-lowercase": "--lowercase=False"}


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(argv: list[str]) -> int:
    """Runs one of them; raises UserError for the user's mistakes, SystemExit for a wrong command line."""
    return tyro.extras.subcommand_cli_from_dict(
        {"vocab": vocab, "report": report, "shards": shards, "check": check},
        prog="bert-jax prep",
        description="From text to shards of masked examples. Needs no accelerator and no JAX.",
        args=[FLAGS.get(argument, argument) for argument in argv],
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
    )


def vocab(config: VocabConfig) -> int:
    """Train a vocabulary, or add the words of a corpus to one.

    bert-jax prep vocab --input books/ notes.jsonl.gz --output vocab/ --size 30522

    bert-jax prep vocab --input trials/ --output vocab/ --kind bpe --user-tokens GLP-1 HbA1c

    bert-jax prep vocab --input trials/ --output longer/ --extend bert-base-uncased/vocab.txt --add 500
    """
    from data_prep.vocab import train_vocab

    train_vocab(config, say=say)
    return 0


def report(config: ReportConfig) -> int:
    """Say how vocabularies cut a corpus, side by side, and whether one of the domain pays.

    bert-jax prep report --input trials/ --tokenizer bert-base-uncased/vocab.txt vocab/ --output report.md
    """
    from data_prep.report import RULE, WORD, report_vocabularies, word_row

    found = report_vocabularies(config, say=say)
    console = Console(width=None if sys.stdout.isatty() else 120)
    title = f"{found.words:,} words in {found.characters:,} characters of {found.files:,} files"
    console.print(_table(title, ["", *(m.tokenizer for m in found.measurements)], found.rows()))
    for measurement in found.measurements:
        for title, words in (("cost most tokens", measurement.worst), ("are unknown", measurement.unknown)):
            if words:
                head = ["word", "times", "pieces", "tokens beyond one"]
                console.print(_table(f"words that {title} in {measurement.tokenizer}", head, map(word_row, words)))
    for text in (found.verdict, RULE, WORD):
        console.print(text, markup=False, highlight=False)
    return 0


def _table(title: str, head: Iterable[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(title=escape(title), title_justify="left")
    for i, name in enumerate(head):
        table.add_column(escape(name), justify="right" if i and name != "pieces" else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def shards(config: ShardsConfig) -> int:
    """Turn text into shards of masked examples. Stopped and started again, the job goes on where it was.

    bert-jax prep shards --input books/ 'wiki/*.jsonl.gz' --tokenizer vocab/ --output shards/ --length 128
    """
    from data_prep.build import build_shards

    started = time.monotonic()
    manifest = build_shards(config, say=say)
    print_summary(Path(config.output), manifest)
    say(f"{time.monotonic() - started:.1f} s")
    return 0


def check(folder: Annotated[Path, tyro.conf.Positional], show: int = 0) -> int:
    """Verify every file, checksum and example of a folder of shards.

    bert-jax prep check shards/ --show 5

    Args:
        folder: What `bert-jax prep shards` wrote.
        show: Print so many examples of each split, what is to be predicted marked {word→[MASK]}.
    """
    from data_prep.check import check_shards, show_examples

    manifest = check_shards(folder)
    print_summary(folder, manifest)
    print("\n".join(show_examples(folder, manifest, show)) if show else "sound", flush=True)
    return 0


def print_summary(folder: Path, manifest: Manifest) -> None:
    """One table on stdout: what the folder holds and what was left out."""
    table = Table(title=str(folder), show_header=False, title_justify="left")
    for split, files in sorted(manifest.splits.items(), reverse=True):
        size = sum(shard.bytes for shard in files) / 1e6
        table.add_row(
            split.replace("_", " "), f"{manifest.examples(split):,} examples, {len(files)} shards, {size:,.1f} MB"
        )
    for name, value in sorted(manifest.statistics.items(), key=lambda item: (item[0].startswith("share_"), item[0])):
        table.add_row(name.replace("_", " "), f"{value:.2%}" if name.startswith("share_") else f"{value:,}")
    Console(width=None if sys.stdout.isatty() else 100).print(table)
