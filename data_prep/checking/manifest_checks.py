"""Compare a manifest with the examples in its shards, with its own settings, and with the notes of the parts."""

from collections import Counter
from pathlib import Path

import numpy as np

from bert_jax.data.pretraining.record import Manifest, Shard
from bert_jax.errors import UserError
from bert_jax.files import read_json
from data_prep.job.part_job import PARTS_FOLDER, SPLITS

SHARE_TOLERANCE = 1e-6  # shares are written with six decimals
LABEL_COUNTS = {"pairs": "examples_random_next", "sentence-order": "examples_swapped"}  # counts of label 1
LABEL_SHARES = {"pairs": "share_random_next", "sentence-order": "share_swapped"}


class StatisticsCheck:
    """Statistics counted again from the examples of all shards."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.counts: Counter[str] = Counter()

    def add(self, rows: np.ndarray) -> None:
        """Count some examples."""
        names = rows.dtype.names or ()
        self.counts["examples"] += len(rows)
        self.counts["tokens_in_examples"] += int(rows["length"].sum(dtype=np.int64))
        if self.manifest.kind in LABEL_COUNTS:
            self.counts[LABEL_COUNTS[self.manifest.kind]] += int((rows["next_label"] == 1).sum())
        if "masked_count" in names:
            self.counts["tokens_masked"] += int(rows["masked_count"].sum(dtype=np.int64))

    def problems(self) -> list[str]:
        """Return the statistics of the manifest that differ from the counts."""
        counts, manifest = self.counts, self.manifest
        if not counts["examples"]:
            return []
        shares = {"share_padding": 1 - counts["tokens_in_examples"] / (manifest.length * counts["examples"])}
        if "tokens_masked" in counts:
            shares["share_masked"] = counts["tokens_masked"] / counts["tokens_in_examples"]
        if manifest.kind in LABEL_SHARES:
            shares[LABEL_SHARES[manifest.kind]] = counts[LABEL_COUNTS[manifest.kind]] / counts["examples"]
        stated = manifest.statistics
        shares["share_unknown"] = stated.get("tokens_unknown", 0) / max(1, stated.get("tokens", 0))
        if manifest.kind == "pairs":
            lone = stated.get("examples_of_one_sentence", 0)
            chosen, by_choice = counts["examples_random_next"] - lone, counts["examples"] - lone
            shares["share_random_next_by_choice"] = chosen / max(1, by_choice)
        # A manifest leaves out counts of zero. Statistics that this version does not know are not compared.
        wrong = [name for name, count in counts.items() if stated.get(name, 0) != count]
        wrong += [n for n, share in shares.items() if n in stated and abs(stated[n] - share) > SHARE_TOLERANCE]
        actual: dict[str, float] = {**counts, **shares}
        return [f"statistics say {name} {stated.get(name, 0)}, the examples {round(actual[name], 6)}" for name in wrong]


def compare_settings(manifest: Manifest) -> list[str]:
    """Return the fields of the manifest that differ from the settings recorded in it."""
    fields = {
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
        for name, value in fields.items()
        if name in settings and settings[name] != value
    ]


def compare_parts(folder: Path, manifest: Manifest) -> list[str]:
    """Return where the manifest differs from the notes of the parts. Nothing if the notes were removed."""
    listed = {(split, shard) for split, shards in manifest.splits.items() for shard in shards}
    noted: set[tuple[str, Shard]] = set()
    counts: Counter[str] = Counter()
    paths = _note_paths(folder, manifest)
    for path in paths:
        try:
            fields = read_json(path)
            counts.update(fields["counts"])
            for entry in fields["made"] if "made" in fields else [_upgrade_first_schema(fields, manifest.length)]:
                if entry["length"] == manifest.length:
                    noted |= {(split, Shard(**shard)) for split, shard in entry["shards"].items()}
                    counts.update(entry["counts"])
        except (UserError, ValueError, KeyError, TypeError, AttributeError):
            return [f"{PARTS_FOLDER}/{path.name} is damaged"]
    if not paths:
        return []
    unlisted = sorted(shard.file for _, shard in noted - listed)
    unknown = sorted(shard.file for _, shard in listed - noted)
    problems = [f"{name} is not listed as it was made" for name in unlisted]
    problems += [f"{name} is listed, and no part made it so" for name in unknown if name not in unlisted]
    stated = manifest.statistics
    return problems + [
        f"statistics say {name} {stated.get(name, 0)}, the parts {count}"
        for name, count in sorted(counts.items())
        if stated.get(name, 0) != count
    ]


def _note_paths(folder: Path, manifest: Manifest) -> list[Path]:
    """Return the notes of the parts. The folders of several lengths have theirs together, one level up."""
    paths = sorted((folder / PARTS_FOLDER).glob("part-*.json"))
    if not paths and folder.absolute().name == str(manifest.length):
        paths = sorted((folder.absolute().parent / PARTS_FOLDER).glob("part-*.json"))
    return paths


def _upgrade_first_schema(fields: dict, length: int) -> dict:
    """Return the only entry of a note of the first schema, which has one length, in the current form."""
    return {"length": length, "shards": fields["shards"], "counts": {}}


def compare_splits(manifest: Manifest) -> list[str]:
    """Return unknown splits, and shards that are listed under another split than their name says."""
    problems = [
        f"split {split!r} is not one of {', '.join(SPLITS)}" for split in manifest.splits if split not in SPLITS
    ]
    return problems + [
        f"{shard.file} is listed under {split}"
        for split, shards in manifest.splits.items()
        for shard in shards
        if not shard.file.startswith(f"{split}-")
    ]
