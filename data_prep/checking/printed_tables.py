"""Print the tables of `bert-jax prep`: a comparison of vocabularies, and the summary of a folder of shards."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bert_jax.data.pretraining.record import Manifest
from bert_jax.terminal import visible
from bert_jax.wording import counted
from data_prep.vocabulary.comparison import VERDICT_RULE, WORD_DEFINITION, VocabularyReport, word_row

MAIN_COUNTS = ("documents", "sentences", "tokens", "examples")


def print_report(report: VocabularyReport) -> None:
    """Print the figures of all vocabularies side by side, their most expensive words, and the verdict."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    title = f"{counted(report.words, 'word')} in {report.characters:,} characters of {counted(report.files, 'file')}"
    console.print(_table(title, ["", *(m.tokenizer for m in report.measurements)], report.rows()))
    for measurement in report.measurements:
        for title, words in (("cost most tokens", measurement.worst), ("are unknown", measurement.unknown)):
            if words:
                head = ["word", "times", "pieces", "tokens beyond one"]
                console.print(_table(f"words that {title} in {measurement.tokenizer}", head, map(word_row, words)))
    for text in (report.verdict, VERDICT_RULE, WORD_DEFINITION):
        console.print(visible(text), markup=False, highlight=False)


def print_examples(lines: Sequence[Text]) -> None:
    """Print lines of examples without wrapping, or "sound" if there are none."""
    console = Console(highlight=False)
    for line in lines or [Text("sound", style="bold green")]:
        console.print(line, soft_wrap=True)


def print_summary(folder: Path, manifest: Manifest, cost: Mapping[str, str] = MappingProxyType({})) -> None:
    """Print the content of a folder of shards, its statistics, and the cost of making it."""
    table = Table(show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    masking = manifest.masking
    table.add_row("kind", f"{manifest.kind}, {manifest.length} tokens")
    table.add_row("masks", f"{masking.when}, by {masking.unit}, {masking.rate:.0%}, at most {masking.max_predictions}")
    for split, files in sorted(manifest.splits.items(), reverse=True):
        size = sum(shard.bytes for shard in files) / 1e6
        examples, shards = counted(manifest.examples(split), "example"), counted(len(files), "shard")
        table.add_row(split.replace("_", " "), f"{examples}, {shards}, {size:,.1f} MB")
    statistics = manifest.statistics
    shares = [name for name in statistics if name.startswith("share_")]
    others = sorted(statistics.keys() - set(shares) - set(MAIN_COUNTS))
    for section in ([name for name in MAIN_COUNTS if name in statistics], sorted(shares), others):
        table.add_section()
        for name in section:
            value = f"{statistics[name]:.2%}" if name in shares else f"{statistics[name]:,}"
            table.add_row(name.replace("_", " "), value)
    table.add_section()
    for name, value in cost.items():
        table.add_row(name, value)
    console = Console(width=None if sys.stdout.isatty() else 100)
    console.print(cell(str(folder)), style="bold", soft_wrap=True)
    console.print(table)


def cell(text: str) -> str:
    """Escape a text for a cell of a table, so that it holds no markup and no terminal control characters."""
    return escape(visible(text))


def _table(title: str, head: Iterable[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(title=cell(title), title_justify="left")
    for i, name in enumerate(head):
        table.add_column(cell(name), justify="right" if i and name != "pieces" else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(cell, row))
    return table
