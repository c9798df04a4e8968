"""The description beside an exported model, and the outputs that all export formats share."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Bool, Int

from bert_jax.config import ModelConfig, check_types, from_table
from bert_jax.convert.named_outputs import head_outputs
from bert_jax.errors import UserError
from bert_jax.files import SETTINGS_BYTES, parse_json, read_text
from bert_jax.model.encoder_input import EncoderInput
from bert_jax.model.vectors import VectorConfig
from bert_jax.pretrained import SINGLE_LABEL, Activation, Pretrained
from bert_jax.registry import HEADS
from bert_jax.task_record import TaskRecord

DESCRIPTION = "bert_jax.json"
# Entries of a run's task record that prediction and scoring need.
KEPT_TASK_FIELDS = (
    "name",
    "pair",
    "columns",
    "metrics",
    "main",
    "max_length",
    "long_texts",
    "overlap",
    "max_answer_length",
    "no_answer",
    "threshold",
)


@dataclasses.dataclass(frozen=True)
class Description:
    """The facts about an exported model that prediction needs besides program, weights and tokenizer.

    The fields are those of Pretrained.
    """

    kind: str
    model: ModelConfig
    labels: tuple[str, ...] | None = None
    problem: str = SINGLE_LABEL
    max_length: int = 512
    task: TaskRecord = dataclasses.field(default_factory=TaskRecord)
    vectors: VectorConfig | None = None
    activation: Activation = "identity"

    def to_json(self) -> str:
        """Return the description as a JSON object, without fields that are None."""
        return json.dumps(
            _without_none({**dataclasses.asdict(self), "task": self.task.as_dict()}), indent=2, ensure_ascii=False
        )

    def check_batch(self, tokens: np.ndarray, where: str) -> None:
        """Raise UserError where the model cannot read a batch of these tokens."""
        if tokens.ndim != 2 or not tokens.size:
            raise UserError(f"{where}: tokens of shape {tokens.shape}; (batch, length) is expected, neither of them 0")
        if tokens.shape[1] > self.model.max_length:
            raise UserError(
                f"{where}: texts of {tokens.shape[1]} tokens, the model reads {self.model.max_length}. Cut them to that"
            )
        low, high = int(tokens.min()), int(tokens.max())
        if low < 0 or high >= self.model.vocab_size:
            wrong = low if low < 0 else high
            raise UserError(
                f"{where}: token {wrong}, the vocabulary ends at {self.model.vocab_size - 1}. "
                "Use the tokenizer beside the model"
            )


def description_of(pretrained: Pretrained) -> Description:
    """Return the description of a model."""
    return Description(
        kind=pretrained.kind,
        model=pretrained.model,
        labels=pretrained.labels,
        problem=pretrained.problem,
        max_length=pretrained.max_length,
        task=pretrained.task.only(KEPT_TASK_FIELDS),
        vectors=pretrained.vectors,
        activation=pretrained.activation,
    )


def write_beside(pretrained: Pretrained, folder: Path) -> None:
    """Write the description, and the tokenizer if the model has one, to `folder`, which is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DESCRIPTION).write_text(description_of(pretrained).to_json() + "\n", encoding="utf-8")
    if pretrained.tokenizer is not None:
        pretrained.tokenizer.save(folder)


def read_description(folder: Path) -> Description:
    """Return the description in the folder of an exported model."""
    path = folder / DESCRIPTION
    try:
        text = read_text(path, limit=SETTINGS_BYTES)
    except UserError as error:
        raise UserError(f"{error}. An exported model has a description beside it; export the model again") from None
    return parse_description(text, str(path))


def parse_description(text: str, where: str) -> Description:
    """Parse a description from JSON; `where` names its source in errors."""
    table = parse_json(text, where)
    check_types(table, {"task": dict}, where)
    task = TaskRecord.from_dict(table.pop("task", {}), where)
    description = dataclasses.replace(from_table(Description, table, where), task=task)
    if description.kind not in HEADS:
        raise UserError(f"{where}: kind {description.kind!r} is not among {', '.join(HEADS)}")
    return description


def exported_outputs(
    pretrained: Pretrained,
    module: Any,
    tokens: Int[Array, "B L"],
    segments: Int[Array, "B L"],
    mask: Bool[Array, "B L"],
) -> dict[str, jax.Array]:
    """Return the outputs of the module for a batch, under the names that they have in every exported model."""
    hidden = module.encoder(EncoderInput.from_mask(tokens, segments, mask))
    bare = {"last_hidden_state": hidden} if pretrained.kind == "encoder" else {}
    return {**bare, **head_outputs(pretrained, module, hidden, mask)}


def _without_none(table: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _without_none(value) if isinstance(value, dict) else value
        for name, value in table.items()
        if value is not None
    }
