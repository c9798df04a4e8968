"""The collectives of a compiled program: kind, bytes, the devices of a group, and the axes of the mesh they go over."""

import dataclasses
import itertools
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from bert_jax.planning.hlo_program import HloProgram, Instruction, numbers
from bert_jax.planning.hlo_work import COLLECTIVES, base_opcode, run_instructions

Groups = tuple[tuple[int, ...], ...]  # numbers of devices, in the order of the mesh

LISTED = re.compile(r"replica_groups=\{((?:\{[\d,]*\},?)*)\}")
IOTA = re.compile(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")
MESH = re.compile(
    r"replica_groups=mesh\[([^\]]*)\]"  # sizes of the axes
    r"(?:, device_ids=\((?:\[([\d,]+)\](?:T\(([\d,]+)\))?|([\d,]+))\))?"  # order of the devices: iota, or a list
    r" \{([^}]*)\}"  # axes of a group
)
MESH_AXIS = re.compile(r"'([^']+)'=(\d+)")
GROUP_AXIS = re.compile(r"'([^']+)'(?::\((\d+)\)(\d+))?")
PAIRS = re.compile(r"source_target_pairs=\{((?:\{\d+,\d+\},?)*)\}")
# Times that a value of n devices crosses a link in a ring, from the size of a device's result.
RING_SHARES = {
    "all-reduce": lambda n: 2 * (n - 1) / n,
    "all-gather": lambda n: (n - 1) / n,
    "reduce-scatter": lambda n: float(n - 1),
    "all-to-all": lambda n: (n - 1) / n,
    "ragged-all-to-all": lambda n: (n - 1) / n,
    "collective-permute": lambda n: 1.0,
    "collective-broadcast": lambda n: 1.0,
}


@dataclasses.dataclass(frozen=True)
class Collective:
    """A collective operation.

    bytes   of the result on one device
    groups  the devices that exchange data with each other
    times   runs in a step
    """

    kind: str
    bytes: int
    groups: Groups
    times: int

    @property
    def size(self) -> int:
        """Devices of a group."""
        return max(map(len, self.groups))

    @property
    def sent_bytes(self) -> float:
        """Bytes that a device sends in a step, in a ring."""
        return self.times * self.bytes * RING_SHARES[self.kind](self.size)


def find_collectives(program: HloProgram, devices: int) -> list[Collective]:
    """Return the collectives of a program on `devices` devices. Those within one device are left out.

    An asynchronous collective counts once. A TPU fuses one with the matrix products beside it; each of these fusions
    has it inside, and the first one counts. It writes a reduce-scatter as an all-reduce with a slice, in one fusion.
    """
    collectives = []
    for _, instruction, times in run_instructions(program):
        if _goes_on(instruction):
            continue
        for item in [instruction, *(inner for _, inner in program.inside(instruction))]:
            kind = base_opcode(item)
            if kind not in COLLECTIVES or item.opcode.endswith("-done"):
                continue
            groups = device_groups(item.attributes, devices)
            size = _result_bytes(item, kind)
            if (instruction.called("calls") or "").startswith("all-reduce-scatter"):
                kind, size = "reduce-scatter", size // max(map(len, groups))
            if max(map(len, groups)) > 1:
                collectives.append(Collective(kind, size, groups, times))
    return collectives


def _goes_on(instruction: Instruction) -> bool:
    """Return whether an instruction goes on with a collective that an earlier one has started."""
    return instruction.name.startswith("async-collective-done") or (instruction.called("calls") or "").startswith(
        "async_collective_fusion"
    )


def _result_bytes(instruction: Instruction, kind: str) -> int:
    """Return the bytes of the result. The start of an asynchronous one has its operands and flags beside it."""
    sizes = [shape.bytes for shape in instruction.shapes]
    if not instruction.opcode.endswith("-start") or kind == "all-reduce":
        return sum(sizes)
    count = len(instruction.operands)
    return sum(sizes[count : 2 * count])


def device_groups(attributes: str, devices: int) -> Groups:
    """Return the groups of devices in the attributes of a collective, in any of the ways that XLA writes them."""
    if match := PAIRS.search(attributes):
        pairs = [numbers(pair) for pair in re.findall(r"\{([\d,]+)\}", match[1])]
        return tuple(pair for pair in pairs if pair[0] != pair[1]) or ((0,),)
    if match := MESH.search(attributes):
        return _mesh_groups(*match.groups())
    if match := IOTA.search(attributes):
        shape, dims, order = numbers(match[1]), numbers(match[2]), numbers(match[3] or "")
        places = np.arange(math.prod(dims)).reshape(dims).transpose(order or range(len(dims)))
        return _as_groups(places.reshape(shape))
    if match := LISTED.search(attributes):
        listed = tuple(numbers(group) for group in re.findall(r"\{([\d,]+)\}", match[1]))
        return listed or (tuple(range(devices)),)
    return (tuple(range(devices)),)


def _mesh_groups(axes: str, iota: str | None, order: str | None, listed: str | None, over: str) -> Groups:
    """Return the groups along some axes of a mesh, or along parts of axes, `'name':(size before)size`."""
    sizes = {name: int(size) for name, size in MESH_AXIS.findall(axes)}
    if listed:
        places = np.array(numbers(listed))
    elif iota:
        dims = numbers(iota)
        places = np.arange(math.prod(dims)).reshape(dims).transpose(numbers(order or "") or range(len(dims))).ravel()
    else:
        places = np.arange(math.prod(sizes.values()))
    parts: list[tuple[int, bool]] = []  # sizes that the axes are cut into, and whether the group goes over them
    chosen: dict[str, list[tuple[int, int]]] = {}
    for name, before, size in GROUP_AXIS.findall(over):
        chosen.setdefault(name, []).append((int(before or 1), int(size or sizes[name])))
    for name, whole in sizes.items():
        done = 1
        for before, size in sorted(chosen.get(name, [])):
            parts += [(before // done, False), (size, True)]
            done = before * size
        parts.append((whole // done, False))
    places = places.reshape([size for size, _ in parts])
    inner = [axis for axis, (_, is_over) in enumerate(parts) if is_over]
    outer = [axis for axis, (_, is_over) in enumerate(parts) if not is_over]
    return _as_groups(places.transpose(outer + inner).reshape(-1, math.prod(parts[axis][0] for axis in inner)))


def _as_groups(places: np.ndarray) -> Groups:
    return tuple(tuple(map(int, group)) for group in places)


def axes_of(groups: Groups, mesh: Mapping[str, int]) -> tuple[str, ...]:
    """Return the axes of a mesh that groups of devices go over: the fewest along which their members differ."""
    places = np.array(np.unravel_index(np.arange(math.prod(mesh.values())), tuple(mesh.values()))).T
    differ = np.zeros(len(mesh), bool)
    for group in groups:
        members = places[list(group)]
        differ |= (members != members[0]).any(axis=0)
    return tuple(itertools.compress(mesh, differ))


def totals(collectives: Iterable[tuple[Collective, float]], mesh: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return count, bytes and seconds of the collectives of a step by axes and kind, the longest first.

    Each collective comes with its seconds in a step.
    """
    rows: dict[tuple[tuple[str, ...], str], dict[str, Any]] = {}
    for item, seconds in collectives:
        key = axes_of(item.groups, mesh), item.kind
        row = rows.setdefault(
            key, {"axes": list(key[0]), "kind": item.kind, "count": 0, "bytes": 0, "sent_bytes": 0.0, "seconds": 0.0}
        )
        row["count"] += item.times
        row["bytes"] += item.times * item.bytes
        row["sent_bytes"] += item.sent_bytes
        row["seconds"] += seconds
    return sorted(rows.values(), key=lambda row: (-row["seconds"], -row["sent_bytes"]))
