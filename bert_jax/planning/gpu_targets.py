"""Descriptions of GPUs that XLA compiles for without one: the text form of its message GpuTargetConfig."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any
from unittest import mock

CUDNN, CUDA = (9, 12), (12, 9)  # versions of the libraries, major and minor


@dataclasses.dataclass(frozen=True, kw_only=True)
class GpuTarget:
    """Properties of a GPU that XLA compiles by, in bytes and bytes/s. `chip` is its name in bert_jax.chips."""

    chip: str
    capability: tuple[int, int]
    cores: int
    memory: int
    bandwidth: int
    l2_cache: int
    shared_memory: int  # of a core
    block_shared_memory: int  # of a block, at most
    clock_ghz: float

    @property
    def text(self) -> str:
        major, minor = self.capability
        return f"""
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: {self.shared_memory}
  threads_per_core_limit: 2048
  core_count: {self.cores}
  fpus_per_core: {128 if major > 8 else 64}
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {self.bandwidth}
  l2_cache_size: {self.l2_cache}
  clock_rate_ghz: {self.clock_ghz}
  device_memory_size: {self.memory}
  shared_memory_per_block_optin: {self.block_shared_memory}
  cuda_compute_capability {{ major: {major} minor: {minor} }}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}}
platform_name: "CUDA"
dnn_version_info {{ major: {CUDNN[0]} minor: {CUDNN[1]} }}
runtime_version {{ major: {CUDA[0]} minor: {CUDA[1]} }}
device_description_str: "{self.chip}"
"""


# Sizes as the CUDA driver reports them.
H100 = GpuTarget(
    chip="NVIDIA H100",
    capability=(9, 0),
    cores=132,
    memory=84_929_347_584,
    bandwidth=3_352_320_000_000,
    l2_cache=52_428_800,
    shared_memory=233_472,
    block_shared_memory=232_448,
    clock_ghz=1.98,
)
GPU_TARGETS = {
    "h100": H100,
    "h200": dataclasses.replace(H100, chip="NVIDIA H200", memory=150_754_820_096, bandwidth=4_916_736_000_000),
    "a100": GpuTarget(
        chip="NVIDIA A100",
        capability=(8, 0),
        cores=108,
        memory=85_100_000_000,
        bandwidth=2_039_000_000_000,
        l2_cache=41_943_040,
        shared_memory=167_936,
        block_shared_memory=166_912,
        clock_ghz=1.41,
    ),
}


@contextlib.contextmanager
def cudnn_of(target: GpuTarget) -> Iterator[None]:
    """Let JAX compile cuDNN's attention for a GPU that is not here: it would ask a live one for its versions."""
    from jax._src.cudnn import fused_attention_stablehlo as attention

    def capability(text: str) -> tuple[int, ...]:
        return tuple(int(part) for part in text.split("."))

    major, minor = CUDNN
    answers: dict[str, Any] = {
        "check_cudnn_version": lambda: 10_000 * major + 100 * minor,
        "check_compute_capability": lambda least: target.capability >= capability(least),
        "is_cuda_compute_capability_equal": lambda other: target.capability == capability(other),
    }
    known = {name: answer for name, answer in answers.items() if hasattr(attention, name)}
    with mock.patch.multiple(attention, spec=None, **known):
        yield
