"""Whether a manifest says what is so: counted again from the examples, and from what each part noted."""

import json
from collections import Counter
from pathlib import Path

import numpy as np

from bert_jax.data.record import Manifest, Shard
from data_prep.job import PARTS_FOLDER, SPLITS

ROUNDING = 1e-6  # shares are written with six decimals


class Recount:
    """Adds up the examples of all shards; `problems` are the statistics that differ."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, rows: np.ndarray) -> None:
        self.counts["examples"] += len(rows)
        self.counts["examples_random_next"] += int((rows["next_label"] == 1).sum())
        self.counts["tokens_in_examples"] += int(rows["length"].sum(dtype=np.int64))
        self.counts["tokens_masked"] += int(rows["masked_count"].sum(dtype=np.int64))

    def problems(self, manifest: Manifest) -> list[str]:
        counts = self.counts
        if not counts["examples"]:
            return []
        shares = {
            "share_padding": 1 - counts["tokens_in_examples"] / (manifest.length * counts["examples"]),
            "share_masked": counts["tokens_masked"] / counts["tokens_in_examples"],
            "share_random_next": counts["examples_random_next"] / counts["examples"],
        }
        told = manifest.statistics
        # A count of zero is left out of a manifest; a statistic that this version does not know is not judged.
        wrong = [name for name, count in counts.items() if told.get(name, 0) != count]
        wrong += [name for name, share in shares.items() if name in told and abs(told[name] - share) > ROUNDING]
        found: dict[str, float] = {**counts, **shares}
        return [f"statistics say {name} {told.get(name, 0)}, the examples {round(found[name], 6)}" for name in wrong]


def compare_settings(manifest: Manifest) -> list[str]:
    """What the manifest says twice and not alike."""
    twice = {
        "length": manifest.length,
        "seed": manifest.seed,
        "dupe_factor": manifest.dupe_factor,
        "mask_rate": manifest.masking.rate,
        "max_predictions": manifest.masking.max_predictions,
    }
    settings = manifest.settings
    return [
        f"{name} is {value}, and {settings[name]} in its settings"
        for name, value in twice.items()
        if name in settings and settings[name] != value
    ]


def compare_parts(folder: Path, manifest: Manifest) -> list[str]:
    """Where the manifest differs from what the parts noted when they were made. Nothing where the notes are gone."""
    listed = {(split, shard) for split, shards in manifest.splits.items() for shard in shards}
    made: set[tuple[str, Shard]] = set()
    counts: Counter[str] = Counter()
    notes = sorted((folder / PARTS_FOLDER).glob("part-*.json"))
    for path in notes:
        try:
            fields = json.loads(path.read_text())
            made |= {(split, Shard(**shard)) for split, shard in fields["shards"].items()}
            counts.update(fields["counts"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return [f"{PARTS_FOLDER}/{path.name} is damaged"]
    if not notes:
        return []
    gone = sorted(shard.file for _, shard in made - listed)
    strange = sorted(shard.file for _, shard in listed - made)
    problems = [f"{name} is not listed as it was made" for name in gone]
    problems += [f"{name} is listed, and no part made it so" for name in strange if name not in gone]
    told = manifest.statistics
    return problems + [
        f"statistics say {name} {told.get(name, 0)}, the parts {count}"
        for name, count in sorted(counts.items())
        if told.get(name, 0) != count
    ]


def compare_splits(manifest: Manifest) -> list[str]:
    """Splits that do not exist, and shards under another split's name."""
    problems = [
        f"split {split!r} is not one of {', '.join(SPLITS)}" for split in manifest.splits if split not in SPLITS
    ]
    return problems + [
        f"{shard.file} is listed under {split}"
        for split, shards in manifest.splits.items()
        for shard in shards
        if not shard.file.startswith(f"{split}-")
    ]
