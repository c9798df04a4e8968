"""Batches of pre-training examples by step. The step is the whole position in the data: nothing else is saved."""

import functools
from pathlib import Path
from typing import NoReturn

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader
from numpy.typing import NDArray

from bert_jax.data.pretraining.masking import make_masker
from bert_jax.data.pretraining.permutation import permute
from bert_jax.data.pretraining.record import TOKENIZER_FOLDER, Manifest, Shard, document_starts, read_manifest
from bert_jax.data.pretraining.row_random import RowGenerator, row_keys
from bert_jax.errors import UserError
from bert_jax.text import load_tokenizer

PERMUTED_TOGETHER = 1 << 14  # positions permuted in one call, which shares the cost of NumPy's calls


class Shards:
    """Random access to the examples of one split of a folder of shards."""

    def __init__(self, folder: Path, split: str, manifest: Manifest | None = None) -> None:
        self.manifest = manifest or read_manifest(folder)
        self.dtype = self.manifest.dtype
        self._shards = self.manifest.splits.get(split, ())
        self._paths = [folder / shard.file for shard in self._shards]
        sizes = np.array([shard.examples for shard in self._shards], np.int64)
        self._ends = np.cumsum(sizes)
        self._starts = self._ends - sizes
        self._readers = [_open(path, shard) for path, shard in zip(self._paths, self._shards, strict=True)]
        self._masker = None
        if self.manifest.masking.when == "dynamic":
            self._masker = make_masker(self.manifest.masking, load_tokenizer(folder / TOKENIZER_FOLDER))

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def read(self, indices: NDArray[np.int64]) -> np.ndarray:
        """Return the examples at `indices`, in that order, as one structured array.

        Raises UserError for a damaged record.
        """
        shards = np.searchsorted(self._ends, indices, side="right")
        rows = indices - self._starts[shards]
        readers, size = self._readers, self.dtype.itemsize
        places = list(zip(shards.tolist(), rows.tolist(), strict=True))
        try:
            records = [readers[shard].read(row, row + 1)[0] for shard, row in places]
            intact = all(len(record) == size for record in records)
        except (RuntimeError, ValueError, IndexError):
            intact = False
        if not intact:
            self._name_damage(places)
        return np.frombuffer(b"".join(records), self.dtype)

    def batch(self, indices: NDArray[np.int64], seed: int, epoch: NDArray[np.int64] | int = 0) -> dict[str, np.ndarray]:
        """Return the examples at `indices` as a batch. Dynamic masks depend on seed, epoch and index only."""
        batch = as_batch(self.read(indices))
        if self.manifest.segments == 1:
            batch["segment_b"] = batch["length"]
        if self._masker is None:
            return batch
        draws = RowGenerator(row_keys(indices, seed, epoch))
        masked = self._masker(batch["tokens"], batch["length"], draws).fields()
        return batch | {name: values.astype(np.int32) for name, values in masked.items()}

    def _name_damage(self, places: list[tuple[int, int]]) -> NoReturn:
        """Raise UserError for the first of these examples, (shard, row), that cannot be read."""
        for shard, row in places:
            try:
                reason = f"{len(self._readers[shard].read(row, row + 1)[0])} bytes instead of {self.dtype.itemsize}"
            except (RuntimeError, ValueError, IndexError) as error:
                reason = str(error) or "unreadable"
            if reason != f"{self.dtype.itemsize} bytes instead of {self.dtype.itemsize}":
                raise UserError(
                    f"{self._paths[shard]}: example {row} is damaged ({reason}). "
                    "Run `bert-jax prep check` on the folder, then make its shards again"
                )
        raise UserError(f"{self._paths[places[0][0]]}: could not be read a moment ago, now it can. Check the disk")


class PretrainingBatches:
    """Batches of an endless stream of examples, in a new seeded order in each epoch.

    Batch `step` has the examples from position first_row + (step - first_step) * batch_size on. Dynamic masks are new
    in each epoch, and the same whenever and wherever a batch is read. A process reads only `rows` of the global batch
    (default: all), so the order does not depend on the number of processes.
    """

    def __init__(
        self,
        shards: Shards,
        batch_size: int,
        seed: int,
        rows: NDArray[np.int64] | None = None,
        *,
        first_step: int = 0,
        first_row: int = 0,
    ) -> None:
        if len(shards) == 0:
            raise UserError("the shards hold no training examples. Give `bert-jax prep shards` more text")
        self.shards, self.batch_size, self.seed = shards, batch_size, seed
        self.first_step, self.first_row = first_step, first_row
        self._rows = np.arange(batch_size) if rows is None else rows
        self._order = functools.lru_cache(maxsize=4)(self._permuted_block)

    def batch(self, step: int) -> dict[str, np.ndarray]:
        position = self.first_row + (step - self.first_step) * self.batch_size + self._rows
        epoch, offset = np.divmod(position, len(self.shards))
        block, within = np.divmod(offset, PERMUTED_TOGETHER)
        indices = np.empty_like(position)
        for number, part in set(zip(epoch.tolist(), block.tolist(), strict=True)):
            in_block = (epoch == number) & (block == part)
            indices[in_block] = self._order(number, part)[within[in_block]]
        return self.shards.batch(indices, self.seed, epoch)

    def _permuted_block(self, epoch: int, block: int) -> NDArray[np.int64]:
        """Return the indices of the examples at one block of an epoch's positions."""
        start = block * PERMUTED_TOGETHER
        positions = np.arange(start, min(start + PERMUTED_TOGETHER, len(self.shards)), dtype=np.uint64)
        return permute(positions, len(self.shards), self.seed * 1_000_003 + epoch)


def held_out_batches(
    shards: Shards, batch_size: int, limit: int, rows: NDArray[np.int64] | None = None
) -> list[dict[str, np.ndarray]]:
    """Return batches of the first `limit` examples, in order, of each only `rows` (default: all).

    Rows of weight 0 fill the last batch.

    Dynamic masks depend on the seed of the shards, so they are the same in each evaluation and each run.
    """
    count = min(limit, len(shards))
    own_rows = np.arange(batch_size) if rows is None else rows
    batches = []
    for start in range(0, count, batch_size):
        batch = shards.batch(np.arange(start, min(start + batch_size, count)), shards.manifest.seed)
        empty = batch_size - len(batch["weight"])
        filled = {name: np.pad(x, ((0, empty), *[(0, 0)] * (x.ndim - 1))) for name, x in batch.items()}
        batches.append({name: values[own_rows] for name, values in filled.items()})
    return batches


def as_batch(records: np.ndarray) -> dict[str, np.ndarray]:
    """Return records as int32 arrays: tokens B L, masked_positions and masked_labels B P, the others B.

    Adds weight, float32 B. In rows that are not pairs, segment B starts at the end. In packed rows, starts is bool B L.
    """
    names = [name for name in records.dtype.names or () if name != "starts"]
    batch = {name: np.ascontiguousarray(records[name], np.int32) for name in names}
    if "starts" in (records.dtype.names or ()):
        batch["starts"] = document_starts(records)
    return {"segment_b": batch["length"], **batch, "weight": np.ones(len(records), np.float32)}


def _open(path: Path, shard: Shard) -> ArrayRecordReader:
    if not path.is_file():
        raise UserError(f"{path} is missing. Copy it back, or run `bert-jax prep shards` again")
    if path.stat().st_size != shard.bytes:
        raise UserError(
            f"{path} has {path.stat().st_size} bytes, the manifest says {shard.bytes}: truncated or altered. "
            "Copy it again, or run `bert-jax prep shards` again"
        )
    try:
        reader = ArrayRecordReader(str(path))
        intact = reader.ok() and reader.num_records() == shard.examples
    except (RuntimeError, ValueError):
        intact = False
    if not intact:
        raise UserError(f"{path}: cannot be read as {shard.examples} records. Run `bert-jax prep shards` again")
    return reader
