"""Write ONNX files, quantise them to eight bits, and run them. onnx and onnxruntime are imported on first use."""

import contextlib
import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bert_jax.convert.export.exported import parse_description, write_beside
from bert_jax.convert.export.onnx_builder import onnx_package
from bert_jax.convert.export.onnx_graph import BATCH_AXIS, LENGTH_AXIS, METADATA_KEY, onnx_model
from bert_jax.convert.unreadable import ADVICE
from bert_jax.errors import UserError
from bert_jax.pretrained import Pretrained

ONNX_MODEL, ONNX_INT8_MODEL = "model.onnx", "model_int8.onnx"
DATA = ".data"  # suffix of a file of weights beside the model
MAX_PROTOBUF_BYTES = 1 << 31  # of one protobuf message
GRAPH_BYTES = 16 << 20  # the part of MAX_PROTOBUF_BYTES kept free for all that is not weights


def write_onnx(pretrained: Pretrained, folder: Path, *, max_bytes: int = MAX_PROTOBUF_BYTES) -> Path:
    """Write the model, checked by onnx, with its tokenizer and description to `folder`. Returns the model's path.

    Weights are float32. Where they do not fit into `max_bytes`, they are written to a file beside the model.
    """
    onnx = onnx_package()
    model = onnx_model(pretrained)
    write_beside(pretrained, folder)
    path = folder / ONNX_MODEL
    data = folder / f"{ONNX_MODEL}{DATA}"
    data.unlink(missing_ok=True)  # onnx would append to an old file
    weight_bytes = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    external = weight_bytes + GRAPH_BYTES > max_bytes
    onnx.save_model(model, path, save_as_external_data=external, location=data.name if external else None)
    onnx.checker.check_model(path, full_check=True)
    return path


def quantize_onnx(folder: Path) -> float:
    """Write a copy of the folder's model with its matrices in eight bits. Returns the new size as a share of the old.

    Activations are quantised dynamically, so no sample of texts is needed. Seven of the eight bits are used: with all
    eight, products overflow on x86 processors that have AVX2 but not VNNI.
    """
    source, target = folder / ONNX_MODEL, folder / ONNX_INT8_MODEL
    if not source.is_file():
        raise UserError(f"{source}: no such file. Export the model to ONNX first")
    onnx_package()
    _onnxruntime()
    from onnxruntime.quantization import QuantType, quantize_dynamic

    (folder / f"{ONNX_INT8_MODEL}{DATA}").unlink(missing_ok=True)
    with _without_advice():
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul", "Gather", "Transpose"],  # Transpose reads a tied token table
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=_file_bytes(source) > MAX_PROTOBUF_BYTES,
        )
    return _file_bytes(target) / _file_bytes(source)


class OnnxModel:
    """An ONNX model, ready to run on the CPU."""

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        """Open `path`, an .onnx file or a folder with a model.onnx. `threads` 0 means one thread a core."""
        runtime = _onnxruntime()
        self.path = path / ONNX_MODEL if path.is_dir() else path
        if not self.path.is_file():
            raise UserError(f"{self.path}: no such file. `write_onnx` makes one")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors
        try:
            self._session = runtime.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exception classes are not public and share no base
            reason = str(error).splitlines()[0]
            raise UserError(f"{self.path}: onnxruntime does not open it: {reason}") from None
        metadata = self._session.get_modelmeta().custom_metadata_map
        if METADATA_KEY not in metadata:
            raise UserError(f"{self.path}: holds no description of a {METADATA_KEY} model: {ADVICE['.onnx']}")
        self.description = parse_description(metadata[METADATA_KEY], str(self.path))
        self._inputs = [entry.name for entry in self._session.get_inputs()]
        self.shapes: dict[str, list[Any]] = {entry.name: entry.shape for entry in self._session.get_outputs()}

    def outputs(self, tokens: np.ndarray, segments: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
        """Return all outputs of one batch by name, float32. `mask` is True where there is a token."""
        self.description.check_batch(tokens, str(self.path))
        feed = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": segments}
        values = self._session.run(None, {name: np.asarray(feed[name], np.int64) for name in self._inputs})
        return dict(zip(self.shapes, values, strict=True))


@dataclasses.dataclass(frozen=True)
class QuantizationLoss:
    """The difference between one output of two models, without padding.

    largest      the largest absolute difference
    mean         the mean absolute difference
    same_argmax  the share of equal decisions: the class, the token of a span, the sign of a single number; None for
                 outputs that decide nothing
    """

    largest: float
    mean: float
    same_argmax: float | None


def compare_onnx(
    model: OnnxModel, quantized: OnnxModel, tokens: np.ndarray, segments: np.ndarray, mask: np.ndarray
) -> dict[str, QuantizationLoss]:
    """Compare two files of the same model over one batch. Returns the loss of each output."""
    mask = np.asarray(mask, bool)
    expected, outputs = model.outputs(tokens, segments, mask), quantized.outputs(tokens, segments, mask)
    losses = {}
    for name, value in expected.items():
        pair = (value, outputs[name])
        per_token = model.shapes[name][:2] == [BATCH_AXIS, LENGTH_AXIS]
        difference = np.abs(pair[0] - pair[1])[mask] if per_token else np.abs(pair[0] - pair[1])
        if not name.endswith("logits"):
            same = None
        elif per_token and value.ndim == 2 and model.description.kind == "span":
            first, second = (np.where(mask, scores, -np.inf).argmax(axis=-1) for scores in pair)
            same = float((first == second).mean())
        else:
            first, second = (_decision(scores[mask] if per_token else scores) for scores in pair)
            same = float((first == second).mean())
        losses[name] = QuantizationLoss(float(difference.max()), float(difference.mean()), same)
    return losses


def _decision(scores: np.ndarray) -> np.ndarray:
    """Return the index of the best class, or for a single number whether it is above 0."""
    return scores.argmax(axis=-1) if scores.ndim > 1 and scores.shape[-1] > 1 else scores > 0


def _file_bytes(path: Path) -> int:
    """Return the bytes of a model file and of the weights beside it."""
    data = path.with_name(f"{path.name}{DATA}")
    return path.stat().st_size + (data.stat().st_size if data.exists() else 0)


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise UserError("onnxruntime is not installed: pip install 'bert_jax[onnx]'") from None
    return onnxruntime


@contextlib.contextmanager
def _without_advice() -> Iterator[None]:
    """Drop onnxruntime's advice to run its preprocessing, which would store the tied token table twice."""

    def wanted(record: logging.LogRecord) -> bool:
        return "pre-processing" not in record.getMessage()

    root = logging.getLogger()
    root.addFilter(wanted)
    try:
        yield
    finally:
        root.removeFilter(wanted)
