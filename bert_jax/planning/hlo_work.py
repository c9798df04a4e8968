"""The work of each operation of a compiled program on a device: FLOPs of matrix products, bytes of main memory."""

import dataclasses
import functools
import math
import re
from collections.abc import Iterator, Sequence

from bert_jax.planning.hlo_program import ArrayShape, HloProgram, Instruction, numbers

# These name values and move nothing.
FREE = {
    "parameter",
    "constant",
    "tuple",
    "get-tuple-element",
    "bitcast",
    "after-all",
    "partition-id",
    "replica-id",
    "iota",
    "opt-barrier",
}
NAMING_CALLS = (
    "AllocateBuffer",
    "ConcatBitcast",
    "AssumeGatherIndicesInBound",
    "Sharding",
)  # custom calls of that kind
COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
)
SLICES = ("slice", "dynamic-slice", "gather")
CONTRACTED = re.compile(r"lhs_contracting_dims=\{([\d,]*)\}")
GEMM_CONTRACTED = re.compile(r'"lhs_contracting_dimensions":\[([^\]]*)\]')
LABELS = re.compile(r"dim_labels=(\w+)_(\w+)->(\w+)")
WINDOW = re.compile(r"window=\{([^}]*)\}")
GROUPS = re.compile(r"feature_group_count=(\d+)")
CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
TARGET = re.compile(r'custom_call_target="([^"]*)"')
KERNEL = re.compile(r'op_name="[^"]*/(attention_\w+)/pallas_call"')
# Products of all queries with all keys in the kernels of attention: of cuDNN, flash_attention.py, tpu_attention.py.
ATTENTION_PRODUCTS = {
    "__cudnn$fmhaSoftmax": 2,
    "__cudnn$fmhaSoftmaxBackward": 5,
    "attention_forward": 2,
    "attention_query_gradient": 3,
    "attention_key_gradient": 4,
    "attention_backward": 5,
}


@dataclasses.dataclass(frozen=True)
class Operation:
    """An operation that a device runs as a whole, `times` in a step.

    computation  in which it stands
    cycles       that the compiler for TPUs expects; 0 where it says nothing
    is_async     a copy that goes on beside other operations
    is_kernel    attention without written scores
    """

    instruction: Instruction
    computation: str
    flops: float
    bytes: float
    times: int
    cycles: int = 0
    is_async: bool = False
    is_kernel: bool = False


def operations(program: HloProgram, *, is_tpu: bool) -> list[Operation]:
    """Return all operations of a program but collectives. A fusion with a collective in it is an operation, too.

    On a TPU, values in other memories (VMEM) cost no bytes.
    """
    return [
        _operation(program, computation, item, times, is_tpu)
        for computation, item, times in run_instructions(program)
        if base_opcode(item) not in COLLECTIVES
    ]


def run_instructions(program: HloProgram) -> Iterator[tuple[str, Instruction, int]]:
    """Yield the instructions that a device runs, with their computation, and how often a step runs them."""

    def walk(computation: str, times: int) -> Iterator[tuple[str, Instruction, int]]:
        for item in program.computations.get(computation, ()):
            if bodies := program.bodies(item):
                for body, repeated in bodies:
                    yield from walk(body, times * repeated)
            elif item.opcode not in FREE:
                yield computation, item, times

    return walk(program.entry, 1)


def base_opcode(instruction: Instruction) -> str:
    """Return the operation code without the ending of its asynchronous halves."""
    return instruction.opcode.removesuffix("-start").removesuffix("-done")


def _operation(program: HloProgram, computation: str, instruction: Instruction, times: int, is_tpu: bool) -> Operation:
    operands = program.operands(computation, instruction)
    flops = _own_flops(instruction, operands)
    flops += sum(_own_flops(item, program.operands(where, item)) for where, item in program.inside(instruction))
    of_kernel = _kernel_flops(instruction, operands)
    is_async = instruction.opcode in ("copy-start", "slice-start")
    count = functools.partial(_bytes, is_tpu=is_tpu)
    target = TARGET.search(instruction.attributes)
    if instruction.opcode.endswith("-done") or (target and target[1].startswith(NAMING_CALLS)):
        moved = 0.0
    elif is_async:  # its tuple has the destination, the source and a flag; of a slice, only the slice is read
        read, written = _async_ends(instruction)
        moved = count(written) + (count(read) if instruction.opcode == "copy-start" else 0)
        if instruction.opcode == "slice-start" and _is_main(read, is_tpu):
            moved += sum(shape.bytes for shape in written)
    else:
        moved = count(_written(program, computation, instruction))
        moved += sum(map(count, _read(program, computation, instruction)))
    cycles = CYCLES.search(instruction.attributes)
    return Operation(
        instruction,
        computation,
        flops + of_kernel,
        moved,
        times,
        int(cycles[1]) if cycles else 0,
        is_async,
        is_kernel=of_kernel > 0,
    )


def _read(program: HloProgram, computation: str, instruction: Instruction) -> list[tuple[ArrayShape, ...]]:
    """Return the shapes of what an operation reads. Of an operand that it only slices, the slices count."""
    operands = dict(zip(instruction.operands, program.operands(computation, instruction), strict=True))
    if instruction.opcode in SLICES:
        first, *rest = operands.values()
        return [_in_space(instruction.shapes, first), *rest]
    inner = instruction.called("calls") if instruction.opcode == "fusion" else None
    if inner is None:
        return list(operands.values())
    items = program.computations.get(inner, [])
    read = dict(operands)
    for item in items:
        if item.opcode == "parameter":
            name = instruction.operands[int(item.attributes)]
            users = _users(items, item.name)
            if users and all(user.opcode in SLICES and user.operands[0] == value for user, value in users):
                read[name] = _in_space(tuple(shape for user, _ in users for shape in user.shapes), operands[name])
            elif users and all(
                user.opcode == "dynamic-update-slice" and user.operands[0] == value for user, value in users
            ):
                read[name] = ()  # in place
    return list(read.values())


def _users(items: Sequence[Instruction], value: str) -> list[tuple[Instruction, str]]:
    """Return the instructions that use a value, with its name there: that of a bitcast, if they use that."""
    users = []
    for item in items:
        if value in item.operands:
            users += _users(items, item.name) if item.opcode == "bitcast" else [(item, value)]
    return users


def _written(program: HloProgram, computation: str, instruction: Instruction) -> tuple[ArrayShape, ...]:
    """Return the shapes of what an operation writes. Where it updates a slice in place, the slice counts."""
    where, last = computation, instruction
    if instruction.opcode == "fusion":
        where = instruction.called("calls") or computation
        last = next(reversed(program.computations.get(where, ())), instruction)
    if last.opcode == "dynamic-update-slice":
        return _in_space(program.operands(where, last)[1], instruction.shapes)
    return instruction.shapes


def _in_space(shapes: tuple[ArrayShape, ...], like: tuple[ArrayShape, ...]) -> tuple[ArrayShape, ...]:
    """Return the shapes in the memory that holds `like`."""
    space = like[0].space if like else 0
    return tuple(dataclasses.replace(shape, space=space) for shape in shapes)


def _async_ends(instruction: Instruction) -> tuple[tuple[ArrayShape, ...], tuple[ArrayShape, ...]]:
    """Return the shapes of source and destination of an asynchronous copy or slice."""
    first, second = instruction.shapes[:1], instruction.shapes[1:2]
    return (second, first) if instruction.opcode == "copy-start" else (first, second)


def _is_main(shapes: tuple[ArrayShape, ...], is_tpu: bool) -> bool:
    return not is_tpu or all(shape.space == 0 for shape in shapes)


def _bytes(shapes: tuple[ArrayShape, ...], *, is_tpu: bool) -> float:
    return float(sum(shape.bytes for shape in shapes if not (is_tpu and shape.space)))


def _own_flops(instruction: Instruction, operands: Sequence[tuple[ArrayShape, ...]]) -> float:
    """Return the FLOPs of a matrix product or convolution; 0 for everything else."""
    if not operands or not operands[0]:
        return 0.0
    if instruction.opcode == "convolution":
        return _convolution_flops(instruction, operands[0][0], operands[1][0])
    contracted = None
    if instruction.opcode == "dot":
        contracted = CONTRACTED.search(instruction.attributes)
    elif instruction.opcode == "custom-call":  # cuBLAS: "__cublas$gemm", "__cublas$lt$matmul"
        contracted = GEMM_CONTRACTED.search(instruction.attributes)
    if contracted is None:
        return 0.0
    sizes = [operands[0][0].dims[axis] for axis in numbers(contracted[1].replace('"', ""))]
    return 2.0 * math.prod(instruction.shapes[0].dims) * math.prod(sizes)


def _kernel_flops(instruction: Instruction, operands: Sequence[tuple[ArrayShape, ...]]) -> float:
    """Return the FLOPs of a kernel of attention, whose first matrices are queries and keys; 0 for everything else."""
    if instruction.opcode != "custom-call":
        return 0.0
    kernel, target = KERNEL.search(instruction.attributes), TARGET.search(instruction.attributes)
    name = kernel[1] if kernel else target[1] if target else ""
    if name not in ATTENTION_PRODUCTS:
        return 0.0
    queries, keys = [shape for (shape,) in operands if len(shape.dims) > 2][:2]
    return 2.0 * ATTENTION_PRODUCTS[name] * math.prod(queries.dims) * keys.dims[1]


def _convolution_flops(instruction: Instruction, left: ArrayShape, right: ArrayShape) -> float:
    """Return the FLOPs of a convolution. A TPU writes matrix products as such, batch axes as dilated windows."""
    labels = LABELS.search(instruction.attributes)
    if labels is None:
        return 0.0
    of_left, of_right, of_out = labels.groups()
    out = instruction.shapes[0]
    window = WINDOW.search(instruction.attributes)
    options = dict(option.split("=") for option in window[1].split()) if window else {}
    flops = 2.0 * out.dims[of_out.index("b")] * out.dims[of_out.index("f")] * right.dims[of_right.index("i")]
    for axis in range(len(of_left) - 2):
        flops *= _window_positions(
            options,
            axis,
            left=left.dims[of_left.index(str(axis))],
            right=right.dims[of_right.index(str(axis))],
            out=out.dims[of_out.index(str(axis))],
        )
    return flops


def _window_positions(options: dict[str, str], axis: int, *, left: int, right: int, out: int) -> int:
    """Return how many pairs of kernel and output position of a spatial axis meet an element of the input."""

    def option(name: str, default: str) -> str:
        return options[name].split("x")[axis] if name in options else default

    stride, dilation, spread = (int(option(name, "1")) for name in ("stride", "lhs_dilate", "rhs_dilate"))
    before = int(option("pad", "0_0").partition("_")[0])
    positions = 0
    for kernel in range(right):
        for place in range(out):
            at = place * stride + kernel * spread - before
            positions += at >= 0 and at % dilation == 0 and at // dilation < left
    return positions
