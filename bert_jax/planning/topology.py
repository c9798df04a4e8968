"""Hardware by name, such as v5e:4x4, h100:2x8 or cpu:8: its chips, its network, and devices to compile for."""

import collections
import contextlib
import dataclasses
import math
import os
import re
from collections.abc import Sequence
from typing import Any

import jax
from jax.experimental import topologies

from bert_jax.chips import CHIPS, Chip
from bert_jax.errors import UserError, did_you_mean, first_line
from bert_jax.planning.gpu_targets import GPU_TARGETS, cudnn_of

EXAMPLES = "v5e:4x4, v5p:2x2x1, v6e:16, h100:8, h100:2x8 (nodes x GPUs) or cpu:8"
NAME = re.compile(r"([a-z0-9]+)[:-](\d+(?:x\d+)*)")
GPUS_OF_A_NODE = 8
SMALLEST_TORUS = 4  # chips along an axis of a cube of TPU v4 and v5p, whose ends are joined
RING_2D = 16  # chips along an axis of a v5e or v6e pod, whose ends are joined
FLAT_SHAPES = {1: (1, 1), 4: (2, 2), 8: (2, 4), 16: (4, 4), 32: (4, 8), 64: (8, 8), 128: (8, 16), 256: (16, 16)}
TPU_MEMORY_SHARE = 15.75 / 16  # of the memory, for programs: as the compiler for v5e says
GPU_MEMORY_SHARE = 0.75  # what JAX reserves
GPU_MEMORY_VARIABLE = "XLA_PYTHON_CLIENT_MEM_FRACTION"
# So that the TPU library asks no metadata server, takes no lock of a TPU, and complains of no missing host.
TPU_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_MIN_LOG_LEVEL": "3",
    "TPU_STDERR_LOG_LEVEL": "3",
}


@dataclasses.dataclass(frozen=True)
class TpuKind:
    """A generation of TPUs: its name for JAX, and the number of axes of its network."""

    chip: str
    axes: int


TPUS = {
    "v4": TpuKind("TPU v4", 3),
    "v5e": TpuKind("TPU v5 lite", 2),
    "v5p": TpuKind("TPU v5p", 3),
    "v6e": TpuKind("TPU v6 lite", 2),
}


@dataclasses.dataclass(frozen=True)
class Topology:
    """Chips and how they are joined.

    platform  tpu, cuda or cpu
    shape     sizes of the axes of a TPU's network; nodes and GPUs of a node; number of CPU devices
    """

    kind: str
    platform: str
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"{self.kind}:{'x'.join(map(str, self.shape))}"

    @property
    def size(self) -> int:
        """Number of chips."""
        return math.prod(self.shape)

    @property
    def chip(self) -> Chip | None:
        """Data sheet of its chips; None for CPUs, which differ too much."""
        if self.platform == "tpu":
            return CHIPS[TPUS[self.kind].chip]
        return CHIPS[GPU_TARGETS[self.kind].chip] if self.platform == "cuda" else None

    @property
    def usable_memory(self) -> int | None:
        """Bytes of a chip that programs and their data may take; None for a CPU."""
        chip = self.chip
        if chip is None:
            return None
        share = TPU_MEMORY_SHARE
        if self.platform == "cuda":
            share = float(os.environ.get(GPU_MEMORY_VARIABLE, GPU_MEMORY_SHARE))
        return int(chip.memory * share)

    def devices(self) -> list[Any]:
        """Return devices to compile for. Raises UserError where the compiler is not installed, or refuses the shape."""
        if self.platform == "cpu":
            devices = jax.devices("cpu")
            if len(devices) < self.size:
                raise UserError(f"{self.name}: this process has made {len(devices)} CPU devices. Start a new one")
            return list(devices[: self.size])
        return list(self._tpu_devices() if self.platform == "tpu" else self._gpu_devices())

    def compiling(self) -> contextlib.AbstractContextManager[None]:
        """Return a context in which programs for these chips are traced."""
        return cudnn_of(GPU_TARGETS[self.kind]) if self.platform == "cuda" else contextlib.nullcontext()

    def _tpu_devices(self) -> Sequence[Any]:
        for name, value in TPU_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        options: dict[str, Any] = {}
        if self.size == 1:
            options["chips_per_host_bounds"] = (1, 1, 1)
        if self.kind == "v4":
            options["chip_config_name"] = "megacore"  # one device a chip
        try:
            return topologies.get_topology_desc(platform="tpu", topology_name=self.name, **options).devices
        except (RuntimeError, ImportError) as error:
            if isinstance(error, jax.errors.JaxRuntimeError) and "libtpu" not in str(error):
                raise UserError(f"{self.name}: {first_line(error)}. Choose a shape such as {EXAMPLES}") from None
            raise UserError(_missing(self.name, "TPUs", "tpu")) from None

    def _gpu_devices(self) -> Sequence[Any]:
        nodes, gpus = self.shape
        try:
            return topologies.get_topology_desc(
                platform="cuda", target_config=GPU_TARGETS[self.kind].text, topology=f"{nodes}x1x{gpus}"
            ).devices
        except (RuntimeError, ImportError, NotImplementedError):
            raise UserError(_missing(self.name, "GPUs", "gpu")) from None

    def bandwidth(self, devices: Sequence[Any]) -> float:
        """Return the bytes/s that each device of a group can send in a ring over the group, at best.

        A TPU sends along every axis that the group goes along, in both directions where its ends are joined. GPUs of
        several nodes share the network cards of their nodes.
        """
        chip = self.chip
        assert chip is not None
        if self.platform == "tpu":
            return sum(chip.link * (2 if is_ring else 1) for _, is_ring in self._extents(devices)) or chip.link
        nodes = collections.Counter(device.id // self.shape[1] for device in devices)
        if len(nodes) == 1:
            return chip.link
        assert chip.network is not None
        return min(chip.link, max(nodes.values()) * chip.network)

    def hops(self, devices: Sequence[Any]) -> int:
        """Return the number of links of a TPU's network that a value crosses to reach a whole group."""
        if self.platform != "tpu":
            return 0
        return sum(extent // 2 if is_ring else extent - 1 for extent, is_ring in self._extents(devices))

    def _extents(self, devices: Sequence[Any]) -> list[tuple[int, bool]]:
        """Return for each axis of a TPU's network that a group goes along: chips, and whether its ends are joined."""
        extents = []
        for axis, size in enumerate(self.shape):
            extent = len({device.coords[axis] for device in devices})
            if extent > 1:
                extents.append((extent, extent == size and self._is_ring(axis)))
        return extents

    def _is_ring(self, axis: int) -> bool:
        """Return whether the ends of an axis are joined: cloud.google.com/tpu/docs, v5e and v5p, interconnect."""
        if TPUS[self.kind].axes == 2:
            return self.shape[axis] == RING_2D
        return all(size % SMALLEST_TORUS == 0 for size in self.shape)


def parse_topology(text: str) -> Topology:
    """Return the hardware of this name. Raises UserError for one that is unknown or that does not exist."""
    match = NAME.fullmatch(text.strip().lower())
    known = [*TPUS, *GPU_TARGETS, "cpu"]
    if match is None:
        raise UserError(f"topology {text!r} is none. Use one such as {EXAMPLES}")
    kind, sizes = match[1], tuple(int(size) for size in match[2].split("x"))
    if kind not in known:
        raise UserError(f"topology {text!r}: {did_you_mean(kind, known, 'known chips: ' + ', '.join(known))}")
    if min(sizes) < 1:
        raise UserError(f"topology {text!r}: sizes must be positive")
    if kind in TPUS:
        return Topology(kind, "tpu", _tpu_shape(text, kind, sizes))
    if kind == "cpu":
        if len(sizes) > 1:
            raise UserError(f"topology {text!r}: give the number of CPU devices, as cpu:8")
        return Topology(kind, "cpu", sizes)
    if len(sizes) == 1:
        nodes, rest = divmod(sizes[0], GPUS_OF_A_NODE)
        if sizes[0] > GPUS_OF_A_NODE and rest:
            raise UserError(
                f"topology {text!r}: a node has up to {GPUS_OF_A_NODE} GPUs. Give nodes x GPUs, as {kind}:3x4"
            )
        sizes = (nodes, GPUS_OF_A_NODE) if sizes[0] > GPUS_OF_A_NODE else (1, sizes[0])
    if len(sizes) > 2:
        raise UserError(f"topology {text!r}: give nodes x GPUs, as {kind}:2x8")
    return Topology(kind, "cuda", sizes)


def _tpu_shape(text: str, kind: str, sizes: tuple[int, ...]) -> tuple[int, ...]:
    axes = TPUS[kind].axes
    if len(sizes) == 1 and axes == 2:
        if sizes[0] not in FLAT_SHAPES:
            raise UserError(f"topology {text!r}: slices of {kind} have {', '.join(map(str, FLAT_SHAPES))} chips")
        return FLAT_SHAPES[sizes[0]]
    if len(sizes) != axes:
        shape = "2x2x1" if axes == 3 else "4x4"
        raise UserError(f"topology {text!r}: the network of {kind} has {axes} axes. Give its shape, as {kind}:{shape}")
    return sizes


def _missing(name: str, chips: str, extra: str) -> str:
    return (
        f"{name}: the compiler for {chips} is not installed. Install the extra {extra}, as in "
        f"pip install '.[{extra}]', in an environment of its own: no {chips[:-1]} is needed"
    )
