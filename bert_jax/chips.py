"""Chips by the name that JAX gives them: peak FLOP/s, memory, bandwidth and links. Standard library only.

All figures are those of the makers' data sheets, without sparsity. TPUs: cloud.google.com/tpu/docs/v4, v5e, v5p and
v6e. GPUs: the data sheet at nvidia.com that the comment names.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Chip:
    """Peak performance of a chip.

    flops      FLOP/s in dense bfloat16 matrix products (V100: float16)
    memory     bytes
    bandwidth  bytes/s between memory and chip
    link       bytes/s in one direction: of one link of a TPU, or from a GPU to all others of its node
    network    bytes/s in one direction from a GPU to other nodes, in the maker's machines (DGX); None: there is none
    """

    flops: float
    memory: float
    bandwidth: float
    link: float
    network: float | None = None


GIB = 1 << 30
PCIE4, PCIE5 = 32e9, 64e9  # 16 lanes
CHIPS = {
    # Inter-chip bandwidth is given for all ports together: 2400 Gb/s over 6, 1600 over 4, 4800 over 6, 3200 over 4.
    "TPU v4": Chip(275e12, 32 * GIB, 1228e9, 50e9),
    "TPU v5 lite": Chip(197e12, 16 * GIB, 819e9, 50e9),
    "TPU v5": Chip(459e12, 95 * GIB, 2765e9, 100e9),
    "TPU v5p": Chip(459e12, 95 * GIB, 2765e9, 100e9),
    "TPU v6 lite": Chip(918e12, 32 * GIB, 1640e9, 100e9),
    # NVIDIA V100 and A100 Tensor Core GPU
    "Tesla V100": Chip(125e12, 32e9, 900e9, 150e9, 12.5e9),
    "NVIDIA A100": Chip(312e12, 80e9, 2039e9, 300e9, 25e9),
    "NVIDIA A100-SXM4-40GB": Chip(312e12, 40e9, 1555e9, 300e9, 25e9),
    "NVIDIA A100-PCIE-40GB": Chip(312e12, 40e9, 1555e9, PCIE4),
    "NVIDIA A100 80GB PCIe": Chip(312e12, 80e9, 1935e9, PCIE4),
    # NVIDIA H100 Tensor Core GPU; the PCIe card: H100 PCIe product brief PB-11133; H100 NVL product brief PB-11773
    "NVIDIA H100": Chip(989e12, 80e9, 3350e9, 450e9, 50e9),
    "NVIDIA H100 PCIe": Chip(756e12, 80e9, 2000e9, PCIE5),
    "NVIDIA H100 NVL": Chip(835e12, 94e9, 3900e9, PCIE5),
    # NVIDIA H200 Tensor Core GPU
    "NVIDIA H200": Chip(989e12, 141e9, 4800e9, 450e9, 50e9),
    "NVIDIA H200 NVL": Chip(835e12, 141e9, 4800e9, PCIE5),
    # NVIDIA GH200 Grace Hopper Superchip, 96 GB of HBM3; the other one has 144 GB of HBM3e
    "NVIDIA GH200": Chip(989e12, 96e9, 4000e9, 450e9, 50e9),
    "NVIDIA GH200 144G HBM3e": Chip(989e12, 144e9, 4900e9, 450e9, 50e9),
    # NVIDIA DGX B200 and GB200 NVL72, for each GPU
    "NVIDIA B200": Chip(2250e12, 180e9, 8000e9, 900e9, 50e9),
    "NVIDIA GB200": Chip(2500e12, 186e9, 8000e9, 900e9, 50e9),
    # NVIDIA L4, L40, L40S and A10 Tensor Core GPU
    "NVIDIA L4": Chip(121e12, 24e9, 300e9, PCIE4),
    "NVIDIA L40": Chip(181e12, 48e9, 864e9, PCIE4),
    "NVIDIA L40S": Chip(362e12, 48e9, 864e9, PCIE4),
    "NVIDIA A10": Chip(125e12, 24e9, 600e9, PCIE4),
}


def find_chip(kind: str) -> Chip | None:
    """Return the chip of a JAX device kind, or None for one that is not in the table, as every CPU.

    The longest name that begins `kind` counts, where a whole word ends: an L40S is no L4, an A10G no A10.
    """
    names = [name for name in CHIPS if kind.startswith(name) and not kind[len(name) : len(name) + 1].isalnum()]
    return CHIPS[max(names, key=len)] if names else None
