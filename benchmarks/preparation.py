"""Measure data preparation on one core: books, one sentence on each line, length 128, 20 predictions, 5 passes.

    taskset -c 0 python benchmarks/preparation.py BOOKS VOCAB [--megabytes 4.25] [--repeats 3]

BOOKS is a folder of .txt or .txt.gz files, one book each. VOCAB is a vocab.txt or a tokenizer folder. Prints, as JSON,
the best of the repeats in one process, and the time of the `tokenizers` library for the same text. The stages are text
(reading and decoding), tokens (splitting and encoding), examples (pairs and masks) and disk (writing and hashing).
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
from data_prep.corpus.reader_contract import CorpusOptions, NotedCounter
from data_prep.corpus.sentences import split_sentences
from data_prep.corpus.sources import find_sources
from data_prep.job.build import JobResult, run_job
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
        results = [build(scratch, options, repeat) for repeat in range(options.repeats)]
        seconds, result = min(results, key=lambda pair: pair[0])
        library_seconds = min(encode(text, options.vocab, scratch) for _ in range(options.repeats))
    (manifest,) = result.manifests.values()
    stages = result.seconds_by_stage().most_common()
    examples = manifest.examples("train")
    print(
        json.dumps(
            {
                "megabytes": round(len(text.encode()) / 1e6, 3),
                "examples": examples,
                "seconds": round(seconds, 3),
                "megabytes_per_second": round(len(text.encode()) / 1e6 / seconds, 3),
                "examples_per_second": round(examples / seconds),
                "seconds_by_stage": {name: round(stage_seconds, 3) for name, stage_seconds in stages},
                "peak_megabytes": round(max(cost.peak_bytes for cost in result.costs) / 1e6),
                "tokenizers_encode_batch_seconds": round(library_seconds, 3),
                "times_the_tokenizers_library": round(seconds / library_seconds, 2),
            },
            indent=1,
        )
    )


def write_input(books: str, path: Path, size: int) -> str:
    """Write the first `size` bytes of the books, one sentence on each line and a blank line between two books."""
    sources, _ = find_sources((books,))
    lines: list[str] = []
    left = size
    for source in sources:
        for document in read_documents(Piece(source), CorpusOptions(), NotedCounter()):
            for sentence in [*split_sentences(document.text), ""]:
                if (left := left - len(sentence.encode()) - 1) < 0:
                    path.write_text("\n".join(lines))
                    return "\n".join(lines)
                lines.append(sentence)
    raise SystemExit(f"{books} has less than {size} bytes of text")


def build(scratch: str, options: argparse.Namespace, repeat: int) -> tuple[float, JobResult]:
    """Run one whole job, with empty caches of words. Return its seconds and its result."""
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
    result = run_job(config)
    return time.perf_counter() - start, result


def encode(text: str, vocab: str, scratch: str) -> float:
    """Return the seconds that the `tokenizers` library takes for the same lines."""
    load_tokenizer(Path(vocab)).save(folder := Path(tempfile.mkdtemp(dir=scratch)) / "tokenizer")
    library = BertWordPieceTokenizer(str(folder / "vocab.txt"))
    lines = text.split("\n")
    start = time.perf_counter()
    library.encode_batch(lines, add_special_tokens=False)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
