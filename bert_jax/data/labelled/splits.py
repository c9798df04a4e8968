"""What is held out of one file: each class in its share, and rows of one group on one side. NumPy only."""

import collections
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

NOTABLE = 0.2  # how far from the asked number of rows a share may be without a word
FEW = 2  # rows that no word is made of


def wanted_rows(rows: int, share: float) -> int:
    """How many of so many rows of a class are to be held out: at least one, and not all."""
    return min(max(round(rows * share), 1), rows - 1)


def held_out(classes: Sequence[str], groups: Sequence[Hashable], share: float, seed: int) -> np.ndarray:
    """Which rows are held out, bool: whole groups, so that of each class nearly its share is.

    Greedy, in an order drawn by seed, class after class: first the groups that go over no class's share, then those
    that bring the numbers nearer to what is wanted of the classes and of all. Never the last training rows of a class.
    A class of which nothing is held out then gets its best fitting group, if there is one that leaves the others
    theirs. Rows that are groups of their own are held out as by a plain draw from each class.
    """
    rows = _Rows(classes, groups, share)
    rng = np.random.default_rng(seed)
    order = [unit for mine in rows.by_class() for unit in rng.permutation(mine).tolist()]
    for fits in (rows.goes_over_nothing, rows.gets_nearer):
        for unit in order:
            if unit not in rows.taken and rows.leaves_some(unit) and fits(unit):
                rows.take(unit)
    having: list[list[int]] = [[] for _ in rows.sizes]
    for unit in order:
        for name in rows.units[unit]:
            having[name].append(unit)
    for name, mine in enumerate(having):
        possible = [] if rows.held[name] else [unit for unit in mine if rows.leaves_some(unit)]
        if possible:
            rows.take(min(possible, key=rows.change))
    return np.array([unit in rows.taken for unit in rows.unit_of_row], bool)


class _Rows:
    """Rows by group and class while some are taken out. A unit is a group, named by its first row."""

    def __init__(self, classes: Sequence[str], groups: Sequence[Hashable], share: float) -> None:
        names = {name: i for i, name in enumerate(sorted(set(classes)))}
        first: dict[Hashable, int] = {}
        self.unit_of_row = [first.setdefault(group, i) for i, group in enumerate(groups)]
        self.units: dict[int, dict[int, int]] = {}  # rows of each class, by unit
        self.sizes = [0] * len(names)
        for unit, label in zip(self.unit_of_row, classes, strict=True):
            counts = self.units.setdefault(unit, {})
            name = names[label]
            counts[name] = counts.get(name, 0) + 1
            self.sizes[name] += 1
        self.wanted = [wanted_rows(size, share) for size in self.sizes]
        self.held = [0] * len(names)
        self.over = -sum(self.wanted)  # rows held out beyond what is wanted of all
        self.taken: set[int] = set()

    def by_class(self) -> list[list[int]]:
        """The units of each class, in the order of the file; a unit stands with the class it has most of."""
        found: list[list[int]] = [[] for _ in self.sizes]
        for unit, counts in self.units.items():
            found[max(counts, key=lambda name: (counts[name], -name))].append(unit)
        return found

    def take(self, unit: int) -> None:
        self.taken.add(unit)
        for name, count in self.units[unit].items():
            self.held[name] += count
            self.over += count

    def leaves_some(self, unit: int) -> bool:
        """Whether each class keeps training rows without this unit."""
        return all(self.held[name] + count < self.sizes[name] for name, count in self.units[unit].items())

    def goes_over_nothing(self, unit: int) -> bool:
        return all(self.held[name] + count <= self.wanted[name] for name, count in self.units[unit].items())

    def gets_nearer(self, unit: int) -> bool:
        return self.change(unit) < 0

    def change(self, unit: int) -> int:
        """By how many rows the classes, and all together, are farther from what is wanted with this unit held out."""
        counts = self.units[unit]
        more = sum(counts.values())
        each = sum(
            abs(self.held[name] + count - self.wanted[name]) - abs(self.held[name] - self.wanted[name])
            for name, count in counts.items()
        )
        return each + abs(self.over + more) - abs(self.over)


def moved_shares(train: Iterable[str], dev: Iterable[str], share: float) -> str:
    """Says which classes have notably more or fewer rows held out than their share; empty where none has."""
    kept, held = collections.Counter(train), collections.Counter(dev)
    moved = []
    for name in sorted(kept.keys() | held.keys()):
        rows = kept[name] + held[name]
        apart = abs(held[name] - rows * share)
        if (apart > FEW and apart > NOTABLE * rows * share) or not held[name]:
            moved.append(f"{held[name]} of {rows}{f' of class {name!r}' if name else ''}")
    if not moved:
        return ""
    more = f" and {len(moved) - 3} more" if len(moved) > 3 else ""
    return f"whole groups do not fit the share {share:g}: held out are {', '.join(moved[:3])}{more}"
