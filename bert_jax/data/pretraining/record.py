"""The contract between data preparation and training: the record of a pre-training example, and the manifest.

NumPy and the standard library only: preparation workers import this file too.
"""

import collections
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from bert_jax.config import LARGEST_SIZES, check_ranges, from_table
from bert_jax.data.pretraining.example_kinds import PAIR_LOSSES, ExampleKind, MaskTiming, MaskUnit
from bert_jax.errors import UserError
from bert_jax.files import read_json
from bert_jax.output import require_local

SCHEMA_VERSION = 2
MAX_LENGTH = (1 << 16) - 1  # positions are stored in 16 bits
READABLE_SCHEMAS = (1, 2)  # schema 1 had pairs with static masks only; the fields that it lacks have defaults here
WRITER_OPTIONS = "group_size:1,uncompressed"  # one record per chunk: a random read costs 2 microseconds
MANIFEST = "manifest.json"
SHARD_SUFFIX = ".array_record"
TOKENIZER_FOLDER = "tokenizer"

IS_NEXT, IS_RANDOM = 0, 1  # next_label as in the published checkpoints; of sentence-order, 1 means swapped


def record_dtype(
    length: int, max_predictions: int, vocab_size: int, kind: ExampleKind = "pairs", when: MaskTiming = "static"
) -> np.dtype:
    """Return the layout of one example: little-endian, of fixed size, with the fields that its kind needs.

    tokens            `length` ids, padded with the tokenizer's [PAD]
    length            number of tokens before the padding, with all [CLS] and [SEP]
    segment_b         pairs only: index of the first token of segment B
    next_label        pairs only: IS_NEXT or IS_RANDOM
    starts            packed rows only: one bit per token, lowest first, set at the first token of a document
    masked_positions  static masks only: positions to predict, ascending; zeros after `masked_count`
    masked_labels     static masks only: the original ids at these positions; zeros after `masked_count`
    masked_count      static masks only: number of positions to predict
    """
    token = "<u2" if vocab_size <= 1 << 16 else "<u4"
    fields: list[tuple] = [("tokens", token, (length,)), ("length", "<u2")]
    if kind in PAIR_LOSSES:
        fields += [("segment_b", "<u2"), ("next_label", "<u2")]
    if kind == "packed":
        fields += [("starts", "u1", (-(-length // 8),))]
    if when == "static":
        fields += [
            ("masked_positions", "<u2", (max_predictions,)),
            ("masked_labels", token, (max_predictions,)),
            ("masked_count", "<u2"),
        ]
    return np.dtype(fields)


def document_starts(rows: np.ndarray) -> np.ndarray:
    """Return a bool array N L that is True at the first tokens of documents in packed rows."""
    return np.unpackbits(rows["starts"], axis=1, count=rows["tokens"].shape[1], bitorder="little").astype(bool)


@dataclasses.dataclass(frozen=True)
class Shard:
    """One file of records."""

    file: str
    examples: int
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Masking:
    """The rule by which tokens are masked. Devlin et al. 2018, 3.1.

    when  static: the masks are in the shards; dynamic: training draws new ones in each epoch
    unit  what is masked together: a token, a whole word, or up to `max_ngram` words
    """

    rate: float = 0.15
    max_predictions: int = 20
    mask_share: float = 0.8
    random_share: float = 0.1
    when: MaskTiming = "static"
    unit: MaskUnit = "token"
    max_ngram: int = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of a folder of shards. `splits` is {"train": (Shard, ...), "held_out": (Shard, ...)}."""

    length: int
    vocab_size: int
    tokenizer: str  # fingerprint
    masking: Masking
    seed: int
    dupe_factor: int
    splits: dict[str, tuple[Shard, ...]]
    statistics: dict[str, float]
    settings: dict[str, object]  # the resolved configuration of `prep shards`
    kind: ExampleKind = "pairs"
    separators: int = 1  # between the two texts of a pair
    segments: int = 2  # segment ids of a pair: 1 for models without them
    schema: int = SCHEMA_VERSION

    @property
    def dtype(self) -> np.dtype:
        return record_dtype(self.length, self.masking.max_predictions, self.vocab_size, self.kind, self.masking.when)

    @property
    def fingerprint(self) -> str:
        """The sha256 that identifies the data: over the hashes of all shards, the rule of dynamic masks, segments."""
        decisive = [shard.sha256 for split in sorted(self.splits) for shard in self.splits[split]]
        if self.masking.when == "dynamic":
            decisive.append(json.dumps([dataclasses.asdict(self.masking), self.seed], sort_keys=True))
        if self.segments == 1 and self.kind in PAIR_LOSSES:
            decisive.append("one segment")
        return hashlib.sha256("\n".join(decisive).encode()).hexdigest()

    def examples(self, split: str) -> int:
        return sum(shard.examples for shard in self.splits.get(split, ()))

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True) + "\n"


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a folder of shards. Raises UserError if it is missing, broken or of another schema."""
    path = folder / MANIFEST
    require_local(folder, "a folder of shards")
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder. Make the shards with `bert-jax prep shards --output {folder} ...`")
    if not path.is_file():
        if lengths := sorted(str(manifest.parent) for manifest in folder.glob(f"*/{MANIFEST}")):
            raise UserError(f"{folder}: no {MANIFEST}, shards of several lengths. Give one of {', '.join(lengths)}")
        raise UserError(f"{folder}: no {MANIFEST}, not finished shards. Run `bert-jax prep shards` to its end")
    try:
        fields = _read_fields(path)
        if fields["schema"] not in READABLE_SCHEMAS:
            raise UserError(
                f"{path}: schema {fields['schema']}, this version reads {' and '.join(map(str, READABLE_SCHEMAS))}. "
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
    _check_ranges(manifest, path)
    return dataclasses.replace(manifest, splits=splits, settings=settings)


def _read_fields(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except UserError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise UserError(f"{path}: not a manifest of shards: {reason}. Run `bert-jax prep shards` again") from None


def _check_ranges(manifest: Manifest, path: Path) -> None:
    """Raise UserError for sizes that `prep shards` never writes: such records might not fit into memory."""
    try:
        check_ranges(manifest, length=(3, MAX_LENGTH), vocab_size=(1, LARGEST_SIZES["vocab_size"]), separators=(0, 2))
        check_ranges(manifest.masking, max_predictions=(0, MAX_LENGTH), rate=(0.0, 1.0), max_ngram=(1, MAX_LENGTH))
    except UserError as error:
        raise UserError(f"{path}: {error}. Run `bert-jax prep shards` again") from None


def check_files(folder: Path, manifest: Manifest) -> None:
    """Raise UserError if the manifest lists a file twice or outside of the folder, or doesn't list a file in it.

    `bert-jax prep check` verifies the content of the files.
    """
    files = [shard.file for shards in manifest.splits.values() for shard in shards]
    strange = [file for file, times in collections.Counter(files).items() if times > 1 or Path(file).name != file]
    if strange:
        raise UserError(f"{folder / MANIFEST}: {strange[0]!r} is listed twice or lies elsewhere. Make the shards again")
    if extra := sorted({path.name for path in folder.glob(f"*{SHARD_SUFFIX}")} - set(files)):
        raise UserError(f"{folder / MANIFEST}: {extra[0]} is there and not listed. Make the shards again")
