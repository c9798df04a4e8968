"""A plain fine-tuning loop in Hugging Face PyTorch, the reference of the other benchmarks."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from bert_jax.data.labelled.rows import Rows

GROUPED_BATCHES = 50  # batches that are sorted by length together, as in group_by_length of transformers' Trainer

Row = dict[str, Any]  # model inputs of one row: lists of ids, and labels if there are any


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Settings of AdamW with linear warm-up and linear decay to zero."""

    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 5e-5
    warmup: float = 0.1  # share of the steps
    weight_decay: float = 0.01  # for matrices only
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-6
    clip_norm: float = 1.0
    dropout: float = 0.1


def load(kind: str, checkpoint: Path, recipe: Recipe, seed: int, **head: int) -> tuple[Any, Any]:
    """Load the tokenizer and a float32 `AutoModelFor<kind>` with a random head, and set one thread for each core."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    transformers.set_seed(seed)
    model = getattr(transformers, f"AutoModelFor{kind}").from_pretrained(
        checkpoint,
        dtype=torch.float32,
        hidden_dropout_prob=recipe.dropout,
        attention_probs_dropout_prob=recipe.dropout,
        **head,
    )
    return transformers.AutoTokenizer.from_pretrained(checkpoint), model


def encode(tokenizer: Any, rows: Rows, max_length: int, labelled: bool = False) -> list[Row]:
    """Encode texts or pairs, truncated to `max_length` tokens, without padding."""
    encoded = tokenizer(rows.texts, rows.pairs, truncation=True, max_length=max_length)
    labels = [{"labels": label} if labelled else {} for label in rows.labels or [None] * len(rows)]
    return [{**{name: values[i] for name, values in encoded.items()}, **label} for i, label in enumerate(labels)]


def lengths(rows: Sequence[Row]) -> np.ndarray:
    return np.array([len(row["input_ids"]) for row in rows])


def in_random_order(sizes: np.ndarray, batch_size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return the rows of each batch of an epoch, shuffled."""
    return _cut(rng.permutation(len(sizes)), batch_size)


def by_length(sizes: np.ndarray, batch_size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return the rows of each batch: shuffled, sorted by length within GROUPED_BATCHES batches, batches shuffled."""
    groups = _cut(rng.permutation(len(sizes)), GROUPED_BATCHES * batch_size)
    batches = [rows for group in groups for rows in _cut(group[np.argsort(-sizes[group], kind="stable")], batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def _cut(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[first : first + size] for first in range(0, len(rows), size)]


def make_optimizer(model: Any, recipe: Recipe, steps: int) -> tuple[Any, Any]:
    """Return AdamW with weight decay for matrices only, and its learning-rate schedule."""
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=recipe.learning_rate,
        betas=recipe.betas,
        eps=recipe.epsilon,
    )
    warmup = round(recipe.warmup * steps)
    return optimizer, transformers.get_linear_schedule_with_warmup(optimizer, warmup, steps)


def train(
    model: Any,
    tokenizer: Any,
    rows: Sequence[Row],
    recipe: Recipe,
    order: Callable[[np.ndarray, int, np.random.Generator], list[np.ndarray]],
    seed: int,
    after_epoch: Callable[[], None],
) -> list[float]:
    """Train the model on the rows, padded to the longest of each batch. Return the loss of each step."""
    sizes, rng = lengths(rows), np.random.default_rng(seed)
    optimizer, schedule = make_optimizer(model, recipe, recipe.epochs * -(-len(rows) // recipe.batch_size))
    losses = []
    for _ in range(recipe.epochs):
        model.train()
        for batch in order(sizes, recipe.batch_size, rng):
            loss = model(**tokenizer.pad([rows[i] for i in batch], return_tensors="pt")).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        after_epoch()
    return losses


def predict(model: Any, tokenizer: Any, rows: Sequence[Row], batch_size: int) -> list[np.ndarray]:
    """Return the logits of each row; for span models (length, 2), start and end. Longest rows are computed first."""
    sizes, all_logits = lengths(rows), [np.zeros(0)] * len(rows)
    model.eval()
    with torch.no_grad():
        for batch in _cut(np.argsort(-sizes, kind="stable"), batch_size):
            outputs = model(**tokenizer.pad([rows[i] for i in batch], return_tensors="pt"))
            if "logits" in outputs:
                logits = outputs.logits.numpy()
            else:
                logits = torch.stack([outputs.start_logits, outputs.end_logits], dim=-1).numpy()
            for i, row in zip(batch, logits, strict=True):
                all_logits[i] = row if row.ndim == 1 else row[: sizes[i]]
    return all_logits
