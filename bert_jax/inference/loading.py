"""A path to a model that answers."""

import os
from pathlib import Path
from typing import Any

from bert_jax import hosts
from bert_jax.convert.export.onnx_file import OnnxModel
from bert_jax.convert.hugging_face.model_folder import is_huggingface, read_tokenizer
from bert_jax.convert.source import read_model
from bert_jax.errors import UserError
from bert_jax.inference.chooser import Chooser
from bert_jax.inference.outputs import LogitFunction, jax_compute, onnx_compute
from bert_jax.inference.predictor import Predictor
from bert_jax.inference.span_reader import Reader
from bert_jax.inference.tagger import Tagger
from bert_jax.pretrained import Pretrained

ONNX = "model.onnx"
ANSWERERS: dict[str, Any] = {"sequence": Predictor, "token": Tagger, "span": Reader, "choice": Chooser}


def load(path: str | os.PathLike[str]) -> Any:
    """The model at `path`: a run folder (its best checkpoint), one of its checkpoints, a foreign folder, or ONNX.

    By its head a Predictor (labels and scores of texts and pairs), a Tagger (entities), a Reader (answers from a
    context) or a Chooser (multiple choice); each has `predict`.
    """
    about, compute = open_model(Path(path))
    return ANSWERERS[about.kind](about, compute)


def open_model(path: Path) -> tuple[Pretrained, LogitFunction]:
    """What is at `path`, and how it is run; raises UserError for a model without a task."""
    if is_onnx(path):
        about, model = read_onnx(path)
        _require_task(about)
        return about, onnx_compute(model)
    hosts.prepare()
    about = read_model(path)
    _require_task(about)
    return about, jax_compute(about)


def is_onnx(path: Path) -> bool:
    """Whether `path` is an ONNX file, or a folder that has one and no weights of another kind."""
    return path.suffix == ".onnx" or ((path / ONNX).is_file() and not is_huggingface(path))


def _require_task(about: Pretrained) -> None:
    if about.kind not in ANSWERERS:
        raise UserError(
            f"{about.where} is pre-trained only: it has no task yet. Run `bert-jax finetune --from {about.where}`"
        )


def read_onnx(path: Path) -> tuple[Pretrained, OnnxModel]:
    """Return what an ONNX file says of its model, without parameters, and the model ready to run."""
    model = OnnxModel(path)
    said = model.description
    about = Pretrained(
        str(path),
        said.kind,
        said.model,
        read_tokenizer(path if path.is_dir() else path.parent),
        {},
        said.labels,
        said.problem,
        said.max_length,
        task=said.task,
        vectors=said.vectors,
        activation=said.activation,
    )
    return about, model
