"""ONNX files: written, made smaller with eight-bit weights, and run. The packages are imported only when asked for."""

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
from bert_jax.convert.unreadable import FILES
from bert_jax.errors import UserError
from bert_jax.pretrained import Pretrained

ONNX_MODEL, ONNX_INT8_MODEL = "model.onnx", "model_int8.onnx"
DATA = ".data"  # what a file of weights beside the model adds to its name
MAX_BYTES = 1 << 31  # of one protobuf message
GRAPH_BYTES = 16 << 20  # of those, for all that is not weights


def write_onnx(pretrained: Pretrained, folder: Path, *, max_bytes: int = MAX_BYTES) -> Path:
    """`folder` has the model, checked, with its tokenizer and its description. Returns the model's path.

    Weights are float32. Where they do not fit into `max_bytes` they lie in a file beside the model.
    """
    onnx = onnx_package()
    model = onnx_model(pretrained)
    write_beside(pretrained, folder)
    path = folder / ONNX_MODEL
    data = folder / f"{ONNX_MODEL}{DATA}"
    data.unlink(missing_ok=True)  # onnx would write on behind what is there
    weights = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    apart = weights + GRAPH_BYTES > max_bytes
    onnx.save_model(model, path, save_as_external_data=apart, location=data.name if apart else None)
    onnx.checker.check_model(path, full_check=True)
    return path


def quantize_onnx(folder: Path) -> float:
    """`folder` has its model a second time, the matrices in eight bits. Returns the share of bytes that is left.

    Activations are quantised as they come up (dynamic), so that no sample of texts is needed. Seven of the eight bits
    are used: with all, products overflow on x86 processors that have AVX2 but not VNNI.
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
            op_types_to_quantize=["MatMul", "Gather", "Transpose"],  # Transpose: of the token table, where it is tied
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=_file_bytes(source) > MAX_BYTES,
        )
    return _file_bytes(target) / _file_bytes(source)


class OnnxModel:
    """A model.onnx (or model_int8.onnx), ready to run on the CPU. `path` is the file, or a folder with a model.onnx."""

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        """`threads` 0: one for each core."""
        runtime = _onnxruntime()
        self.path = path / ONNX_MODEL if path.is_dir() else path
        if not self.path.is_file():
            raise UserError(f"{self.path}: no such file. `write_onnx` makes one")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors
        try:
            self._session = runtime.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its classes are not public, and have no base of their own
            reason = str(error).splitlines()[0]
            raise UserError(f"{self.path}: onnxruntime does not open it: {reason}") from None
        metadata = self._session.get_modelmeta().custom_metadata_map
        if METADATA_KEY not in metadata:
            raise UserError(f"{self.path}: says nothing of a {METADATA_KEY} model: {FILES['.onnx']}")
        self.description = parse_description(metadata[METADATA_KEY], str(self.path))
        self._inputs = [entry.name for entry in self._session.get_inputs()]
        self.shapes: dict[str, list[Any]] = {entry.name: entry.shape for entry in self._session.get_outputs()}

    def outputs(self, tokens: np.ndarray, segments: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
        """All outputs by name, float32, of one batch. `mask` is True where there is a token."""
        self.description.check_batch(tokens, str(self.path))
        feed = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": segments}
        values = self._session.run(None, {name: np.asarray(feed[name], np.int64) for name in self._inputs})
        return dict(zip(self.shapes, values, strict=True))


@dataclasses.dataclass(frozen=True)
class QuantizationLoss:
    """How far one output of two models is apart, padding left out.

    same_argmax  the share of decisions that are the same: of classes, of tokens for a span, of yes or no where there
                 is one number; None for outputs that decide nothing
    """

    largest: float
    mean: float
    same_argmax: float | None


def compare_onnx(
    one: OnnxModel, other: OnnxModel, tokens: np.ndarray, segments: np.ndarray, mask: np.ndarray
) -> dict[str, QuantizationLoss]:
    """What is lost between two files of the same model, output by output, over one batch."""
    mask = np.asarray(mask, bool)
    expected, found = one.outputs(tokens, segments, mask), other.outputs(tokens, segments, mask)
    differences = {}
    for name, value in expected.items():
        pair = (value, found[name])
        per_token = one.shapes[name][:2] == [BATCH_AXIS, LENGTH_AXIS]
        apart = np.abs(pair[0] - pair[1])[mask] if per_token else np.abs(pair[0] - pair[1])
        if not name.endswith("logits"):
            same = None
        elif per_token and value.ndim == 2 and one.description.kind == "span":
            first, second = (np.where(mask, scores, -np.inf).argmax(axis=-1) for scores in pair)
            same = float((first == second).mean())
        else:
            first, second = (_decision(scores[mask] if per_token else scores) for scores in pair)
            same = float((first == second).mean())
        differences[name] = QuantizationLoss(float(apart.max()), float(apart.mean()), same)
    return differences


def _decision(scores: np.ndarray) -> np.ndarray:
    """The best class; where there is but one number, whether it is above 0."""
    return scores.argmax(axis=-1) if scores.ndim > 1 and scores.shape[-1] > 1 else scores > 0


def _file_bytes(path: Path) -> int:
    """Bytes of a model and of the weights beside it."""
    beside = path.with_name(f"{path.name}{DATA}")
    return path.stat().st_size + (beside.stat().st_size if beside.exists() else 0)


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise UserError("onnxruntime is not installed: pip install 'bert_jax[onnx]'") from None
    return onnxruntime


@contextlib.contextmanager
def _without_advice() -> Iterator[None]:
    """Keeps onnxruntime from advising its preprocessing, which would store the tied token table twice."""

    def wanted(record: logging.LogRecord) -> bool:
        return "pre-processing" not in record.getMessage()

    root = logging.getLogger()
    root.addFilter(wanted)
    try:
        yield
    finally:
        root.removeFilter(wanted)
