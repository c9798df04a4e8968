"""The contract between data preparation and training: one pre-training example, and the manifest beside the shards.

NumPy and the standard library only: preparation workers import this file too.
"""

import collections
import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np

from bert_jax.config import from_table
from bert_jax.errors import UserError

SCHEMA_VERSION = 1
WRITER_OPTIONS = "group_size:1,uncompressed"  # one record a chunk: a random read costs 2 microseconds
MANIFEST = "manifest.json"
SUFFIX = ".array_record"  # of a shard
TOKENIZER_FOLDER = "tokenizer"

IS_NEXT, IS_RANDOM = 0, 1  # next_label, in the order of the published checkpoints


def record_dtype(length: int, max_predictions: int, vocab_size: int) -> np.dtype:
    """The layout of one example, little-endian, fixed size.

    tokens            `length` ids, padded with the tokenizer's [PAD]
    length            how many of them are text: [CLS] and both [SEP] included
    segment_b         index of the first token of segment B; equal to `length` where there is no B
    next_label        IS_NEXT or IS_RANDOM
    masked_positions  where something is to be predicted, ascending; zeros after `masked_count`
    masked_labels     the original ids there; zeros after `masked_count`
    masked_count      how many of the two above count
    """
    token = "<u2" if vocab_size <= 1 << 16 else "<u4"
    return np.dtype(
        [
            ("tokens", token, (length,)),
            ("length", "<u2"),
            ("segment_b", "<u2"),
            ("next_label", "<u2"),
            ("masked_positions", "<u2", (max_predictions,)),
            ("masked_labels", token, (max_predictions,)),
            ("masked_count", "<u2"),
        ]
    )


@dataclasses.dataclass(frozen=True)
class Shard:
    """One file of records."""

    file: str
    examples: int
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Masking:
    """How tokens were chosen and hidden. Devlin et al. 2018, 3.1."""

    rate: float = 0.15
    max_predictions: int = 20
    mask_share: float = 0.8
    random_share: float = 0.1


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a folder of shards holds. `splits` is {"train": (Shard, ...), "held_out": (Shard, ...)}."""

    length: int
    vocab_size: int
    tokenizer: str  # fingerprint
    masking: Masking
    seed: int
    dupe_factor: int
    splits: dict[str, tuple[Shard, ...]]
    statistics: dict[str, float]
    settings: dict[str, object]  # the resolved configuration that made them
    schema: int = SCHEMA_VERSION

    @property
    def dtype(self) -> np.dtype:
        return record_dtype(self.length, self.masking.max_predictions, self.vocab_size)

    @property
    def fingerprint(self) -> str:
        """Identifies the data: sha256 over the hashes of all shards, in order."""
        hashes = [shard.sha256 for split in sorted(self.splits) for shard in self.splits[split]]
        return hashlib.sha256("\n".join(hashes).encode()).hexdigest()

    def examples(self, split: str) -> int:
        return sum(shard.examples for shard in self.splits.get(split, ()))

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True) + "\n"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder of shards; says what to do where it is missing, broken or of another schema."""
    path = folder / MANIFEST
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder. Make the shards with `bert-jax prep shards --output {folder} ...`")
    if not path.is_file():
        raise UserError(f"{folder}: no {MANIFEST}, not finished shards. Run `bert-jax prep shards` to its end")
    try:
        fields = json.loads(path.read_text())
        if fields["schema"] != SCHEMA_VERSION:
            raise UserError(
                f"{path}: schema {fields['schema']}, this version reads {SCHEMA_VERSION}. "
                "Run `bert-jax prep shards` again"
            )
        splits = {
            split: tuple(from_table(Shard, shard, f"{path}: {split}") for shard in shards)
            for split, shards in fields.pop("splits").items()
        }
        settings = fields.pop("settings")
        manifest = from_table(Manifest, {**fields, "splits": {}, "settings": {}}, str(path))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: not a manifest of shards. Run `bert-jax prep shards` again") from None
    return dataclasses.replace(manifest, splits=splits, settings=settings)


def check_files(folder: Path, manifest: Manifest) -> None:
    """Raises UserError where the manifest lists a file twice or elsewhere, or leaves out one that is there.

    What is in the files, `bert-jax prep check` tells.
    """
    files = [shard.file for shards in manifest.splits.values() for shard in shards]
    strange = [file for file, times in collections.Counter(files).items() if times > 1 or Path(file).name != file]
    if strange:
        raise UserError(f"{folder / MANIFEST}: {strange[0]!r} is listed twice or lies elsewhere. Make the shards again")
    if extra := sorted({path.name for path in folder.glob(f"*{SUFFIX}")} - set(files)):
        raise UserError(f"{folder / MANIFEST}: {extra[0]} is there and not listed. Make the shards again")
