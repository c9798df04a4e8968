"""`bert-jax prep vocab | shards | check`: thin over `train_vocab`, `build_shards` and `check_shards`."""

import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bert_jax.data.record import Manifest
from data_prep.config import ShardsConfig, VocabConfig

MAIN_COUNTS = ("documents", "sentences", "tokens", "examples")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(argv: list[str]) -> int:
    """Runs one of the three; raises UserError for the user's mistakes, SystemExit for a wrong command line."""
    return tyro.extras.subcommand_cli_from_dict(
        {"vocab": vocab, "shards": shards, "check": check},
        prog="bert-jax prep",
        description="From text to shards of examples. Needs no accelerator and no JAX.",
        args=argv,
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
    )


def vocab(config: VocabConfig) -> int:
    """Train a vocabulary.

    bert-jax prep vocab --input books/ notes.jsonl.gz --output vocab/ --size 30522
    """
    from data_prep.vocab import train_vocab

    train_vocab(config, say=say)
    return 0


def shards(config: ShardsConfig) -> int:
    """Turn text into shards of examples. Stopped and started again, the job goes on where it was.

    bert-jax prep shards --input books/ 'wiki/*.jsonl.gz' --tokenizer vocab/ --output shards/ --length 128
    bert-jax prep shards --input books/ --tokenizer vocab/ --output packed/ --examples packed --masking dynamic
    """
    from data_prep.build import run_job

    run = run_job(config, say=say)
    cost = run.cost()
    for folder, manifest in run.manifests.items():
        print_summary(folder, manifest, cost)
        cost = {}
    if cost and run.parts:
        say(", ".join(f"{name} {value}" for name, value in cost.items()))
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
    table = Table(title=str(folder), show_header=False, title_justify="left")
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
    Console(width=None if sys.stdout.isatty() else 100).print(table)
