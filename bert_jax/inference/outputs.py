"""Model outputs for encoded rows, computed by JAX or onnxruntime."""

import collections
from collections.abc import Callable, Iterator

import jax
import numpy as np

from bert_jax.config import MeshConfig
from bert_jax.convert.export.onnx_file import OnnxModel
from bert_jax.data.batches import prediction_batches
from bert_jax.data.encoded import Encoded
from bert_jax.pretrained import Pretrained
from bert_jax.progress import Progress
from bert_jax.sharding import batch_shards, make_mesh
from bert_jax.tasks.finetuning_task import make_task
from bert_jax.train.program import Params, Program
from bert_jax.trees import unflatten

# Maps rows and a batch size to outputs: (rows, outputs), or (tokens, outputs) in the order of `Encoded.tokens` if the
# head has an output for every token.
LogitFunction = Callable[[Encoded, int], np.ndarray]
COMPUTING = "computing"
MAX_QUEUED_BATCHES = 8  # batches dispatched before the outputs of the first are awaited


def jax_compute(about: Pretrained) -> LogitFunction:
    """Return a function that runs the model on JAX's first device."""
    task = make_task(about.kind, about.model, about.outputs, about.problem)
    program = Program(task, make_mesh(MeshConfig(data=1)))
    params = unflatten(about.params)
    if "pooler" not in program.params["encoder"]:
        params["encoder"].pop("pooler", None)  # stored with the model, unused by the head
    placed = program.place_params(params)
    return lambda encoded, batch_size: predict_rows(program, placed, encoded, batch_size)


def onnx_compute(model: OnnxModel) -> LogitFunction:
    """Return a function that runs the model with onnxruntime on the CPU."""

    def compute(encoded: Encoded, batch_size: int) -> np.ndarray:
        collected, lengths = OutputCollector(encoded), encoded.lengths
        with Progress(COMPUTING, len(encoded.tokens), has_line=False) as progress:
            for rows, _, named in onnx_outputs(model, encoded, batch_size):
                if "logits" in named:
                    logits = named["logits"]
                else:  # a span head
                    logits = np.stack([named["start_logits"], named["end_logits"]], axis=-1)
                collected.add(rows, logits)
                progress.advance(int(lengths[rows].sum()))
        return collected.values

    return compute


def onnx_outputs(
    model: OnnxModel, encoded: Encoded, batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]]:
    """Yield the row indices of each batch, its mask, and the outputs by name. Padding rows may follow the real ones."""
    for rows, batch in prediction_batches(encoded, batch_size):
        place = np.arange(batch["tokens"].shape[1])
        mask = place < batch["length"][:, None]
        segments = (place >= batch["segment_b"][:, None]) & mask
        yield rows, mask, model.outputs(batch["tokens"], segments, mask)


def predict_rows(
    program: Program, params: Params, encoded: Encoded, batch_size: int, shapes: int | None = None
) -> np.ndarray:
    """Return the model outputs for each row, or each token, in their order. Computes the longest rows first.

    shapes  see prediction_batches
    """
    collected, lengths = OutputCollector(encoded), encoded.lengths
    waiting: collections.deque[tuple[np.ndarray, jax.Array]] = collections.deque()

    def collect() -> None:
        rows, outputs = waiting.popleft()
        collected.add(rows, np.asarray(outputs))
        progress.advance(int(lengths[rows].sum()))

    with Progress(COMPUTING, len(encoded.tokens), has_line=False) as progress:
        for rows, batch in prediction_batches(encoded, batch_size, shapes, batch_shards(program.mesh)):
            waiting.append((rows, program.outputs(params, program.place(batch))))
            if len(waiting) > MAX_QUEUED_BATCHES:
                collect()
        while waiting:
            collect()
    return collected.values


class OutputCollector:
    """Puts outputs of batches in the order of the rows: (rows, outputs), or (tokens, outputs) for B L C batches."""

    def __init__(self, encoded: Encoded) -> None:
        self.encoded = encoded
        self.values = np.empty((0, 1), np.float32)

    def add(self, rows: np.ndarray, outputs: np.ndarray) -> None:
        """Add the outputs of a batch that begins with `rows`; its remaining rows are padding."""
        outputs = outputs[: len(rows)]
        per_token = outputs.ndim == 3
        if not len(self.values):
            size = len(self.encoded.tokens) if per_token else len(self.encoded)
            self.values = np.empty((size, outputs.shape[-1]), np.float32)
        if not per_token:
            self.values[rows] = outputs
            return
        is_token = np.arange(outputs.shape[1]) < self.encoded.lengths[rows][:, None]
        at = self.encoded.offsets[rows][:, None] + np.arange(outputs.shape[1])
        self.values[at[is_token]] = outputs[is_token]
