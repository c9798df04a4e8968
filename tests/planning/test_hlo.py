"""Work and collectives, read off the texts of compiled programs."""

from pathlib import Path

import pytest

from bert_jax.planning.collectives import Collective, axes_of, device_groups, find_collectives, totals
from bert_jax.planning.hlo_program import HloProgram, parse_shapes
from bert_jax.planning.hlo_work import operations

# Short programs as XLA writes them, cut from compiled steps of jax 0.10.2.
GPU, TPU, CPU = ((Path(__file__).parent / "programs" / f"{name}.hlo").read_text() for name in ("gpu", "tpu", "cpu"))
MESH = {"data": 2, "fsdp": 2, "tensor": 2}
DATA, FSDP, TENSOR = (
    ((0, 4), (1, 5), (2, 6), (3, 7)),
    ((0, 2), (1, 3), (4, 6), (5, 7)),
    ((0, 1), (2, 3), (4, 5), (6, 7)),
)


@pytest.mark.parametrize(
    ("text", "bytes_", "space"),
    [
        ("bf16[3,5]{1,0:T(8,128)(2,1)S(1)}", 30, 1),
        ("f32[]{:T(128)}", 4, 0),
        ("pred[7]{0}", 7, 0),
        ("f8e4m3fn[3,5]{1,0}", 15, 0),
        ("s4[6]{0:E(4)}", 3, 0),
        ("token[]", 0, 0),
    ],
)
def test_sizes_of_arrays(text, bytes_, space):
    (shape,) = parse_shapes(text)
    assert (shape.bytes, shape.space) == (bytes_, space)


def test_a_program_is_read_with_its_computations():
    program = HloProgram(TPU)
    assert program.entry == "main.119_spmd"
    assert list(program.computations) == [
        "fused_gather",
        "async_collective_fusion.7",
        "scatter",
        "all-reduce-scatter.clone",
        "scores",
        "body",
        "cond",
        "main.119_spmd",
    ]
    start = next(item for item in program.computations[program.entry] if item.opcode == "slice-start")
    assert start.operands == ("param.3",) and [shape.dims for shape in start.shapes] == [(768, 3072), (192, 3072), ()]


@pytest.mark.parametrize(
    ("text", "flops"),
    [
        (GPU, 2 * 2 * 96 * 20 * 12),  # a Triton fusion and cuBLAS
        # a product fused with a collective, and scores as a dilated convolution, in a loop of three
        (TPU, 2 * 64 * 128 * 256 + 3 * 2 * 16 * 4 * 128 * 128 * 64),
        (CPU, 2 * 3 * 5 * 7),
    ],
    ids=["gpu", "tpu", "cpu"],
)
def test_flops_are_those_of_the_matrix_products(text, flops):
    assert sum(part.times * part.flops for part in operations(HloProgram(text), is_tpu=text is TPU)) == flops


@pytest.mark.parametrize(
    ("target", "origin", "products"),
    [
        ("__gpu$xla.gpu.triton", "jit(step)/jvp()/attention_forward/pallas_call", 2),
        ("__gpu$xla.gpu.triton", "jit(step)/transpose(jvp())/attention_key_gradient/pallas_call", 4),
        ("tpu_custom_call", "jit(step)/transpose(jvp())/attention_backward/pallas_call", 5),
        ("__cudnn$fmhaSoftmaxBackward", "jit(step)/dot_product_attention_bwd", 5),
        ("__gpu$xla.gpu.triton", "jit(step)/residual_norm_forward/pallas_call", 0),
    ],
)
def test_kernels_of_attention_have_the_flops_of_their_products(target, origin, products):
    rows = "bf16[3,7,2,16]{3,2,1,0}"
    text = f"""ENTRY %main (q: {rows}, k: {rows}, tiles: s32[3]) -> {rows} {{
  %q = {rows} parameter(0)
  %k = {rows} parameter(1)
  %tiles = s32[3]{{0}} parameter(2)
  ROOT %out = {rows} custom-call(%tiles, %q, %k), custom_call_target="{target}", metadata={{op_name="{origin}"}}
}}
"""
    (operation,) = operations(HloProgram(text), is_tpu=False)
    assert operation.flops == products * 2 * 3 * 2 * 7 * 7 * 16
    assert operation.is_kernel == (products > 0)


def test_bytes_are_those_that_an_operation_reads_and_writes():
    moved = {part.instruction.name: part.bytes for part in operations(HloProgram(GPU), is_tpu=False)}
    assert moved["gemm"] == 2 * (96 * 20 + 20 * 12 + 96 * 12)
    assert moved["slice_fusion"] == 2 * (8 + 8 + 8)  # a slice of the first operand
    assert moved.get("all-reduce-start") is None


def test_bytes_in_the_fast_memory_of_a_tpu_are_free():
    parts = {part.instruction.name: part for part in operations(HloProgram(TPU), is_tpu=True)}
    assert parts["slice-start.9"].bytes == 4 * 192 * 3072 and parts["slice-start.9"].is_async
    assert parts["copy-start.2"].bytes == 2 * 64 * 128  # read in VMEM, written to main memory
    assert parts["slice-done.9"].bytes == parts["copy-done.2"].bytes == 0
    assert parts["fusion.9"].bytes == 2 * 16 * 4 * 128 * 64  # its operand twice, read once; the result is in VMEM
    assert parts["fusion.9"].times == 3
    assert sum(part.times * part.cycles for part in parts.values()) == 3 * 1000 + 500


def test_an_update_of_a_slice_in_place_moves_the_slice():
    text = """HloModule m

%update (p0: f32[100,8], p1: f32[1,8], p2: s32[]) -> f32[100,8] {
  %p0 = f32[100,8]{1,0} parameter(0)
  %p1 = f32[1,8]{1,0} parameter(1)
  %p2 = s32[] parameter(2)
  ROOT %dus = f32[100,8]{1,0} dynamic-update-slice(%p0, %p1, %p2, %p2)
}

ENTRY %main (a: f32[100,8], b: f32[1,8], c: s32[]) -> f32[100,8] {
  %a = f32[100,8]{1,0} parameter(0)
  %b = f32[1,8]{1,0} parameter(1)
  %c = s32[] parameter(2)
  ROOT %fusion = f32[100,8]{1,0} fusion(%a, %b, %c), kind=kLoop, calls=%update
}
"""
    (part,) = operations(HloProgram(text), is_tpu=False)
    assert part.bytes == 4 * (8 + 8 + 1)


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("replica_groups={{0,4},{1,5},{2,6},{3,7}}, dimensions={0}", DATA),
        ("replica_groups=[4,2]<=[8], dimensions={1}", TENSOR),
        ("replica_groups=[4,2]<=[2,4]T(1,0), to_apply=%add", DATA),
        ("replica_groups=[4,2]<=[2,2,2]T(0,2,1)", FSDP),
        ("replica_groups=mesh['axis_0'=2,'axis_1'=4] {'axis_0'}", DATA),
        ("replica_groups=mesh['a'=4,'b'=2] {'b'}, use_global_device_ids=true", TENSOR),
        ("replica_groups=mesh['a'=8] {'a':(2)2}", FSDP),
        ("replica_groups=mesh['a'=1,'b'=2,'c'=4], device_ids=([2,2,2]T(1,0,2)) {'b'}, dimensions={1}", FSDP),
        ("replica_groups=mesh['a'=2,'b'=4], device_ids=(0,2,4,6,1,3,5,7) {'a'}", TENSOR),
        ("replica_groups={}, to_apply=%add", (tuple(range(8)),)),
        ("source_target_pairs={{0,1},{1,0},{2,2}}", ((0, 1), (1, 0))),
    ],
)
def test_groups_of_devices_in_every_notation(text, groups):
    assert {tuple(sorted(group)) for group in device_groups(text, 8)} == {tuple(sorted(group)) for group in groups}


@pytest.mark.parametrize(
    ("groups", "axes"),
    [
        (DATA, ("data",)),
        (FSDP, ("fsdp",)),
        (TENSOR, ("tensor",)),
        (((0, 1, 2, 3), (4, 5, 6, 7)), ("fsdp", "tensor")),
        (((0, 2, 4, 6), (1, 3, 5, 7)), ("data", "fsdp")),
        ((tuple(range(8)),), ("data", "fsdp", "tensor")),
    ],
)
def test_axes_of_a_collective(groups, axes):
    assert axes_of(groups, MESH) == axes


def found(text: str) -> list[tuple[str, int, int, tuple[str, ...]]]:
    return [
        (item.kind, item.bytes, item.times, axes_of(item.groups, MESH))
        for item in find_collectives(HloProgram(text), 8)
    ]


def test_collectives_of_a_gpu_program():
    assert found(GPU) == [
        ("all-reduce", 4 + 4 * 7 * 3, 1, ("data", "fsdp", "tensor")),
        ("all-gather", 4 * 64 * 4, 1, ("data", "fsdp")),
        ("reduce-scatter", 4 * 8 * 4, 1, ("tensor",)),
    ]


def test_collectives_of_a_tpu_program():
    """One that is fused with products counts once, one in a loop as often as the loop runs. All share a channel."""
    assert found(TPU) == [
        ("all-gather", 2 * 256 * 256, 1, ("fsdp",)),
        ("reduce-scatter", 4 * 4 * 6, 1, ("data", "fsdp")),
        ("all-reduce", 4 * 4 * 6, 3, ("tensor",)),
        ("collective-permute", 2 * 2 * 8, 1, ("fsdp", "tensor")),
    ]


def test_collectives_of_a_cpu_program():
    """One within single devices is none."""
    assert found(CPU) == [("all-reduce", 4 * 3 * 5, 4, ("data",)), ("all-to-all", 4 * 3 * 5, 1, ("data",))]


@pytest.mark.parametrize(
    ("kind", "sent"), [("all-reduce", 150), ("all-gather", 75), ("reduce-scatter", 300), ("all-to-all", 75)]
)
def test_bytes_that_a_ring_of_four_sends(kind, sent):
    assert Collective(kind, 100, ((0, 1, 2, 3),), 2).sent_bytes == 2 * sent


def test_totals_by_axis_and_kind():
    small, large = Collective("all-reduce", 10, DATA, 3), Collective("all-reduce", 100, DATA, 1)
    other = Collective("all-gather", 40, FSDP, 1)
    first, second = totals([(small, 1e-3), (other, 2e-3), (large, 5e-3)], MESH)
    assert first == {
        "axes": ["data"], "kind": "all-reduce", "count": 4, "bytes": 130, "sent_bytes": 130.0, "seconds": 6e-3
    }  # fmt: skip
    assert second["axes"] == ["fsdp"] and second["sent_bytes"] == 20
