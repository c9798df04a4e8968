"""Chips by the name that JAX gives them."""

import types

import pytest

from bert_jax.chips import CHIPS, find_chip
from bert_jax.train.flops import peak_flops


@pytest.mark.parametrize(
    ("kind", "teraflops"),
    [
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362),
        ("NVIDIA L40", 181),
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H100 NVL", 835),
        ("NVIDIA H200", 989),
        ("NVIDIA H200 NVL", 835),
        ("NVIDIA GH200 480GB", 989),
        ("NVIDIA B200", 2250),
        ("NVIDIA GB200", 2500),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A100 80GB PCIe", 312),
        ("NVIDIA A10", 125),
        ("Tesla V100-SXM2-16GB", 125),
        ("TPU v4", 275),
        ("TPU v5", 459),
        ("TPU v5p", 459),
        ("TPU v5 lite", 197),
        ("TPU v6 lite", 918),
    ],
)
def test_a_chip_is_found_by_whole_words_of_its_name(kind, teraflops):
    chip = find_chip(kind)
    assert chip is not None and chip.flops == teraflops * 1e12
    assert peak_flops([types.SimpleNamespace(device_kind=kind)] * 3) == 3e12 * teraflops


@pytest.mark.parametrize("kind", ["cpu", "NVIDIA A10G", "NVIDIA H20", "TPU v50", "NVIDIA L"])
def test_a_chip_that_is_not_in_the_table_has_no_figures(kind):
    assert find_chip(kind) is None
    assert peak_flops([types.SimpleNamespace(device_kind=kind)]) is None


def test_memory_of_an_a100_is_that_of_its_size():
    assert find_chip("NVIDIA A100-SXM4-40GB") is CHIPS["NVIDIA A100-SXM4-40GB"]
    assert find_chip("NVIDIA A100-SXM4-80GB") is CHIPS["NVIDIA A100"]
