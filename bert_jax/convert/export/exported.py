"""What an exported model, of whatever format, says of itself, takes and gives."""

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
from bert_jax.model.vectors import VectorConfig
from bert_jax.pretrained import KINDS, SINGLE_LABEL, Activation, Pretrained
from bert_jax.task_record import TaskRecord

DESCRIPTION = "bert_jax.json"
# Of a fine-tuned run, what predicting and scoring need.
KEPT = (
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
    """All that predicting needs beside the program, the weights and the tokenizer. The fields are Pretrained's."""

    kind: str
    model: ModelConfig
    labels: tuple[str, ...] | None = None
    problem: str = SINGLE_LABEL
    max_length: int = 512
    task: TaskRecord = dataclasses.field(default_factory=TaskRecord)
    vectors: VectorConfig | None = None
    activation: Activation = "identity"

    def to_json(self) -> str:
        """As a JSON object; None is left out."""
        return json.dumps(
            _without_none({**dataclasses.asdict(self), "task": self.task.as_dict()}), indent=2, ensure_ascii=False
        )

    def check_batch(self, tokens: np.ndarray, where: str) -> None:
        """Raises UserError where the model cannot read such a batch."""
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
    """What is to be kept of a model."""
    return Description(
        pretrained.kind,
        pretrained.model,
        pretrained.labels,
        pretrained.problem,
        pretrained.max_length,
        pretrained.task.only(KEPT),
        pretrained.vectors,
        pretrained.activation,
    )


def write_beside(pretrained: Pretrained, folder: Path) -> None:
    """`folder` is there, with the description and the tokenizer, if the model has one."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DESCRIPTION).write_text(description_of(pretrained).to_json() + "\n", encoding="utf-8")
    if pretrained.tokenizer is not None:
        pretrained.tokenizer.save(folder)


def read_description(folder: Path) -> Description:
    """The description in a folder that an export left."""
    path = folder / DESCRIPTION
    try:
        text = read_text(path, limit=SETTINGS_BYTES)
    except UserError as error:
        raise UserError(f"{error}. An exported model has a description beside it; export the model again") from None
    return parse_description(text, str(path))


def parse_description(text: str, where: str) -> Description:
    """The description that a JSON object spells out; `where` names its source in errors."""
    table = parse_json(text, where)
    check_types(table, {"task": dict}, where)
    task = TaskRecord.from_dict(table.pop("task", {}), where)
    found = dataclasses.replace(from_table(Description, table, where), task=task)
    if found.kind not in KINDS:
        raise UserError(f"{where}: kind {found.kind!r} is not among {', '.join(KINDS)}")
    return found


def exported_outputs(
    pretrained: Pretrained,
    module: Any,
    tokens: Int[Array, "B L"],
    segments: Int[Array, "B L"],
    mask: Bool[Array, "B L"],
) -> dict[str, jax.Array]:
    """All that the module says of a batch, under the names it has in every exported model."""
    hidden = module.encoder(tokens, segments, mask)
    bare = {"last_hidden_state": hidden} if pretrained.kind == "encoder" else {}
    return {**bare, **head_outputs(pretrained, module, hidden, mask)}


def _without_none(table: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _without_none(value) if isinstance(value, dict) else value
        for name, value in table.items()
        if value is not None
    }
