"""Text embeddings: `bert_jax.load_embedder(path).embed(texts)`."""

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from bert_jax.config import MeshConfig
from bert_jax.convert.export.onnx_file import OnnxModel
from bert_jax.convert.source import read_model
from bert_jax.data.encoded import Encoded, encode_rows
from bert_jax.data.labelled.rows import rows_of
from bert_jax.errors import UserError
from bert_jax.inference.loading import is_onnx, read_onnx
from bert_jax.inference.outputs import OutputCollector, onnx_outputs, predict_rows
from bert_jax.model.compute import Compute
from bert_jax.model.pooling import COMPARED_POOLINGS
from bert_jax.model.vectors import VectorConfig, unit
from bert_jax.pretrained import Pretrained
from bert_jax.process_setup import set_up_process
from bert_jax.sharding import make_mesh
from bert_jax.tasks.embedding_task import EmbeddingTask, PoolingsTask
from bert_jax.train.program import Program
from bert_jax.trees import unflatten
from bert_jax.wording import article

# Maps rows, the number of leading tokens not to pool, and a batch size to vectors in the order of the rows.
MakeVectors = Callable[[Encoded, int, int], np.ndarray]
# Maps vector settings to a function that computes vectors.
Runner = Callable[[VectorConfig], MakeVectors]


class Embedder:
    """An encoder that returns one vector for each text.

    vectors     settings of the vectors
    guessed     whether these are defaults: neither the model nor the caller specified them
    max_length  tokens that a text with its prompt is cut to; the model reads at most `most_tokens`
    width       size of a vector
    """

    def __init__(
        self,
        about: Pretrained,
        runner: Runner | None = None,
        *,
        pooling: str | Sequence[str] | None = None,
        normalize: bool = False,
        max_length: int | None = None,
        compute: Compute = Compute(),
    ) -> None:
        """Create an embedder. Settings default to those of the model, and to mean pooling if it has none.

        runner  runs the model if `about` has no parameters, as for ONNX
        """
        self.where, self.tokenizer = about.where, about.require_tokenizer()
        self.guessed = about.vectors is None and not pooling
        self.vectors = about.vectors or VectorConfig()
        if pooling:
            names = (pooling,) if isinstance(pooling, str) else tuple(pooling)
            self.vectors = dataclasses.replace(self.vectors, pooling=names)
        self.max_length = about.vector_length if max_length is None else max_length
        self.most_tokens = about.model.max_length
        if not 3 <= self.max_length <= self.most_tokens:
            raise UserError(f"max_length {self.max_length}: {self.where} reads 3 to {self.most_tokens} tokens")
        self.width = self.vectors.entries(about.model.width)
        self._make = (runner or functools.partial(_by_jax, about, compute))(self.vectors)
        self._normalize = normalize

    def prompt(self, *, name: str | None = None, text: str | None = None) -> str:
        """Return the prompt called `name`, or `text` itself, or by default the model's default prompt."""
        if name is not None and text is not None:
            raise UserError(f"the prompt named {name!r} and the prompt {text!r}: give only one")
        if text is not None:
            return text
        return self.vectors.prompt_text(self.vectors.prompt if name is None else name)

    def encode(self, texts: Sequence[str], prompt: str = "") -> Encoded:
        """Tokenize the texts, each after the prompt, cut to `max_length` tokens."""
        return encode_rows(rows_of([prompt + text for text in rows_of(texts).texts]), self.tokenizer, self.max_length)

    def vectors_of(self, encoded: Encoded, prompt: str = "", *, batch_size: int = 64) -> np.ndarray:
        """Return the vectors of texts that were encoded with `prompt`, in order: (texts, width), float32."""
        if not len(encoded):
            return np.empty((0, self.width), np.float32)
        vectors = self._make(encoded, self._first_pooled(prompt), batch_size)
        return np.asarray(unit(jnp.asarray(vectors))) if self._normalize else vectors

    def embed(
        self,
        texts: str | Sequence[str],
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 64,
    ) -> np.ndarray:
        """Return one vector for each text, in order: (texts, width), float32; for a single text, its vector (width).

        Texts longer than `max_length` are cut.
        """
        if isinstance(texts, str):
            return self.embed([texts], prompt_name=prompt_name, prompt=prompt, batch_size=batch_size)[0]
        before = self.prompt(name=prompt_name, text=prompt)
        return self.vectors_of(self.encode(texts, before), before, batch_size=batch_size)

    def _first_pooled(self, prompt: str) -> int:
        """Return the number of leading tokens that are not pooled: [CLS] and a prompt, unless the model pools prompts.

        The tokens of the prompt are counted on its own, as in sentence-transformers.
        """
        if self.vectors.include_prompt or not prompt:
            return 0
        return int(self.encode([prompt]).lengths[0]) - 1


class PoolingComparison:
    """An encoder whose vectors by all poolings come from one pass: its own, and those of COMPARED_POOLINGS."""

    def __init__(self, about: Pretrained) -> None:
        self._width = about.model.width
        self.embedder = Embedder(about, functools.partial(_by_jax, about, Compute(), task=PoolingsTask))

    def vectors_of(self, encoded: Encoded, prompt: str = "", *, batch_size: int = 64) -> list[np.ndarray]:
        """Return the vectors of the encoder's own pooling, and then of each of COMPARED_POOLINGS, not normalised."""
        side_by_side = self.embedder.vectors_of(encoded, prompt, batch_size=batch_size)
        ends = self.embedder.width + self._width * np.arange(len(COMPARED_POOLINGS))
        return np.split(side_by_side, ends, axis=1)


def _by_jax(
    about: Pretrained, compute: Compute, vectors: VectorConfig, task: type[EmbeddingTask] = EmbeddingTask
) -> MakeVectors:
    """Return a function that runs the encoder on JAX's first device."""
    mesh = make_mesh(MeshConfig(data=1))
    encoder = {name: part for name, part in unflatten(about.params)["encoder"].items() if name != "pooler"}

    @functools.cache
    def program(first: int) -> Program:
        return Program(task(about.model, compute, vectors, first), mesh)

    placed = program(0).place_params({"encoder": encoder})

    def make(encoded: Encoded, first: int, batch_size: int) -> np.ndarray:
        return predict_rows(program(first), placed, encoded, batch_size)

    return make


def _by_onnx(model: OnnxModel, vectors: VectorConfig) -> MakeVectors:
    """Return a function that runs the encoder with onnxruntime, and pools its hidden states with JAX."""
    pool = jax.jit(vectors.of, static_argnums=2)

    def make(encoded: Encoded, first: int, batch_size: int) -> np.ndarray:
        collected = OutputCollector(encoded)
        for rows, mask, named in onnx_outputs(model, encoded, batch_size):
            collected.add(rows, np.asarray(pool(named["last_hidden_state"], mask, first)))
        return collected.values

    return make


def load_embedder(
    path: str | os.PathLike[str],
    *,
    pooling: str | Sequence[str] | None = None,
    normalize: bool = False,
    max_length: int | None = None,
) -> Embedder:
    """Load the encoder at `path`: a run folder, one of its checkpoints, a foreign folder, or the ONNX of an encoder.

    pooling     replaces the model's own: a key of `bert_jax.model.pooling.POOLINGS`, or several, concatenated
    normalize   scale vectors to length 1, even if the model does not
    max_length  tokens that a text is cut to, in place of the model's own limit
    """
    path = Path(path)
    set_up_process()
    if not is_onnx(path):
        return Embedder(read_model(path), pooling=pooling, normalize=normalize, max_length=max_length)
    about, model = read_onnx(path)
    if "last_hidden_state" not in model.shapes:
        raise UserError(
            f"{path}: the ONNX of {article(about.kind)} model, without hidden states. Embed the model that it was "
            "exported from, or convert that --to sentence-transformers, and the result --to onnx"
        )
    runner = functools.partial(_by_onnx, model)
    return Embedder(about, runner, pooling=pooling, normalize=normalize, max_length=max_length)


def load_pooling_comparison(path: str | os.PathLike[str]) -> PoolingComparison:
    """Load the encoder at `path` to compare its poolings. Raises UserError for ONNX, which has the last layer alone."""
    path = Path(path)
    set_up_process()
    if is_onnx(path):
        raise UserError(
            f"--compare-poolings: {path} has the states of the last layer alone. Score the model that it was exported "
            "from, or leave the flag out"
        )
    return PoolingComparison(read_model(path))
