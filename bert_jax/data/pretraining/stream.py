"""Batches of pre-training examples by step: the position in the data is the step, nothing else has to be saved."""

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

ORDERED_TOGETHER = 1 << 14  # positions whose order is worked out in one go: the cost of NumPy's calls is shared


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
        """The examples at `indices`, in that order, as one structured array. Raises UserError at a damaged record."""
        shards = np.searchsorted(self._ends, indices, side="right")
        rows = indices - self._starts[shards]
        readers, size = self._readers, self.dtype.itemsize
        at = list(zip(shards.tolist(), rows.tolist(), strict=True))
        try:
            records = [readers[shard].read(row, row + 1)[0] for shard, row in at]
            whole = all(len(record) == size for record in records)
        except (RuntimeError, ValueError, IndexError):
            whole = False
        if not whole:
            self._name_damage(at)
        return np.frombuffer(b"".join(records), self.dtype)

    def batch(self, indices: NDArray[np.int64], seed: int, epoch: NDArray[np.int64] | int = 0) -> dict[str, np.ndarray]:
        """The examples at `indices` as a batch. Dynamic masks depend on seed, epoch and index of each alone."""
        batch = as_batch(self.read(indices))
        if self.manifest.segments == 1:
            batch["segment_b"] = batch["length"]
        if self._masker is None:
            return batch
        draws = RowGenerator(row_keys(indices, seed, epoch))
        masked = self._masker(batch["tokens"], batch["length"], draws).fields()
        return batch | {name: values.astype(np.int32) for name, values in masked.items()}

    def _name_damage(self, at: list[tuple[int, int]]) -> NoReturn:
        """Raises UserError for the first of these examples that cannot be read."""
        for shard, row in at:
            try:
                reason = f"{len(self._readers[shard].read(row, row + 1)[0])} bytes instead of {self.dtype.itemsize}"
            except (RuntimeError, ValueError, IndexError) as error:
                reason = str(error) or "unreadable"
            if reason != f"{self.dtype.itemsize} bytes instead of {self.dtype.itemsize}":
                raise UserError(
                    f"{self._paths[shard]}: example {row} is damaged ({reason}). "
                    "Run `bert-jax prep check` on the folder, then make its shards again"
                )
        raise UserError(f"{self._paths[at[0][0]]}: could not be read a moment ago, now it can. Check the disk")


class PretrainingBatches:
    """Batch `step` holds examples step * batch_size onwards of an endless stream, in a new seeded order each epoch.

    Dynamic masks are drawn anew in each epoch, the same ones however often and wherever the batch is read. A process
    reads only its rows of the global batch, so the order does not depend on the number of processes.
    """

    def __init__(self, shards: Shards, batch_size: int, seed: int, process: int = 0, processes: int = 1) -> None:
        if len(shards) == 0:
            raise UserError("the shards hold no training examples. Give `bert-jax prep shards` more text")
        self.shards, self.batch_size, self.seed = shards, batch_size, seed
        rows = batch_size // processes
        self._rows = np.arange(process * rows, (process + 1) * rows)
        self._order = functools.lru_cache(maxsize=4)(self._ordered)

    def batch(self, step: int) -> dict[str, np.ndarray]:
        position = step * self.batch_size + self._rows
        epoch, offset = np.divmod(position, len(self.shards))
        block, within = np.divmod(offset, ORDERED_TOGETHER)
        indices = np.empty_like(position)
        for number, part in set(zip(epoch.tolist(), block.tolist(), strict=True)):
            here = (epoch == number) & (block == part)
            indices[here] = self._order(number, part)[within[here]]
        return self.shards.batch(indices, self.seed, epoch)

    def _ordered(self, epoch: int, block: int) -> NDArray[np.int64]:
        """Which examples stand at one block of an epoch's positions."""
        start = block * ORDERED_TOGETHER
        positions = np.arange(start, min(start + ORDERED_TOGETHER, len(self.shards)), dtype=np.uint64)
        return permute(positions, len(self.shards), self.seed * 1_000_003 + epoch)


def held_out_batches(
    shards: Shards, batch_size: int, limit: int, process: int = 0, processes: int = 1
) -> list[dict[str, np.ndarray]]:
    """This process's rows of the first `limit` examples in order; rows of weight 0 fill the last batch up.

    Dynamic masks come from the seed of the shards: they are the same at each evaluation, and in each run.
    """
    count = min(limit, len(shards))
    rows = batch_size // processes
    mine = slice(process * rows, (process + 1) * rows)
    batches = []
    for start in range(0, count, batch_size):
        batch = shards.batch(np.arange(start, min(start + batch_size, count)), shards.manifest.seed)
        empty = batch_size - len(batch["weight"])
        filled = {name: np.pad(rows, ((0, empty), *[(0, 0)] * (rows.ndim - 1))) for name, rows in batch.items()}
        batches.append({name: values[mine] for name, values in filled.items()})
    return batches


def as_batch(records: np.ndarray) -> dict[str, np.ndarray]:
    """Records as int32 arrays: tokens B L, masked_positions and masked_labels B P, the others B; weight float32 B.

    In rows that are no pairs segment B starts at the end. Of packed rows `starts` is B L bool.
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
        whole = reader.ok() and reader.num_records() == shard.examples
    except (RuntimeError, ValueError):
        whole = False
    if not whole:
        raise UserError(f"{path}: cannot be read as {shard.examples} records. Run `bert-jax prep shards` again")
    return reader
