"""Tables that `bert-jax prep` prints on standard output: of a report, and of a folder of shards."""

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
from data_prep.vocabulary.comparison import RULE, WORD, VocabularyReport, word_row

MAIN_COUNTS = ("documents", "sentences", "tokens", "examples")


def print_report(found: VocabularyReport) -> None:
    """Print the measurements of vocabularies side by side, their words, and the verdict."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    title = f"{counted(found.words, 'word')} in {found.characters:,} characters of {counted(found.files, 'file')}"
    console.print(_table(title, ["", *(m.tokenizer for m in found.measurements)], found.rows()))
    for measurement in found.measurements:
        for title, words in (("cost most tokens", measurement.worst), ("are unknown", measurement.unknown)):
            if words:
                head = ["word", "times", "pieces", "tokens beyond one"]
                console.print(_table(f"words that {title} in {measurement.tokenizer}", head, map(word_row, words)))
    for text in (found.verdict, RULE, WORD):
        console.print(visible(text), markup=False, highlight=False)


def print_examples(lines: Sequence[Text]) -> None:
    """Print lines of examples as they are, however long, or that all are sound."""
    console = Console(highlight=False)
    for line in lines or [Text("sound", style="bold green")]:
        console.print(line, soft_wrap=True)


def print_summary(folder: Path, manifest: Manifest, cost: Mapping[str, str] = MappingProxyType({})) -> None:
    """Print what a folder of shards holds, its shares, what else was counted or left out, and what it cost."""
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
            told = f"{statistics[name]:.2%}" if name in shares else f"{statistics[name]:,}"
            table.add_row(name.replace("_", " "), told)
    table.add_section()
    for name, told in cost.items():
        table.add_row(name, told)
    console = Console(width=None if sys.stdout.isatty() else 100)
    console.print(shown(str(folder)), style="bold", soft_wrap=True)
    console.print(table)


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
