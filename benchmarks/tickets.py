"""A stand-in for labelled support tickets: paragraphs of documentation, of which the queue is the product.

    python benchmarks/tickets.py docs/*.jsonl --hide react rust --output tickets/

Each JSONL file (.gz too) is a queue, named as the file; its lines are documents with `id` and `text`, a paragraph a
line of the text. Writes into the output folder:

    tickets.csv   id,document,queue,text: labelled rows, each queue in its share of all paragraphs
    june.csv      the same, from documents that are in no row of tickets.csv: a month that came later
    new.csv       id,text: the other paragraphs without their queue, from the start again where they do not suffice

The words of --hide become PRODUCT, so that the task is not to find a name. The same files and seed, the same bytes.
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

FEWEST_WORDS, MOST_WORDS = 8, 60
ROWS_A_DOCUMENT = 10  # at most, so that no document stands for its queue
JUNE_SHARE = 0.25  # of the documents
HIDDEN = "PRODUCT"


@dataclass(frozen=True)
class Ticket:
    document: str
    queue: str
    text: str

    def drawn(self, seed: int) -> str:
        """The place of the row in an order that the seed decides."""
        return place(seed, self.document + self.text)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("files", type=Path, nargs="+", help="JSONL, one file a queue")
    arguments.add_argument("--output", type=Path, required=True, help="folder to write into")
    arguments.add_argument("--hide", nargs="*", default=[], help="names that give a queue away")
    arguments.add_argument("--rows", type=int, default=2200, help="of tickets.csv")
    arguments.add_argument("--june", type=int, default=1000, help="rows of june.csv")
    arguments.add_argument("--new", type=int, default=40_000, help="rows of new.csv")
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    paragraphs = read_tickets(options.files, options.hide)
    tickets, june, others = parted(paragraphs, options.rows, options.june, options.seed)
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
    """Every paragraph of fitting length, once; one that is in two queues is in none."""
    found: dict[str, Ticket] = {}
    queues: dict[str, set[str]] = defaultdict(set)
    for path in files:
        queue = path.name.split(".")[0]
        for document, text in documents(path):
            for paragraph in text.split("\n"):
                told = hidden(" ".join(paragraph.split()), hide)
                if FEWEST_WORDS <= len(told.split()) <= MOST_WORDS:
                    queues[told].add(queue)
                    found.setdefault(told, Ticket(document, queue, told))
    return [row for text, row in found.items() if len(queues[text]) == 1]


def documents(path: Path) -> Iterator[tuple[str, str]]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        for line in file:
            document = json.loads(line)
            yield document["id"], document["text"]


def hidden(text: str, names: Sequence[str]) -> str:
    if not names:
        return text
    either = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.sub(rf"(?<!\w)({either})(?!\w)", HIDDEN, text, flags=re.IGNORECASE)


def parted(
    paragraphs: Sequence[Ticket], rows: int, june_rows: int, seed: int
) -> tuple[list[Ticket], list[Ticket], list[Ticket]]:
    """Rows to label, rows of other documents for the later month, and the rest."""
    later = {row.document for row in paragraphs if int(place(seed, row.document), 16) % 1000 < 1000 * JUNE_SHARE}
    order = sorted(paragraphs, key=lambda row: row.drawn(seed))
    tickets = draw([row for row in order if row.document not in later], rows)
    june = draw([row for row in order if row.document in later], june_rows)
    taken = {row.text for row in (*tickets, *june)}
    return tickets, june, [row for row in order if row.text not in taken]


def draw(order: Sequence[Ticket], count: int) -> list[Ticket]:
    """The first rows of the order, each queue in its share, of no document more than ROWS_A_DOCUMENT."""
    sizes = Counter(row.queue for row in order)
    wanted = {queue: round(count * size / len(order)) for queue, size in sizes.items()}
    queues: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    drawn = []
    for row in order:
        if queues[row.queue] < wanted[row.queue] and taken[row.document] < ROWS_A_DOCUMENT:
            queues[row.queue] += 1
            taken[row.document] += 1
            drawn.append(row)
    return drawn


def place(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed} {name}".encode()).hexdigest()


def write(path: Path, columns: list[str], rows: Iterable[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
