"""A compiled XLA program as its text says it: computations of instructions, and the sizes of their values."""

import dataclasses
import math
import re
from collections.abc import Iterator

# Bits of an element. A type that is not here (token, opaque) takes no memory.
ELEMENT_BITS = {"pred": 8, "c64": 64, "c128": 128, "bf16": 16} | {
    f"{kind}{bits}": bits for kind in "sufe" for bits in (2, 4, 8, 16, 32, 64)
}
ARRAY = re.compile(r"\b([a-z]+\d*\w*)\[([\d,]*)\](?:\{([^}]*)\})?")
HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.*)$")
NAME = re.compile(r"%([\w.\-]+)")
SPACE = re.compile(r"S\((\d+)\)")
CALLED = {
    "calls": re.compile(r"\bcalls=%?([\w.\-]+)"),
    "to_apply": re.compile(r"\bto_apply=%?([\w.\-]+)"),
    "body": re.compile(r"\bbody=%?([\w.\-]+)"),
    "condition": re.compile(r"\bcondition=%?([\w.\-]+)"),
}
BRANCHES = re.compile(r"\bbranch_computations=\{([^}]*)\}")
TRIP_COUNT = re.compile(r'"known_trip_count":\{"n":"(\d+)"')


@dataclasses.dataclass(frozen=True)
class ArrayShape:
    """The type of an array.

    space  number of the memory that holds it; 0 is the main memory of the device
    """

    element: str
    dims: tuple[int, ...]
    space: int = 0

    @property
    def bytes(self) -> int:
        bits = ELEMENT_BITS.get(self.element) or ELEMENT_BITS.get(self.element[:2], 0)  # f8e4m3fn
        return math.prod(self.dims) * bits // 8


@dataclasses.dataclass(frozen=True)
class Instruction:
    """A line of a program: `name = shapes opcode(operands), attributes`. A tuple has one shape for each array in it."""

    name: str
    shapes: tuple[ArrayShape, ...]
    opcode: str
    operands: tuple[str, ...]
    attributes: str

    def called(self, kind: str) -> str | None:
        """Return the name of the computation that the attribute `kind` names."""
        match = CALLED[kind].search(self.attributes)
        return match[1] if match else None


class HloProgram:
    """The computations of a program by name, each with its instructions in order."""

    def __init__(self, text: str) -> None:
        self.computations: dict[str, list[Instruction]] = {}
        self.entry = ""
        current: list[Instruction] = []
        for line in text.splitlines():
            if header := HEADER.match(line):
                current = self.computations.setdefault(header[2], [])
                if header[1]:
                    self.entry = header[2]
            elif match := INSTRUCTION.match(line):
                current.append(_instruction(match[1], match[2]))

        self._shapes = {name: {item.name: item.shapes for item in items} for name, items in self.computations.items()}

    def operands(self, computation: str, instruction: Instruction) -> list[tuple[ArrayShape, ...]]:
        """Return the shapes of the operands of an instruction in a computation."""
        shapes = self._shapes[computation]
        return [shapes.get(name, ()) for name in instruction.operands]

    def inside(self, instruction: Instruction) -> Iterator[tuple[str, Instruction]]:
        """Yield the instructions of the computations within a fusion, each with the name of its computation."""
        name = instruction.called("calls")
        for item in self.computations.get(name or "", ()):
            assert name
            yield name, item
            yield from self.inside(item)

    def bodies(self, instruction: Instruction) -> list[tuple[str, int]]:
        """Return the computations that an instruction runs as if they stood in its place, and how often.

        Of a conditional, the first branch counts.
        """
        if instruction.opcode == "while":
            body = instruction.called("body")
            return [(body, self.trip_count(instruction))] if body else []
        if instruction.opcode == "conditional":
            branches = BRANCHES.search(instruction.attributes)
            return [(NAME.findall(branches[1])[0], 1)] if branches else []
        if instruction.opcode in ("call", "async-start"):
            body = instruction.called("to_apply") or instruction.called("calls")
            return [(body, 1)] if body else []
        return []

    def trip_count(self, loop: Instruction) -> int:
        """Return how often a loop runs: as the compiler says, or else the limit in its condition."""
        if known := TRIP_COUNT.search(loop.attributes):
            return int(known[1])
        condition = self.computations.get(loop.called("condition") or "", ())
        limits = [int(item.attributes) for item in condition if item.opcode == "constant" and item.attributes.isdigit()]
        return limits[0] if len(limits) == 1 else 1


def parse_shapes(text: str) -> tuple[ArrayShape, ...]:
    """Return the arrays in the text of a type, those of a tuple in order."""
    shapes = []
    for element, dims, layout in ARRAY.findall(text):
        space = SPACE.search(layout)
        shapes.append(ArrayShape(element, numbers(dims), int(space[1]) if space else 0))
    return tuple(shapes)


def _instruction(name: str, text: str) -> Instruction:
    end = _closing(text) if text.startswith("(") else text.find(" ")
    shapes, rest = text[:end], text[end:].lstrip()
    opcode, _, rest = rest.partition("(")
    close = _closing(f"({rest}") - 1
    operands, attributes = rest[: close - 1], rest[close:]
    if opcode in ("constant", "parameter"):
        attributes = operands  # a value, or the number of an argument
    return Instruction(name, parse_shapes(shapes), opcode, tuple(NAME.findall(operands)), attributes)


def _closing(text: str) -> int:
    """Return the index after the parenthesis that closes the one at the start of `text`."""
    depth = 0
    for match in re.finditer(r"[()]", text):
        depth += 1 if match[0] == "(" else -1
        if depth == 0:
            return match.end()
    return len(text)


def numbers(text: str) -> tuple[int, ...]:
    """Return the numbers of a list such as `1,0`."""
    return tuple(int(number) for number in text.split(",") if number)
