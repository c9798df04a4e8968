"""Table of the scores with each way to read long texts."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from bert_jax.terminal import say

ScoresByWay = Mapping[str, Mapping[str, float]]


def show_ways(scores: ScoresByWay, title: str, trained_way: str) -> None:
    """Print a line for each way; `trained_way` is marked as the one that the model was trained with."""
    table = Table()
    table.add_column("--long-texts")
    metrics = [name for name in next(iter(scores.values())) if name != "main"]
    for name in metrics:
        table.add_column(name, justify="right")
    for way, values in scores.items():
        label = f"{way} (as trained)" if way == trained_way else way
        table.add_row(label, *(f"{values[name]:.4f}" for name in metrics))
    say(title)
    Console(width=100).print(table)
