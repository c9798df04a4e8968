"""`bert-jax prep vocab | report | shards | check`: thin over the functions of their names."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bert_jax.data.record import Manifest
from bert_jax.terminal import say, visible
from data_prep.config import ReportConfig, ShardsConfig, VocabConfig

# tyro makes such pairs of flags for true or false, not where a third thing, the default of the kind, is possible.
FLAGS = {"--lowercase": "--lowercase=True", "--no-lowercase": "--lowercase=False"}

MAIN_COUNTS = ("documents", "sentences", "tokens", "examples")


def report_progress(line: str) -> None:
    say(line, to_stderr=True)


def main(argv: list[str]) -> int:
    """Runs one of them; raises UserError for the user's mistakes, SystemExit for a wrong command line."""
    return tyro.extras.subcommand_cli_from_dict(
        {"vocab": vocab, "report": report, "shards": shards, "check": check},
        prog="bert-jax prep",
        description="From text to shards of examples. Needs no accelerator and no JAX.",
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

    train_vocab(config, say=report_progress)
    return 0


def report(config: ReportConfig) -> int:
    """Say how vocabularies cut a corpus, side by side, and whether one of the domain pays.

    bert-jax prep report --input trials/ --tokenizer bert-base-uncased/vocab.txt vocab/ --output report.md
    """
    from data_prep.report import RULE, WORD, report_vocabularies, word_row

    found = report_vocabularies(config, say=report_progress)
    console = Console(width=None if sys.stdout.isatty() else 120)
    title = f"{found.words:,} words in {found.characters:,} characters of {found.files:,} files"
    console.print(_table(title, ["", *(m.tokenizer for m in found.measurements)], found.rows()))
    for measurement in found.measurements:
        for title, words in (("cost most tokens", measurement.worst), ("are unknown", measurement.unknown)):
            if words:
                head = ["word", "times", "pieces", "tokens beyond one"]
                console.print(_table(f"words that {title} in {measurement.tokenizer}", head, map(word_row, words)))
    for text in (found.verdict, RULE, WORD):
        console.print(visible(text), markup=False, highlight=False)
    return 0


def shown(text: str) -> str:
    """Return the text as a cell of a table takes it: nothing in it is markup, and nothing steers the terminal."""
    return escape(visible(text))


def _table(title: str, head: Iterable[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(title=shown(title), title_justify="left")
    for i, name in enumerate(head):
        table.add_column(shown(name), justify="right" if i and name != "pieces" else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(shown, row))
    return table


def shards(config: ShardsConfig) -> int:
    """Turn text into shards of examples. Stopped and started again, the job goes on where it was.

    bert-jax prep shards --input books/ 'wiki/*.jsonl.gz' --tokenizer vocab/ --output shards/ --length 128
    bert-jax prep shards --input books/ --tokenizer vocab/ --output packed/ --examples packed --masking dynamic
    """
    from data_prep.build import run_job

    run = run_job(config, say=report_progress)
    cost = run.cost()
    for folder, manifest in run.manifests.items():
        print_summary(folder, manifest, cost)
        cost = {}
    if cost and run.parts:
        report_progress(", ".join(f"{name} {value}" for name, value in cost.items()))
    return 0


def check(folder: Annotated[Path, tyro.conf.Positional], show: int = 0) -> int:
    """Verify every file, checksum and example of a folder of shards.

    bert-jax prep check shards/ --show 5

    Args:
        folder: What `bert-jax prep shards` wrote.
        show: Print so many examples of each split, what is to be predicted marked {word→[MASK]}.
    """
    from data_prep.check import check_shards
    from data_prep.show import show_examples

    manifest = check_shards(folder)
    print_summary(folder, manifest)
    console = Console(highlight=False)
    for line in show_examples(folder, manifest, show) if show else [Text("sound", style="bold green")]:
        console.print(line, soft_wrap=True)
    return 0


def print_summary(folder: Path, manifest: Manifest, cost: Mapping[str, str] = MappingProxyType({})) -> None:
    """One table on stdout: what the folder holds, its shares, what else was counted or left out, and what it cost."""
    table = Table(show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    masking = manifest.masking
    table.add_row("kind", f"{manifest.kind}, {manifest.length} tokens")
    table.add_row("masks", f"{masking.when}, by {masking.unit}, {masking.rate:.0%}, at most {masking.max_predictions}")
    for split, files in sorted(manifest.splits.items(), reverse=True):
        size = sum(shard.bytes for shard in files) / 1e6
        table.add_row(
            split.replace("_", " "), f"{manifest.examples(split):,} examples, {len(files)} shards, {size:,.1f} MB"
        )
    statistics = manifest.statistics
    shares = [name for name in statistics if name.startswith("share_")]
    others = sorted(statistics.keys() - set(shares) - set(MAIN_COUNTS))
    for section in ([name for name in MAIN_COUNTS if name in statistics], sorted(shares), others):
        table.add_section()
        for name in section:
            told = f"{statistics[name]:.2%}" if name in shares else f"{statistics[name]:,}"
            table.add_row(name.replace("_", " "), told)
    table.add_section()
    for name, told in cost.items():
        table.add_row(name, told)
    console = Console(width=None if sys.stdout.isatty() else 100)
    console.print(shown(str(folder)), style="bold", soft_wrap=True)
    console.print(table)
