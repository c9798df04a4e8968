"""Whether a folder of shards is what its manifest says, byte by byte and example by example."""

import itertools
from pathlib import Path

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader

from bert_jax.data.record import TOKENIZER_FOLDER, Manifest, Shard, document_starts, read_manifest
from bert_jax.errors import UserError
from bert_jax.text import load_tokenizer
from bert_jax.text.tokenizer import Tokenizer
from data_prep.rules import find_problem
from data_prep.shards import PARTIAL, sha256_of

BLOCK_ROWS = 4096
LABELS = {"pairs": ("next", "random next"), "sentence-order": ("in order", "swapped")}  # by next_label


def check_shards(folder: Path) -> Manifest:
    """Every file, checksum, count and example of the folder is sound; raises one UserError that tells what is not."""
    manifest = read_manifest(folder)
    tokenizer = load_tokenizer(folder / TOKENIZER_FOLDER)
    problems = []
    if tokenizer.fingerprint != manifest.tokenizer:
        problems.append(f"the tokenizer is {tokenizer.fingerprint[:8]}, {manifest.tokenizer[:8]} made the shards")
    elif tokenizer.separators != manifest.separators and manifest.schema > 1:
        problems.append(f"pairs have {manifest.separators} separators, the tokenizer makes {tokenizer.separators}")
    listed: dict[str, Shard] = {}
    for shard in (shard for shards in manifest.splits.values() for shard in shards):
        if shard.file in listed:
            problems.append(f"{shard.file} is listed twice")
        listed[shard.file] = shard
    found = {path.name for path in folder.glob("*.array_record")}
    problems += [f"{name} is not in the manifest" for name in sorted(found - set(listed))]
    problems += [f"{path.name} was left half-written" for path in sorted(folder.glob(f"*{PARTIAL}"))]
    for shard in listed.values():
        if problem := _check_shard(folder / shard.file, shard, manifest, tokenizer):
            problems.append(f"{shard.file} {problem}")
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise UserError(f"{folder}: {'; '.join(problems[:5])}{more}. Remove it and run `bert-jax prep shards` again")
    return manifest


def _check_shard(path: Path, shard: Shard, manifest: Manifest, tokenizer: Tokenizer) -> str | None:
    """What is wrong with a shard."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return "is missing"
    if size != shard.bytes:
        return f"has {size:,} bytes, not {shard.bytes:,}: {'truncated' if size < shard.bytes else 'altered'}"
    if sha256_of(path) != shard.sha256:
        return "is damaged: its sha256 is not that of the manifest"
    goes_on = tokenizer.goes_on()
    reader = ArrayRecordReader(str(path), "readahead_buffer_size:0,max_parallelism:0")
    try:
        if not reader.ok() or reader.num_records() != shard.examples:
            return f"has {reader.num_records():,} examples, not {shard.examples:,}"
        for start in range(0, shard.examples, BLOCK_ROWS):
            records = reader.read(start, min(start + BLOCK_ROWS, shard.examples))
            if any(len(record) != manifest.dtype.itemsize for record in records):
                return f"has examples that are not {manifest.dtype.itemsize} bytes long"
            rows = np.frombuffer(b"".join(records), manifest.dtype)
            if problem := find_problem(rows, manifest, tokenizer.special, goes_on):
                return f"from example {start} on: {problem}"
    finally:
        reader.close()
    return None


def show_examples(folder: Path, manifest: Manifest, count: int) -> list[str]:
    """The first examples of each split as text.

    {word→[MASK]} where something is to be predicted; packed documents stand on lines of their own.
    """
    tokenizer = load_tokenizer(folder / TOKENIZER_FOLDER)
    lines = []
    for split, shards in sorted(manifest.splits.items(), reverse=True):
        shown = 0
        for shard in shards:
            reader = ArrayRecordReader(str(folder / shard.file), "readahead_buffer_size:0,max_parallelism:0")
            records = reader.read(0, min(count - shown, shard.examples)) if shown < count else []
            reader.close()
            rows = np.frombuffer(b"".join(records), manifest.dtype)
            starts = document_starts(rows) if manifest.kind == "packed" else rows["tokens"] == tokenizer.special.cls
            for row, bounds in zip(rows, starts, strict=True):
                lines.append(f"{split} {shown}: {_told(row, manifest, int(bounds.sum()))}")
                words = _marked(row, tokenizer)
                for start, end in itertools.pairwise([*np.flatnonzero(bounds).tolist(), len(words)]):
                    lines.append(f"  {' '.join(words[start:end]).replace(' ##', '')}")
                shown += 1
    return lines


def _told(row: np.void, manifest: Manifest, documents: int) -> str:
    """An example in a few words: its label, how long it is, and how much of it is masked."""
    told = [f"{row['length']} tokens"]
    if manifest.kind in LABELS:
        told.insert(0, LABELS[manifest.kind][row["next_label"]])
    if manifest.kind == "packed":
        told.append(f"{documents} documents")
    told.append("masks to be drawn" if manifest.masking.when == "dynamic" else f"{row['masked_count']} masked")
    return ", ".join(told)


def _marked(row: np.void, tokenizer: Tokenizer) -> list[str]:
    tokens = tokenizer.tokens(row["tokens"][: row["length"]].tolist())
    if "masked_count" not in (row.dtype.names or ()):
        return tokens
    count = row["masked_count"]
    labels = tokenizer.tokens(row["masked_labels"][:count].tolist())
    for position, label in zip(row["masked_positions"][:count].tolist(), labels, strict=True):
        tokens[position] = f"{{{label}→{tokens[position]}}}"
    return tokens
