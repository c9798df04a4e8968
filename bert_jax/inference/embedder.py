"""Texts to vectors: `bert_jax.load_embedder(path).embed(texts)`."""

from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from bert_jax import hosts
from bert_jax.config import MeshConfig
from bert_jax.convert.pretrained import Pretrained
from bert_jax.convert.rules import unflatten
from bert_jax.convert.source import read_model
from bert_jax.data.encoded import encode_rows
from bert_jax.data.rows import rows_of
from bert_jax.errors import UserError
from bert_jax.inference.outputs import predict_rows
from bert_jax.sharding import make_mesh
from bert_jax.tasks.reading import POOLINGS, EmbeddingTask
from bert_jax.train.program import Program


class Embedder:
    """An encoder that gives one vector a text. `pooling` None: the model's own where it says one, else the mean.

    Vectors have length 1 where asked, or where the model's own do. The model's default prompt stands before each text.
    """

    def __init__(
        self,
        pretrained: Pretrained,
        *,
        pooling: str | None = None,
        normalize: bool = False,
        dtype: jax.typing.DTypeLike = jnp.float32,
    ) -> None:
        said = pretrained.origin.get("embedding", {})
        self.pooling = pooling or said.get("pooling", "mean")
        self.normalize = normalize or said.get("normalize", False)
        self.prompt = said.get("prompt", "")
        if self.pooling not in POOLINGS:
            raise UserError(f"unknown pooling {self.pooling!r}; known: {', '.join(POOLINGS)}")
        if pretrained.tokenizer is None:
            raise UserError(f"{pretrained.where}: no tokenizer beside the weights. Put its files there")
        self.tokenizer, self.max_length = pretrained.tokenizer, pretrained.max_length
        task = EmbeddingTask(pretrained.model, dtype, self.pooling, self.normalize)
        self.program = Program(task, make_mesh(MeshConfig(data=1)))
        encoder = {**unflatten(pretrained.params)["encoder"]}
        encoder.pop("pooler", None)
        self.params = self.program.place_params({"encoder": encoder})

    def embed(self, texts: Sequence[str], *, batch_size: int = 64) -> np.ndarray:
        """Vectors (texts, D), float32, in order. Texts longer than `max_length` are cut."""
        rows = rows_of([self.prompt + text for text in texts])
        if not len(rows):
            return np.empty((0, self.program.task.model.width), np.float32)
        return predict_rows(self.program, self.params, encode_rows(rows, self.tokenizer, self.max_length), batch_size)


def load_embedder(path: str | Path, *, pooling: str | None = None, normalize: bool = False) -> Embedder:
    """The encoder at `path`: a run folder, one of its checkpoints, or a foreign folder."""
    hosts.prepare()
    return Embedder(read_model(Path(path)), pooling=pooling, normalize=normalize)
