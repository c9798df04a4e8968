"""Scores of the same texts, read in each of the ways that there are for long ones."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from bert_jax.terminal import say

Scores = Mapping[str, Mapping[str, float]]


def show_ways(scores: Scores, title: str, own: str) -> None:
    """Prints a line a way; `own` is the one that the model was trained in."""
    table = Table()
    table.add_column("--long-texts")
    metrics = [name for name in next(iter(scores.values())) if name != "main"]
    for name in metrics:
        table.add_column(name, justify="right")
    for way, found in scores.items():
        table.add_row(f"{way} (as trained)" if way == own else way, *(f"{found[name]:.4f}" for name in metrics))
    say(title)
    Console(width=100).print(table)
