"""A fine-tuned model that answers: `bert_jax.load(path).predict(texts)`."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bert_jax import hosts
from bert_jax.config import MeshConfig, ModelConfig
from bert_jax.convert.huggingface import is_huggingface, read_tokenizer
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

ONNX = "model.onnx"

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


Compute = Callable[[Encoded, int], np.ndarray]  # rows and batch size to what the model gives for each row


class Predictor:
    """A fine-tuned model, ready to label texts. `compute` runs it: by JAX where nothing else is given."""

    def __init__(self, about: Pretrained, compute: Compute | None = None) -> None:
        self.where = about.where
        if about.kind in ("encoder", "masked_lm", "pretrain", "discriminator"):
            raise UserError(
                f"{self.where} is pre-trained only: it has no task yet. Run `bert-jax finetune --from {self.where}`"
            )
        if about.kind != "sequence":
            raise UserError(f"{self.where} is a {about.kind} model; so far, whole texts and pairs are labelled")
        if about.tokenizer is None:
            raise UserError(f"{self.where}: no tokenizer beside the weights. Put its files there")
        self.tokenizer: Tokenizer = about.tokenizer
        scored = about.problem == REGRESSION
        self.labels = None if scored else list(about.labels or ())
        self.probabilities = sigmoid if about.problem == MULTI_LABEL else softmax
        self.task: dict[str, Any] = {**(FOREIGN_SCORE if scored else FOREIGN_TASK), **about.task}
        self.max_length = about.max_length
        self.outputs = compute or jax_compute(about, self.labels)

    def predict(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, batch_size: int = 64
    ) -> list[Prediction]:
        """One Prediction a text (with its pair), in order. Texts longer than the run's max_length are cut."""
        for given in (texts, pairs or ()):
            if isinstance(given, str) or not all(isinstance(text, str) for text in given):
                raise UserError("texts and pairs are lists of strings")
        if pairs is not None and len(pairs) != len(texts):
            raise UserError(f"{len(texts)} texts but {len(pairs)} pairs")
        if self.task["pair"] is not None and (pairs is not None) != self.task["pair"]:
            wants = "pairs of texts" if self.task["pair"] else "single texts"
            raise UserError(f"{self.where} was trained on {wants} ({self.task['name']})")
        rows = Rows(list(texts), None if pairs is None else list(pairs), None, "texts", list(range(1, len(texts) + 1)))
        outputs = self.outputs(encode_rows(rows, self.tokenizer, self.max_length), batch_size)
        if self.labels is None:
            return [Prediction(score=float(value)) for value in outputs[:, 0]]
        probabilities = self.probabilities(outputs)
        return [
            Prediction(self.labels[int(row.argmax())], dict(zip(self.labels, map(float, row), strict=True)))
            for row in probabilities
        ]


def load(path: str | Path) -> Predictor:
    """The model at `path`: a run folder (its best checkpoint), one of its checkpoints, a foreign folder, or ONNX."""
    path = Path(path)
    if path.suffix == ".onnx" or ((path / ONNX).is_file() and not is_huggingface(path)):  # others export beside weights
        return _load_onnx(path)
    hosts.prepare()
    return Predictor(read_model(path))


def jax_compute(about: Pretrained, labels: Sequence[str] | None) -> Compute:
    """Runs the model on JAX's first device."""
    program = Program(make_task(about.model, labels), make_mesh(MeshConfig(data=1)))
    params = program.place_params(unflatten(about.params))
    return lambda encoded, batch_size: predict_rows(program, params, encoded, batch_size)


def _load_onnx(path: Path) -> Predictor:
    from bert_jax.convert.onnx_file import OnnxModel

    model = OnnxModel(path)
    said = model.description
    folder = path if path.is_dir() else path.parent
    about = Pretrained(
        str(path),
        said.kind,
        said.model,
        read_tokenizer(folder),
        {},
        said.labels,
        said.problem,
        said.max_length,
        task=said.task,
    )

    def compute(encoded: Encoded, batch_size: int) -> np.ndarray:
        results = np.empty((len(encoded), about.outputs), np.float32)
        for rows, batch in prediction_batches(encoded, batch_size):
            place = np.arange(batch["tokens"].shape[1])
            mask = place < batch["length"][:, None]
            segments = (place >= batch["segment_b"][:, None]) & mask
            results[rows] = model.outputs(batch["tokens"], segments, mask)["logits"][: len(rows)]
        return results

    return Predictor(about, compute)


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
