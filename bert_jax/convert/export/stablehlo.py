"""A model as a StableHLO program of any batch and length, for every platform of JAX: jax.export.

The program takes the weights as its first argument; they lie beside it as safetensors. As constants within, those of
bert-base make exporting six times as slow and compiling too, and take three times the memory.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from bert_jax.convert.export.exported import exported_outputs, read_description, write_beside
from bert_jax.convert.hugging_face.weight_files import open_weights, write_weights
from bert_jax.errors import UserError
from bert_jax.files import read_bytes
from bert_jax.pretrained import Pretrained, module_of
from bert_jax.trees import unflatten

PROGRAM = "model.stablehlo"
PLATFORMS = ("cpu", "cuda", "tpu")


def write_stablehlo(pretrained: Pretrained, folder: Path) -> Path:
    """`folder` has the program, its weights (model.safetensors), tokenizer and description. Returns the program's path.

    jax.export.deserialize reads it; its arguments are the weights by name, float32, then tokens and segments, int32,
    and the mask, bool, each (batch, length). JAX promises to read it for six months after the version that wrote it.
    """

    def apply(
        params: dict[str, jax.Array], tokens: jax.Array, segments: jax.Array, mask: jax.Array
    ) -> dict[str, jax.Array]:
        return exported_outputs(pretrained, module_of(pretrained, unflatten(params)), tokens, segments, mask)

    weights = {path: np.asarray(value, np.float32) for path, value in pretrained.params.items()}
    abstract = {path: jax.ShapeDtypeStruct(value.shape, value.dtype) for path, value in weights.items()}
    limit = f"length <= {pretrained.model.max_length}"
    shape = export.symbolic_shape("batch, length", constraints=[limit])
    numbers, booleans = jax.ShapeDtypeStruct(shape, jnp.int32), jax.ShapeDtypeStruct(shape, jnp.bool_)
    exported = export.export(jax.jit(apply), platforms=PLATFORMS)(abstract, numbers, numbers, booleans)
    write_beside(pretrained, folder)
    write_weights(folder, weights)
    path = folder / PROGRAM
    path.write_bytes(exported.serialize())
    return path


class StableHLOModel:
    """A program read back, ready to run on JAX's devices; each new shape of batch is compiled once."""

    def __init__(self, path: Path) -> None:
        """`path` is the program, or the folder it lies in."""
        self.path = path / PROGRAM if path.is_dir() else path
        try:
            program = read_bytes(self.path)
        except UserError as error:
            raise UserError(f"{error}. `write_stablehlo` makes one") from None
        try:
            self._exported = export.deserialize(bytearray(program))
        except Exception as error:  # whatever the bytes lead its reader to
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(f"{self.path}: this version of JAX does not read it: {reason}. Export again") from None
        folder = self.path.parent
        self.description = read_description(folder)
        weights = open_weights(folder)
        self._check_weights(set(weights), str(weights.source))
        self._params = {name: jnp.asarray(weights.read(name)) for name in weights}
        self._call = jax.jit(self._exported.call)

    def outputs(self, tokens: np.ndarray, segments: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
        """All outputs by name, float32, of one batch. `mask` is True where there is a token."""
        self.description.check_batch(tokens, str(self.path))
        numbers = (np.asarray(tokens, np.int32), np.asarray(segments, np.int32))
        found = self._call(self._params, *numbers, np.asarray(mask, bool))
        return {name: np.asarray(value) for name, value in found.items()}

    def _check_weights(self, there: set[str], where: str) -> None:
        arguments, _ = jax.tree.unflatten(self._exported.in_tree, self._exported.in_avals)
        missing = sorted(arguments[0].keys() ^ there)
        if missing:
            raise UserError(f"{where}: not the weights of {self.path.name}: {', '.join(missing[:5])}. Export again")


def read_stablehlo(path: Path) -> StableHLOModel:
    """The program at `path`, ready to run."""
    return StableHLOModel(path)
