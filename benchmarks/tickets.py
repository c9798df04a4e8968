"""Make a substitute for labelled support tickets: paragraphs of documentation, labelled with their product.

    python benchmarks/tickets.py docs/*.jsonl --hide react rust --output tickets/

Each JSONL file (or .jsonl.gz) is a queue, named after the file. Its lines are documents with `id` and `text`; each line
of a text is a paragraph. Writes into the output folder:

    tickets.csv   id,document,queue,text: labelled rows, each queue in proportion to its paragraphs
    june.csv      the same, from documents that are not in tickets.csv: a later month
    new.csv       id,text: the other paragraphs without their queue, repeated if there are too few

The words of --hide are replaced by PRODUCT, so that a name does not give the queue away. The same files and seed give
the same bytes.
"""

import argparse
import csv
import gzip
import hashlib
import itertools
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

MIN_WORDS, MAX_WORDS = 8, 60
MAX_ROWS_PER_DOCUMENT = 10  # so that no document dominates its queue
JUNE_SHARE = 0.25  # share of the documents
HIDDEN = "PRODUCT"


@dataclass(frozen=True)
class Ticket:
    document: str
    queue: str
    text: str

    def sort_key(self, seed: int) -> str:
        """Return the key of the row in a random order."""
        return random_key(seed, self.document + self.text)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("files", type=Path, nargs="+", help="JSONL, one file for each queue")
    arguments.add_argument("--output", type=Path, required=True, help="folder to write into")
    arguments.add_argument("--hide", nargs="*", default=[], help="names that give a queue away")
    arguments.add_argument("--rows", type=int, default=2200, help="rows of tickets.csv")
    arguments.add_argument("--june", type=int, default=1000, help="rows of june.csv")
    arguments.add_argument("--new", type=int, default=40_000, help="rows of new.csv")
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    paragraphs = read_tickets(options.files, options.hide)
    tickets, june, others = split(paragraphs, options.rows, options.june, options.seed)
    options.output.mkdir(parents=True, exist_ok=True)
    for name, rows in (("tickets", tickets), ("june", june)):
        labelled = ([f"{name}-{i:04}", row.document, row.queue, row.text] for i, row in enumerate(rows))
        write(options.output / f"{name}.csv", ["id", "document", "queue", "text"], labelled)
        counts = Counter(row.queue for row in rows)
        documents = len({row.document for row in rows})
        print(f"{name}.csv: {len(rows)} rows from {documents} documents:", *(f"{n} {q}," for q, n in counts.items()))
    new = itertools.islice(itertools.cycle(others), options.new)
    write(options.output / "new.csv", ["id", "text"], ([f"new-{i:05}", row.text] for i, row in enumerate(new)))
    print(f"new.csv: {options.new} rows, {min(len(others), options.new)} of them different")


def read_tickets(files: Sequence[Path], hide: Sequence[str]) -> list[Ticket]:
    """Return each paragraph of suitable length once, without those that are in two queues."""
    tickets: dict[str, Ticket] = {}
    queues: dict[str, set[str]] = defaultdict(set)
    for path in files:
        queue = path.name.split(".")[0]
        for document, text in documents(path):
            for paragraph in text.split("\n"):
                row_text = with_hidden_names(" ".join(paragraph.split()), hide)
                if MIN_WORDS <= len(row_text.split()) <= MAX_WORDS:
                    queues[row_text].add(queue)
                    tickets.setdefault(row_text, Ticket(document, queue, row_text))
    return [row for text, row in tickets.items() if len(queues[text]) == 1]


def documents(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the id and text of each document of a file."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        for line in file:
            document = json.loads(line)
            yield document["id"], document["text"]


def with_hidden_names(text: str, names: Sequence[str]) -> str:
    """Return the text with each name replaced by PRODUCT."""
    if not names:
        return text
    either = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.sub(rf"(?<!\w)({either})(?!\w)", HIDDEN, text, flags=re.IGNORECASE)


def split(
    paragraphs: Sequence[Ticket], rows: int, june_rows: int, seed: int
) -> tuple[list[Ticket], list[Ticket], list[Ticket]]:
    """Return labelled rows, labelled rows of other documents for the later month, and the remaining rows."""
    later = {row.document for row in paragraphs if int(random_key(seed, row.document), 16) % 1000 < 1000 * JUNE_SHARE}
    order = sorted(paragraphs, key=lambda row: row.sort_key(seed))
    tickets = select([row for row in order if row.document not in later], rows)
    june = select([row for row in order if row.document in later], june_rows)
    taken = {row.text for row in (*tickets, *june)}
    return tickets, june, [row for row in order if row.text not in taken]


def select(order: Sequence[Ticket], count: int) -> list[Ticket]:
    """Return the first `count` rows, each queue in proportion, with at most MAX_ROWS_PER_DOCUMENT of a document."""
    sizes = Counter(row.queue for row in order)
    quotas = {queue: round(count * size / len(order)) for queue, size in sizes.items()}
    queues: Counter[str] = Counter()
    documents: Counter[str] = Counter()
    selected = []
    for row in order:
        if queues[row.queue] < quotas[row.queue] and documents[row.document] < MAX_ROWS_PER_DOCUMENT:
            queues[row.queue] += 1
            documents[row.document] += 1
            selected.append(row)
    return selected


def random_key(seed: int, name: str) -> str:
    """Return a sort key that is random, but the same for the same seed and name."""
    return hashlib.sha256(f"{seed} {name}".encode()).hexdigest()


def write(path: Path, columns: list[str], rows: Iterable[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
