"""Show the progress of a job of many tasks, and of reading a text."""

import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self

from bert_jax import progress
from bert_jax.wording import counted
from data_prep.corpus.parts import Source


class JobProgress:
    """A progress line with megabytes of text a second, examples and the time left. `sizes` are bytes by task."""

    def __init__(self, sizes: list[int], label: str = "shards") -> None:
        self.sizes = sizes
        self.shares = [0.0] * len(sizes)
        self.examples = 0
        self.parts = 0
        self.started = time.monotonic()
        self._line = progress.Progress(label, max(1, sum(sizes)))

    def __enter__(self) -> Self:
        self._line.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._line.__exit__(kind, error, trace)

    def share(self, index: int, share: float) -> None:
        """Set the finished share of task `index`."""
        self.shares[index] = share
        self._show()

    def done(self, index: int, examples: int) -> None:
        """Mark task `index` as finished, with this number of examples."""
        self.shares[index] = 1.0
        self.examples += examples
        self.parts += 1
        self._show()

    def _show(self) -> None:
        done = sum(size * share for size, share in zip(self.sizes, self.shares, strict=True))
        speed = done / max(1e-9, time.monotonic() - self.started)
        examples = [counted(self.examples, "example")] if self.examples else []
        parts = f"part {self.parts} of {len(self.sizes)}"
        self._line.at(done, details=[f"{speed / 1e6:.2f} MB/s", *examples, parts])


def show_reading(
    texts: Iterable[str], sources: Sequence[Source], sample_mb: int, line: progress.Progress, next_stage: str
) -> Iterator[str]:
    """Yield the texts of a sample. `line` shows how much is read, then `next_stage`."""
    line.total = max(1, min(sum(source.text_bytes for source in sources), sample_mb * 1_000_000))
    for text in texts:
        yield text
        line.advance(len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass")))
    line.begin(next_stage)
