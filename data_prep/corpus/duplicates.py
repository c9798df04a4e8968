"""Documents that are in the corpus twice: found by a pass of its own over the text, left out by the job.

Two documents are the same if their texts are, but for blanks around them; the first one in the order of the input
stays. The pass keeps 16 bytes a document on disk, in the folder of the parts, so that a job that goes on need not read
the text again; what it needs in memory is bounded.
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
from data_prep.corpus.reading import Document, Losses, Reading
from data_prep.job.shards import write_bytes

BUCKET_DOCUMENTS = 1 << 22  # compared at a time: about 150 MB

Report = Callable[[float], None]


@dataclasses.dataclass(frozen=True)
class Duplicates:
    """A file that says of each part which of its documents, counted from 0, are left out."""

    path: Path

    def of(self, part: int) -> np.ndarray:
        numbers = np.load(self.path, mmap_mode="r")
        return np.array(numbers[numbers[part] : numbers[part + 1]])

    def digest(self, part: int) -> str:
        return hashlib.sha256(self.of(part).tobytes()).hexdigest()

    def without(self, part: int, documents: Iterable[Document], losses: Losses) -> Iterator[Document]:
        """The documents of a part that stay; the others are counted."""
        dropped = set(self.of(part).tolist())
        for number, document in enumerate(documents):
            if number in dropped:
                losses["documents_duplicate"] += 1
            else:
                yield document


@dataclasses.dataclass(frozen=True)
class HashPart:
    """Calling it leaves a file with the hashes of a part's documents, in order, whole or not at all."""

    folder: Path
    reading: Reading

    def __call__(self, part: Part, report: Report) -> None:
        if self.path(part).is_file():
            return
        hashes, characters = bytearray(), 0
        for document in read_part(part, self.reading, Losses()):
            text = document.text.strip().encode("utf-8", "surrogatepass")
            hashes += hashlib.blake2b(text, digest_size=16).digest()
            characters += len(document.text)
            report(min(1.0, characters / max(1, part.text_bytes)))
        _save(self.path(part), np.frombuffer(hashes, np.uint64).reshape(-1, 2))

    def path(self, part: Part) -> Path:
        return self.folder / f"hashes-{part.index:05d}-{self.stamp([part])}.npy"

    def stamp(self, parts: Sequence[Part]) -> str:
        """Changes with the text of the parts and with how it is read."""
        decisive = [dataclasses.asdict(self.reading), *(dataclasses.asdict(part) for part in parts)]
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]


def find_duplicates(
    parts: Sequence[Part],
    reading: Reading,
    folder: Path,
    run: Callable[[Callable[[Part, Report], None], Sequence[Part]], None],
) -> Duplicates:
    """The duplicates of the whole corpus are in a file in `folder`. `run` applies a function to all parts, anyhow.

    What an earlier run of the same parts left is used. Several machines may do this at once: their files are the same.
    """
    job = HashPart(folder, reading)
    path = folder / f"duplicates-{job.stamp(parts)}.npy"
    wanted = {path, *(job.path(part) for part in parts)}
    for stale in {*folder.glob("hashes-*.npy"), *folder.glob("duplicates-*.npy")} - wanted:
        stale.unlink(missing_ok=True)
    if not path.is_file():
        run(job, [part for part in parts if not job.path(part).is_file()])
        _save(path, _later_ones([job.path(part) for part in parts]))
    return Duplicates(path)


def _later_ones(paths: list[Path]) -> np.ndarray:
    """Where each part's numbers start in this array, where the last ones end, and the numbers of the duplicates."""
    sizes = [len(np.load(path, mmap_mode="r")) for path in paths]
    starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    buckets = max(1, -(-int(starts[-1]) // BUCKET_DOCUMENTS))
    found = np.sort(np.concatenate([_later_in_bucket(paths, starts, b, buckets) for b in range(buckets)]))
    cuts = np.searchsorted(found, starts)
    return np.concatenate([cuts + len(starts), found - np.repeat(starts[:-1], np.diff(cuts))])


def _later_in_bucket(paths: list[Path], starts: np.ndarray, bucket: int, buckets: int) -> np.ndarray:
    """The numbers, in the corpus, of the documents of a bucket of hashes that have been there before."""
    hashes, numbers = [], []
    for path, start in zip(paths, starts, strict=False):
        of_part = np.load(path)
        rows = np.flatnonzero(of_part[:, 0] % np.uint64(buckets) == bucket)
        hashes.append(of_part[rows])
        numbers.append(rows + start)
    low, high = np.concatenate(hashes).T
    number = np.concatenate(numbers)
    order = np.lexsort((high, low))  # stable: of equal ones, the first in the corpus comes first
    low, high = low[order], high[order]
    again = (low[1:] == low[:-1]) & (high[1:] == high[:-1])
    return number[order][1:][again]


def _save(path: Path, array: np.ndarray) -> None:
    file = io.BytesIO()
    np.save(file, array)
    write_bytes(path, file.getvalue())
