"""Data preparation on one core: 4.25 MB of books, one sentence a line, length 128, 20 predictions, 5 duplicates.

    taskset -c 0 python benchmarks/preparation.py BOOKS VOCAB [--megabytes 4.25] [--repeats 3]

BOOKS is a folder of .txt or .txt.gz, a book a file; VOCAB is a vocab.txt or a tokenizer folder. Prints, as JSON, the
best of the repeats, with a warm process but nothing else kept, and the `tokenizers` library on the same text. The
stages: text is reading and decoding, tokens splitting and encoding, examples pairs and masks, disk writing and hashing.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from tokenizers import BertWordPieceTokenizer

from bert_jax.text import load_tokenizer
from data_prep.corpus.documents import read_documents
from data_prep.corpus.parts import Piece
from data_prep.corpus.reading import Losses, Reading
from data_prep.corpus.sentences import split_sentences
from data_prep.corpus.sources import find_sources
from data_prep.job.build import Run, run_job
from data_prep.settings import ShardsConfig


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("books", help="folder of books")
    arguments.add_argument("vocab", help="vocab.txt or tokenizer folder")
    arguments.add_argument("--megabytes", type=float, default=4.25)
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--workers", type=int, default=1)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        text = write_input(options.books, Path(scratch, "books.txt"), int(options.megabytes * 1e6))
        runs = [build(scratch, options, repeat) for repeat in range(options.repeats)]
        ours, run = min(runs, key=lambda pair: pair[0])
        theirs = min(encode(text, options.vocab, scratch) for _ in range(options.repeats))
    (manifest,) = run.manifests.values()
    examples = manifest.examples("train")
    print(
        json.dumps(
            {
                "megabytes": round(len(text.encode()) / 1e6, 3),
                "examples": examples,
                "seconds": round(ours, 3),
                "megabytes_per_second": round(len(text.encode()) / 1e6 / ours, 3),
                "examples_per_second": round(examples / ours),
                "seconds_by_stage": {name: round(seconds, 3) for name, seconds in run.seconds_by_stage().most_common()},
                "peak_megabytes": round(max(effort.peak_bytes for effort in run.efforts) / 1e6),
                "tokenizers_encode_batch_seconds": round(theirs, 3),
                "times_the_tokenizers_library": round(ours / theirs, 2),
            },
            indent=1,
        )
    )


def write_input(books: str, path: Path, size: int) -> str:
    """The first `size` bytes of the books, one sentence a line, a blank line between two books."""
    sources, _ = find_sources((books,))
    written: list[str] = []
    left = size
    for source in sources:
        for document in read_documents(Piece(source), Reading(), Losses()):
            for sentence in [*split_sentences(document.text), ""]:
                if (left := left - len(sentence.encode()) - 1) < 0:
                    path.write_text("\n".join(written))
                    return "\n".join(written)
                written.append(sentence)
    raise SystemExit(f"{books} holds less than {size} bytes")


def build(scratch: str, options: argparse.Namespace, repeat: int) -> tuple[float, Run]:
    """Seconds of one whole job, with no word in any cache, and what it did."""
    config = ShardsConfig(
        input=(f"{scratch}/books.txt",),
        tokenizer=options.vocab,
        output=f"{scratch}/shards-{repeat}",
        dupe_factor=5,
        held_out=0.0,
        documents="blank-line",
        sentences="lines",
        workers=options.workers,
    )
    start = time.perf_counter()
    run = run_job(config)
    return time.perf_counter() - start, run


def encode(text: str, vocab: str, scratch: str) -> float:
    """Seconds that the `tokenizers` library takes for the same lines."""
    load_tokenizer(Path(vocab)).save(folder := Path(tempfile.mkdtemp(dir=scratch)) / "tokenizer")
    library = BertWordPieceTokenizer(str(folder / "vocab.txt"))
    lines = text.split("\n")
    start = time.perf_counter()
    library.encode_batch(lines, add_special_tokens=False)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
