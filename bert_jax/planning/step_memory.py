"""Bytes of a step on one chip, by kind."""

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from bert_jax.sharding import batch_shards
from bert_jax.train.program import Program

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
# Messages of the compiler for TPUs. One gives all that the program needs, the other its temporaries.
ALL_USED = re.compile(r"Used ([\d.]+)([KMGT]?) of [\d.]+[KMGT]? hbm")
TEMPORARIES = re.compile(r"HLO temporaries \(([\d.]+)([KMGT]?)\) exceeds available HBM")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChipMemory:
    """Bytes of a step on one chip.

    optimizer    state of the optimizer; an average of the weights, too
    temporaries  of the larger one of the two programs, mostly activations
    code         of both programs; 0 where the compiler does not say
    """

    parameters: int
    optimizer: int
    gradients: int
    batch: int
    temporaries: int
    code: int

    @property
    def total(self) -> int:
        return sum(dataclasses.astuple(self))


@dataclasses.dataclass(frozen=True)
class Refusal:
    """Bytes of a program that the compiler has refused for want of memory: of all of it, or of its temporaries."""

    used: int | None = None
    temporaries: int | None = None


def refusal(error: Exception) -> Refusal | None:
    """Return the refusal that a compiler's error stands for, or None for another error."""
    if match := ALL_USED.search(str(error)):
        return Refusal(used=_size(match))
    if match := TEMPORARIES.search(str(error)):
        return Refusal(temporaries=_size(match))
    return None


def _size(match: re.Match[str]) -> int:
    return int(float(match[1]) * UNITS[match[2]])


def shard_bytes(tree: Any) -> int:
    """Return the bytes of the arrays of a tree on one chip."""
    leaves = jax.tree.leaves(tree)
    return sum(math.prod(leaf.sharding.shard_shape(leaf.shape)) * np.dtype(leaf.dtype).itemsize for leaf in leaves)


def state_memory(program: Program, batch: Mapping[str, jax.ShapeDtypeStruct]) -> ChipMemory:
    """Return the memory of what a step is given and returns, as its shardings say, without temporaries and code."""
    whole = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in batch.values())
    parameters = shard_bytes(program.state.params)
    return ChipMemory(
        parameters=parameters,
        optimizer=shard_bytes(program.state) - parameters,
        gradients=shard_bytes(program.gradient_shapes),
        batch=whole // batch_shards(program.mesh),
        temporaries=0,
        code=0,
    )


def compiled_memory(stated: ChipMemory, gradients: Any, update: Any) -> ChipMemory:
    """Return the memory from the analyses of both compiled programs, whose arrays may be padded to whole tiles."""
    written = gradients.output_size_in_bytes
    state = update.argument_size_in_bytes - written
    return ChipMemory(
        parameters=stated.parameters,
        optimizer=max(state - stated.parameters, 0),
        gradients=written,
        batch=max(gradients.argument_size_in_bytes - stated.parameters, 0),
        temporaries=max(gradients.temp_size_in_bytes, update.temp_size_in_bytes),
        code=gradients.generated_code_size_in_bytes + update.generated_code_size_in_bytes,
    )


def refused_memory(stated: ChipMemory, refused: Refusal) -> ChipMemory:
    """Return the memory of a step whose gradient program was refused. Its code may count as temporaries."""
    temporaries = refused.temporaries
    if temporaries is None:
        held = stated.parameters + stated.batch + stated.gradients
        temporaries = max((refused.used or 0) - held, 0)
    return dataclasses.replace(stated, temporaries=temporaries)
