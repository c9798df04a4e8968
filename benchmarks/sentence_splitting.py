"""Measure the accuracy and speed of data_prep's sentence splitter, and of other libraries that are installed.

    python benchmarks/sentence_splitting.py GLUE BOOK [--only ours]

GLUE is a folder of GLUE tasks. Their single test sentences are joined by blanks, ten at a time, and split again; the
end of the tenth does not count. BOOK is a text file for the speed. pysbd, syntok and nltk are measured if they can be
imported.
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
}  # column of the sentences in the test file; the rule was developed on the other tasks


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
    """Return our splitter, a naive one, and those of installed libraries."""
    import re

    functions: dict[str, Callable[[str], list[str]]] = {
        "ours": split_sentences,
        "naive": re.compile(r"(?<=[.!?])\s+").split,
    }
    try:
        import pysbd

        functions["pysbd"] = pysbd.Segmenter(language="en", clean=False).segment
    except ImportError:
        pass
    try:
        from syntok import segmenter

        def syntok(text: str) -> list[str]:
            paragraphs = segmenter.analyze(text)
            return ["".join(token.spacing + token.value for token in s) for paragraph in paragraphs for s in paragraph]

        functions["syntok"] = syntok
    except ImportError:
        pass
    try:
        from nltk.tokenize.punkt import PunktSentenceTokenizer, PunktTokenizer

        try:
            functions["punkt"] = PunktTokenizer("english").tokenize
        except LookupError:  # the trained model is a separate download
            functions["punkt, bare"] = PunktSentenceTokenizer().tokenize
    except ImportError:
        pass
    return functions


def sentences(path: Path, column: int) -> list[str]:
    """Return the texts of a column that end like a sentence, without repetition."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    texts = [row[column].strip() for row in rows if len(row) > column]
    return [text for text in dict.fromkeys(texts) if text.endswith((".", "!", "?", '."', '?"'))]


def score(split: Callable[[str], list[str]], texts: list[str]) -> tuple[int, float, float]:
    """Return the number of ends between joined sentences, and the precision and recall of the splitter."""
    correct = predicted = actual = 0
    for start in range(0, len(texts) - GROUP, GROUP):
        group = texts[start : start + GROUP]
        true_ends, split_ends = ends(group), ends(split(" ".join(group)))
        correct += len(true_ends & split_ends)
        predicted += len(split_ends)
        actual += len(true_ends)
    return actual, correct / predicted, correct / actual


def ends(pieces: list[str]) -> set[int]:
    """Return the ends of all pieces but the last, counted in characters that are not blank."""
    at, positions = 0, set()
    for piece in pieces[:-1]:
        at += sum(not character.isspace() for character in piece)
        positions.add(at)
    return positions


if __name__ == "__main__":
    main()
