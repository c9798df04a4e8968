"""Whether a manifest says what is so: counted again from the examples, and from what each part noted."""

from collections import Counter
from pathlib import Path

import numpy as np

from bert_jax.data.pretraining.record import Manifest, Shard
from bert_jax.errors import UserError
from bert_jax.files import read_json
from data_prep.job.part_job import PARTS_FOLDER, SPLITS

ROUNDING = 1e-6  # shares are written with six decimals


LABEL_COUNTS = {"pairs": "examples_random_next", "sentence-order": "examples_swapped"}  # what label 1 is counted as
LABEL_SHARES = {"pairs": "share_random_next", "sentence-order": "share_swapped"}


class Recount:
    """Adds up the examples of all shards; `problems` are the statistics that differ."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.counts: Counter[str] = Counter()

    def add(self, rows: np.ndarray) -> None:
        names = rows.dtype.names or ()
        self.counts["examples"] += len(rows)
        self.counts["tokens_in_examples"] += int(rows["length"].sum(dtype=np.int64))
        if self.manifest.kind in LABEL_COUNTS:
            self.counts[LABEL_COUNTS[self.manifest.kind]] += int((rows["next_label"] == 1).sum())
        if "masked_count" in names:
            self.counts["tokens_masked"] += int(rows["masked_count"].sum(dtype=np.int64))

    def problems(self) -> list[str]:
        counts, manifest = self.counts, self.manifest
        if not counts["examples"]:
            return []
        shares = {"share_padding": 1 - counts["tokens_in_examples"] / (manifest.length * counts["examples"])}
        if "tokens_masked" in counts:
            shares["share_masked"] = counts["tokens_masked"] / counts["tokens_in_examples"]
        if manifest.kind in LABEL_SHARES:
            shares[LABEL_SHARES[manifest.kind]] = counts[LABEL_COUNTS[manifest.kind]] / counts["examples"]
        told = manifest.statistics
        shares["share_unknown"] = told.get("tokens_unknown", 0) / max(1, told.get("tokens", 0))
        if manifest.kind == "pairs":
            lone = told.get("examples_of_one_sentence", 0)
            chosen, by_choice = counts["examples_random_next"] - lone, counts["examples"] - lone
            shares["share_random_next_by_choice"] = chosen / max(1, by_choice)
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
        "examples": manifest.kind,
        "masking": manifest.masking.when,
        "mask_unit": manifest.masking.unit,
        "max_ngram": manifest.masking.max_ngram,
        "mask_share": manifest.masking.mask_share,
        "random_share": manifest.masking.random_share,
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
    if not notes and folder.absolute().name == str(
        manifest.length
    ):  # one of several lengths, which have their notes together
        notes = sorted((folder.absolute().parent / PARTS_FOLDER).glob("part-*.json"))
    for path in notes:
        try:
            fields = read_json(path)
            counts.update(fields["counts"])
            for one in fields["made"] if "made" in fields else [_first_schema(fields, manifest.length)]:
                if one["length"] == manifest.length:
                    made |= {(split, Shard(**shard)) for split, shard in one["shards"].items()}
                    counts.update(one["counts"])
        except (UserError, ValueError, KeyError, TypeError, AttributeError):
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


def _first_schema(fields: dict, length: int) -> dict:
    """A note of the first schema, whose parts have one length, as it would be written now."""
    return {"length": length, "shards": fields["shards"], "counts": {}}


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
