"""Export a model with jax.export as a StableHLO program for any batch size and length and all of JAX's platforms.

The weights are the first argument of the program and are stored beside it as safetensors. As constants of the program,
the weights of bert-base made export and compilation six times slower and took three times the memory.
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
    """Write the program, its weights (model.safetensors), tokenizer and description to `folder`.

    Returns the program's path. jax.export.deserialize reads it. Its arguments are a dict of the weights, float32, then
    tokens and segments, int32, and the mask, bool, each (batch, length). JAX guarantees to read it for six months after
    the version that wrote it.
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
    """An exported program, ready to run on JAX's devices. Each new batch shape is compiled once."""

    def __init__(self, path: Path) -> None:
        """Open `path`, the program or its folder."""
        self.path = path / PROGRAM if path.is_dir() else path
        try:
            program = read_bytes(self.path)
        except UserError as error:
            raise UserError(f"{error}. `write_stablehlo` makes one") from None
        try:
            self._exported = export.deserialize(bytearray(program))
        except Exception as error:  # its reader raises many types on damaged bytes
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(f"{self.path}: this version of JAX does not read it: {reason}. Export again") from None
        folder = self.path.parent
        self.description = read_description(folder)
        weights = open_weights(folder)
        self._check_weights(set(weights), str(weights.source))
        self._params = {name: jnp.asarray(weights.read(name)) for name in weights}
        self._call = jax.jit(self._exported.call)

    def outputs(self, tokens: np.ndarray, segments: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
        """Return all outputs of one batch by name, float32. `mask` is True where there is a token."""
        self.description.check_batch(tokens, str(self.path))
        numbers = (np.asarray(tokens, np.int32), np.asarray(segments, np.int32))
        outputs = self._call(self._params, *numbers, np.asarray(mask, bool))
        return {name: np.asarray(value) for name, value in outputs.items()}

    def _check_weights(self, names: set[str], where: str) -> None:
        """Raise UserError where the program takes other weights than the file beside it has."""
        arguments, _ = jax.tree.unflatten(self._exported.in_tree, self._exported.in_avals)
        differing = sorted(arguments[0].keys() ^ names)
        if differing:
            raise UserError(f"{where}: not the weights of {self.path.name}: {', '.join(differing[:5])}. Export again")
