"""Find documents that occur more than once in a corpus, in a separate pass over the text.

Two documents are duplicates if their texts are equal apart from surrounding blanks. The first in input order is kept.
The pass stores a 16-byte hash for each document on disk, beside the notes of the parts, so a resumed job does not read
the text again. Its memory is bounded.
"""

import dataclasses
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from data_prep.corpus.documents import read_part
from data_prep.corpus.parts import Part
from data_prep.corpus.reader_contract import CorpusDocument, CorpusOptions, NotedCounter
from data_prep.job.shards import write_bytes_durably

BUCKET_DOCUMENTS = 1 << 22  # documents compared at a time: about 150 MB of memory

ShareReporter = Callable[[float], None]


@dataclasses.dataclass(frozen=True)
class Duplicates:
    """A file that lists, for each part, the indices of its duplicate documents, counted from 0 within the part."""

    path: Path

    def in_part(self, part: int) -> np.ndarray:
        """Return the indices of the duplicates in a part."""
        table = np.load(self.path, mmap_mode="r")
        return np.array(table[table[part] : table[part + 1]])

    def digest(self, part: int) -> str:
        """Return a hash of the duplicates in a part."""
        return hashlib.sha256(self.in_part(part).tobytes()).hexdigest()

    def without(self, part: int, documents: Iterable[CorpusDocument], counts: NotedCounter) -> Iterator[CorpusDocument]:
        """Yield the documents of a part that are not duplicates, and count those that are."""
        dropped = set(self.in_part(part).tolist())
        for number, document in enumerate(documents):
            if number in dropped:
                counts["documents_duplicate"] += 1
            else:
                yield document


@dataclasses.dataclass(frozen=True)
class HashPart:
    """A task that writes the hashes of a part's documents, in order, to a file. The file is never left half-written."""

    folder: Path
    options: CorpusOptions

    def __call__(self, part: Part, report: ShareReporter) -> None:
        if self.path(part).is_file():
            return
        hashes, characters = bytearray(), 0
        for document in read_part(part, self.options, NotedCounter()):
            text = document.text.strip().encode("utf-8", "surrogatepass")
            hashes += hashlib.blake2b(text, digest_size=16).digest()
            characters += len(document.text)
            report(min(1.0, characters / max(1, part.text_bytes)))
        _save(self.path(part), np.frombuffer(hashes, np.uint64).reshape(-1, 2))

    def path(self, part: Part) -> Path:
        """Return the path of a part's hashes."""
        return self.folder / f"hashes-{part.index:05d}-{self.stamp([part])}.npy"

    def stamp(self, parts: Sequence[Part]) -> str:
        """Return a hash of everything that decides the documents of these parts."""
        decisive = [dataclasses.asdict(self.options), *(dataclasses.asdict(part) for part in parts)]
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]


def find_duplicates(
    parts: Sequence[Part],
    options: CorpusOptions,
    folder: Path,
    run: Callable[[Callable[[Part, ShareReporter], None], Sequence[Part]], None],
) -> Duplicates:
    """Write the duplicates of the whole corpus to a file in `folder`.

    `run(function, parts)` applies a function to all parts, in any order. Hashes that an earlier run left for the same
    parts are reused. Several machines may do this at once, because they write the same bytes.
    """
    job = HashPart(folder, options)
    path = folder / f"duplicates-{job.stamp(parts)}.npy"
    current = {path, *(job.path(part) for part in parts)}
    for stale in {*folder.glob("hashes-*.npy"), *folder.glob("duplicates-*.npy")} - current:
        stale.unlink(missing_ok=True)
    if not path.is_file():
        run(job, [part for part in parts if not job.path(part).is_file()])
        _save(path, _duplicate_table([job.path(part) for part in parts]))
    return Duplicates(path)


def _duplicate_table(paths: list[Path]) -> np.ndarray:
    """Return one array: for each part the offset of its duplicates in the array, the end, then their indices."""
    sizes = [len(np.load(path, mmap_mode="r")) for path in paths]
    starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    buckets = max(1, -(-int(starts[-1]) // BUCKET_DOCUMENTS))
    repeats = np.sort(np.concatenate([_repeats_in_bucket(paths, starts, b, buckets) for b in range(buckets)]))
    cuts = np.searchsorted(repeats, starts)
    return np.concatenate([cuts + len(starts), repeats - np.repeat(starts[:-1], np.diff(cuts))])


def _repeats_in_bucket(paths: list[Path], starts: np.ndarray, bucket: int, buckets: int) -> np.ndarray:
    """Return the corpus indices of documents in a bucket of hashes that repeat an earlier document."""
    hashes, indices = [], []
    for path, start in zip(paths, starts, strict=False):
        part_hashes = np.load(path)
        rows = np.flatnonzero(part_hashes[:, 0] % np.uint64(buckets) == bucket)
        hashes.append(part_hashes[rows])
        indices.append(rows + start)
    low, high = np.concatenate(hashes).T
    index = np.concatenate(indices)
    order = np.lexsort((high, low))  # stable: equal hashes stay in corpus order
    low, high = low[order], high[order]
    is_repeat = (low[1:] == low[:-1]) & (high[1:] == high[:-1])
    return index[order][1:][is_repeat]


def _save(path: Path, array: np.ndarray) -> None:
    file = io.BytesIO()
    np.save(file, array)
    write_bytes_durably(path, file.getvalue())
