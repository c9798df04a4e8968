"""Loading of fine-tuned models."""

import os
from pathlib import Path
from typing import Any

from bert_jax.convert.export.onnx_file import OnnxModel
from bert_jax.convert.hugging_face.model_folder import is_huggingface, read_tokenizer
from bert_jax.convert.source import read_model
from bert_jax.errors import UserError
from bert_jax.inference.outputs import LogitFunction, jax_compute, onnx_compute
from bert_jax.pretrained import Pretrained
from bert_jax.process_setup import set_up_process
from bert_jax.registry import HEADS, load_object

ONNX = "model.onnx"


def load(path: str | os.PathLike[str]) -> Any:
    """Load the model at `path`: a run folder (its best checkpoint), one of its checkpoints, a foreign folder, or ONNX.

    The result depends on the head: a Predictor (labels and scores of texts and pairs), a Tagger (entities), a Reader
    (answers from a context) or a Chooser (multiple choice). Each has `predict`.
    """
    about, compute = open_model(Path(path))
    return load_object(HEADS[about.kind].answerer)(about, compute)


def open_model(path: Path) -> tuple[Pretrained, LogitFunction]:
    """Read the model at `path` and return it with a function that runs it. Raises UserError if it has no task."""
    if is_onnx(path):
        about, model = read_onnx(path)
        _require_task(about)
        return about, onnx_compute(model)
    set_up_process()
    about = read_model(path)
    _require_task(about)
    return about, jax_compute(about)


def is_onnx(path: Path) -> bool:
    """Return whether `path` is an ONNX file, or a folder with one and without weights of Hugging Face."""
    return path.suffix == ".onnx" or ((path / ONNX).is_file() and not is_huggingface(path))


def _require_task(about: Pretrained) -> None:
    if not HEADS[about.kind].answerer:
        raise UserError(
            f"{about.where} is pre-trained only: it has no task yet. Run `bert-jax finetune --from {about.where}`"
        )


def read_onnx(path: Path) -> tuple[Pretrained, OnnxModel]:
    """Return the description of an ONNX model, without parameters, and the model ready to run."""
    model = OnnxModel(path)
    description = model.description
    about = Pretrained(
        str(path),
        description.kind,
        description.model,
        read_tokenizer(path if path.is_dir() else path.parent),
        {},
        description.labels,
        description.problem,
        description.max_length,
        task=description.task,
        vectors=description.vectors,
        activation=description.activation,
    )
    return about, model
