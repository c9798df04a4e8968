"""How well and how fast the rule of data_prep finds sentence ends, beside other libraries where they are installed.

    python benchmarks/sentences.py GLUE BOOK [--only ours]

GLUE is a folder of GLUE tasks: test sentences known to be one each are joined by blanks, ten at a time, and the ends
have to be found again (the last of the ten is given). BOOK is a text file for the speed. pysbd, syntok and nltk are
tried when they can be imported.
"""

import argparse
import csv
import gzip
import time
from collections.abc import Callable
from pathlib import Path

from data_prep.corpus.sentences import split_sentences

GROUP = 10
SETS = {
    "CoLA": 1,
    "QNLI": 2,
    "RTE": 2,
    "STS-B": 7,
}  # column of the test files; the rule was written with a look at the others


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("glue", type=Path)
    arguments.add_argument("book", type=Path)
    arguments.add_argument("--only", help="one splitter by name")
    options = arguments.parse_args()
    opened = gzip.open if options.book.suffix == ".gz" else open
    with opened(options.book, "rt", encoding="utf-8") as file:
        book = file.read()
    print(f"{'splitter':10} {'text':8} {'ends':>6} {'precision':>9} {'recall':>7} {'F1':>7}   MB/s on the book")
    for name, split in splitters().items():
        if options.only in (None, name):
            sample = book if name == "ours" else book[:300_000]
            start = time.perf_counter()
            split(sample)
            speed = len(sample.encode()) / 1e6 / (time.perf_counter() - start)
            for title, column in SETS.items():
                ends, precision, recall = score(split, sentences(options.glue / title / "test.tsv", column))
                f1 = 2 * precision * recall / (precision + recall)
                print(f"{name:10} {title:8} {ends:6} {precision:9.4f} {recall:7.4f} {f1:7.4f}   {speed:.2f}")


def splitters() -> dict[str, Callable[[str], list[str]]]:
    """Ours, the plainest rule there is, and the libraries that are here."""
    import re

    found: dict[str, Callable[[str], list[str]]] = {
        "ours": split_sentences,
        "naive": re.compile(r"(?<=[.!?])\s+").split,
    }
    try:
        import pysbd

        found["pysbd"] = pysbd.Segmenter(language="en", clean=False).segment
    except ImportError:
        pass
    try:
        from syntok import segmenter

        def syntok(text: str) -> list[str]:
            paragraphs = segmenter.analyze(text)
            return ["".join(token.spacing + token.value for token in s) for paragraph in paragraphs for s in paragraph]

        found["syntok"] = syntok
    except ImportError:
        pass
    try:
        from nltk.tokenize.punkt import PunktSentenceTokenizer, PunktTokenizer

        try:
            found["punkt"] = PunktTokenizer("english").tokenize
        except LookupError:  # the trained model is a download of its own
            found["punkt, bare"] = PunktSentenceTokenizer().tokenize
    except ImportError:
        pass
    return found


def sentences(path: Path, column: int) -> list[str]:
    """The sentences of a column that end like one, each once."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    texts = [row[column].strip() for row in rows if len(row) > column]
    return [text for text in dict.fromkeys(texts) if text.endswith((".", "!", "?", '."', '?"'))]


def score(split: Callable[[str], list[str]], known: list[str]) -> tuple[int, float, float]:
    """Ends to be found, precision and recall of the ends, as counts of characters that are not blank."""
    right = said = there = 0
    for start in range(0, len(known) - GROUP, GROUP):
        group = known[start : start + GROUP]
        true, found = ends(group), ends(split(" ".join(group)))
        right, said, there = right + len(true & found), said + len(found), there + len(true)
    return there, right / said, right / there


def ends(pieces: list[str]) -> set[int]:
    at, positions = 0, set()
    for piece in pieces[:-1]:
        at += sum(not character.isspace() for character in piece)
        positions.add(at)
    return positions


if __name__ == "__main__":
    main()
