"""Choice of the rows of a file that are held out: the same share of each class, and whole groups. NumPy only."""

import collections
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

MOVED_SHARE = 0.2  # a class whose held-out rows differ from the wanted number by more gets a note
MOVED_ROWS = 2  # a difference of this many rows gets no note


def wanted_rows(rows: int, share: float) -> int:
    """Return how many rows of a class are to be held out: at least one, and not all."""
    return min(max(round(rows * share), 1), rows - 1)


def choose_held_out(classes: Sequence[str], groups: Sequence[Hashable], share: float, seed: int) -> np.ndarray:
    """Choose the held-out rows, bool: whole groups, so that nearly `share` of each class is held out.

    Greedy, in an order drawn by seed, class after class: first the groups that exceed no class's share, then those
    that bring the numbers closer to the wanted ones of each class and of all rows. The last training rows of a class
    are never held out. A class without held-out rows then gets its best fitting group, if the other classes keep
    training rows. If every row is its own group, this is a plain draw from each class.
    """
    rows = _Split(classes, groups, share)
    rng = np.random.default_rng(seed)
    order = [unit for units in rows.by_class() for unit in rng.permutation(units).tolist()]
    for fits in (rows.exceeds_nothing, rows.gets_closer):
        for unit in order:
            if unit not in rows.taken and rows.leaves_some(unit) and fits(unit):
                rows.take(unit)
    units_with_class: list[list[int]] = [[] for _ in rows.sizes]
    for unit in order:
        for name in rows.units[unit]:
            units_with_class[name].append(unit)
    for name, units in enumerate(units_with_class):
        possible = [] if rows.held[name] else [unit for unit in units if rows.leaves_some(unit)]
        if possible:
            rows.take(min(possible, key=rows.change))
    return np.array([unit in rows.taken for unit in rows.unit_of_row], bool)


class _Split:
    """Rows by group and class while some are being held out. A unit is a group, numbered by its first row."""

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
        self.over = -sum(self.wanted)  # held-out rows in excess of the wanted number
        self.taken: set[int] = set()

    def by_class(self) -> list[list[int]]:
        """Return the units of each class in the order of the file. A unit belongs to its most frequent class."""
        units: list[list[int]] = [[] for _ in self.sizes]
        for unit, counts in self.units.items():
            units[max(counts, key=lambda name: (counts[name], -name))].append(unit)
        return units

    def take(self, unit: int) -> None:
        """Hold a unit out."""
        self.taken.add(unit)
        for name, count in self.units[unit].items():
            self.held[name] += count
            self.over += count

    def leaves_some(self, unit: int) -> bool:
        """Return whether each class keeps training rows without this unit."""
        return all(self.held[name] + count < self.sizes[name] for name, count in self.units[unit].items())

    def exceeds_nothing(self, unit: int) -> bool:
        """Return whether no class exceeds its wanted number of held-out rows with this unit."""
        return all(self.held[name] + count <= self.wanted[name] for name, count in self.units[unit].items())

    def gets_closer(self, unit: int) -> bool:
        """Return whether the numbers of held-out rows get closer to the wanted ones with this unit."""
        return self.change(unit) < 0

    def change(self, unit: int) -> int:
        """Return by how many rows the classes, and all together, get farther from the wanted numbers with this unit."""
        counts = self.units[unit]
        rows = sum(counts.values())
        each = sum(
            abs(self.held[name] + count - self.wanted[name]) - abs(self.held[name] - self.wanted[name])
            for name, count in counts.items()
        )
        return each + abs(self.over + rows) - abs(self.over)


def moved_shares(train: Iterable[str], dev: Iterable[str], share: float) -> str:
    """Return a note on classes whose held-out rows differ notably from their share; an empty string if none does."""
    kept, held = collections.Counter(train), collections.Counter(dev)
    moved = []
    for name in sorted(kept.keys() | held.keys()):
        rows = kept[name] + held[name]
        apart = abs(held[name] - rows * share)
        if (apart > MOVED_ROWS and apart > MOVED_SHARE * rows * share) or not held[name]:
            moved.append(f"{held[name]} of {rows}{f' of class {name!r}' if name else ''}")
    if not moved:
        return ""
    more = f" and {len(moved) - 3} more" if len(moved) > 3 else ""
    return f"whole groups do not fit the share {share:g}: held out are {', '.join(moved[:3])}{more}"
