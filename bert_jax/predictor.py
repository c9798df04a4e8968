"""A fine-tuned model that answers: `bert_jax.load(path).predict(texts)`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bert_jax import hosts
from bert_jax.config import MeshConfig, ModelConfig
from bert_jax.convert.pretrained import MULTI_LABEL, REGRESSION, Pretrained
from bert_jax.convert.rules import unflatten
from bert_jax.convert.source import read_model
from bert_jax.data.batches import Encoded, encode_rows, prediction_batches
from bert_jax.data.rows import Rows
from bert_jax.errors import UserError
from bert_jax.sharding import make_mesh
from bert_jax.tasks.sequence import ClassificationTask, RegressionTask
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.train.program import Params, Program

# what is assumed of the rows of a model that was fine-tuned elsewhere; pair None: both single texts and pairs
FOREIGN_TASK: dict[str, Any] = {
    "name": "rows",
    "pair": None,
    "columns": {"text": "text", "pair": None, "label": "label"},
    "metrics": ["accuracy", "f1", "matthews"],
    "main": ["accuracy"],
}
FOREIGN_SCORE = {**FOREIGN_TASK, "metrics": ["pearson", "spearman"], "main": ["pearson", "spearman"]}


@dataclasses.dataclass(frozen=True)
class Prediction:
    """`label` with the probability of every class, or a `score` where the task is one."""

    label: str | None = None
    probabilities: dict[str, float] | None = None
    score: float | None = None

    def as_dict(self) -> dict[str, Any]:
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}


class Predictor:
    """A fine-tuned model, ready to label texts."""

    def __init__(self, pretrained: Pretrained, dtype: jax.typing.DTypeLike = jnp.float32) -> None:
        self.where = pretrained.where
        if pretrained.kind in ("encoder", "masked_lm", "pretrain", "discriminator"):
            raise UserError(
                f"{self.where} is pre-trained only: it has no task yet. Run `bert-jax finetune --from {self.where}`"
            )
        if pretrained.kind != "sequence":
            raise UserError(f"{self.where} is a {pretrained.kind} model; predict labels whole texts and pairs so far")
        if pretrained.tokenizer is None:
            raise UserError(f"{self.where}: no tokenizer beside the weights. Put its files there")
        self.tokenizer: Tokenizer = pretrained.tokenizer
        scored = pretrained.problem == REGRESSION
        self.labels = None if scored else list(pretrained.labels or ())
        self.probabilities = sigmoid if pretrained.problem == MULTI_LABEL else softmax
        self.task: dict[str, Any] = {**(FOREIGN_SCORE if scored else FOREIGN_TASK), **pretrained.task}
        self.max_length = pretrained.max_length
        self.program = Program(make_task(pretrained.model, self.labels, dtype), make_mesh(MeshConfig(data=1)))
        self.params: Params = self.program.place_params(unflatten(pretrained.params))

    def predict(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, batch_size: int = 64
    ) -> list[Prediction]:
        """One Prediction a text (with its pair), in order. Texts longer than the run's max_length are cut."""
        if pairs is not None and len(pairs) != len(texts):
            raise UserError(f"{len(texts)} texts but {len(pairs)} pairs")
        if self.task["pair"] is not None and (pairs is not None) != self.task["pair"]:
            wants = "pairs of texts" if self.task["pair"] else "single texts"
            raise UserError(f"{self.where} was trained on {wants} ({self.task['name']})")
        rows = Rows(list(texts), None if pairs is None else list(pairs), None, "texts", list(range(1, len(texts) + 1)))
        outputs = predict_rows(
            self.program, self.params, encode_rows(rows, self.tokenizer, self.max_length), batch_size
        )
        if self.labels is None:
            return [Prediction(score=float(value)) for value in outputs[:, 0]]
        probabilities = self.probabilities(outputs)
        return [
            Prediction(self.labels[int(row.argmax())], dict(zip(self.labels, map(float, row), strict=True)))
            for row in probabilities
        ]


def load(path: str | Path) -> Predictor:
    """The model at `path`: a run folder (its best checkpoint), one folder in its checkpoints/, or a foreign folder."""
    hosts.prepare()
    return Predictor(read_model(Path(path)))


def make_task(
    model: ModelConfig, labels: Sequence[str] | None, dtype: jax.typing.DTypeLike = jnp.float32
) -> ClassificationTask | RegressionTask:
    """Classes where there are labels, one number where there are none."""
    return RegressionTask(model, dtype) if labels is None else ClassificationTask(model, dtype, classes=len(labels))


def predict_rows(program: Program, params: Params, encoded: Encoded, batch_size: int) -> np.ndarray:
    """What the task's model gives for each row, in the order of the rows; computed longest first."""
    results: np.ndarray | None = None
    waiting = []
    for rows, batch in prediction_batches(encoded, batch_size):
        waiting.append((rows, program.outputs(params, program.place(batch))))
    for rows, outputs in waiting:
        values = np.asarray(outputs)[: len(rows)]
        if results is None:
            results = np.empty((len(encoded), values.shape[1]), np.float32)
        results[rows] = values
    return results if results is not None else np.empty((0, 1), np.float32)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Of each entry: classes that do not exclude each other."""
    return 1.0 / (1.0 + np.exp(-logits))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)
