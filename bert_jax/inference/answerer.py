"""What every model that answers has in common."""

from typing import Any, Protocol

from bert_jax.data.labelled.rows import Columns, Rows
from bert_jax.errors import UserError
from bert_jax.pretrained import Pretrained
from bert_jax.text.tokenizer import Tokenizer


class Answer(Protocol):
    def as_dict(self) -> dict[str, Any]:
        """The answer as JSON holds it."""


class Answerer(Protocol):
    """A model that answers rows: what `bert-jax predict` asks of it."""

    def columns(self, text: str | None, pair: str | None, choices: tuple[str, ...]) -> Columns:
        """The columns to read: those given, and where nothing is given, those of training."""

    def answer(self, rows: Rows, *, batch_size: int) -> list[Any]:
        """One `Answer` a row, in order."""


def require_tokenizer(about: Pretrained) -> Tokenizer:
    """The model's tokenizer; raises UserError where it has none."""
    if about.tokenizer is None:
        raise UserError(f"{about.where}: no tokenizer beside the weights. Put its files there")
    return about.tokenizer
