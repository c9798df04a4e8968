"""Verify that a folder of shards is what its manifest says, byte by byte and example by example."""

from pathlib import Path

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader

from bert_jax.data.pretraining.record import MANIFEST, SHARD_SUFFIX, TOKENIZER_FOLDER, Manifest, Shard, read_manifest
from bert_jax.errors import UserError
from bert_jax.progress import Progress
from bert_jax.text import load_tokenizer
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.wording import counted
from data_prep.checking.example_rules import find_problem
from data_prep.checking.manifest_checks import StatisticsCheck, compare_parts, compare_settings, compare_splits
from data_prep.job.shards import PARTIAL, sha256_of

ROWS_PER_READ = 4096
MAX_PROBLEMS = 5  # problems in an error message; the rest are counted


def check_shards(folder: Path) -> Manifest:
    """Check every file, checksum, count and example of a folder of shards, and return its manifest.

    Raises one UserError that lists everything wrong.
    """
    manifest = read_manifest(folder)
    tokenizer = load_tokenizer(folder / TOKENIZER_FOLDER)
    problems = []
    if tokenizer.fingerprint != manifest.tokenizer:
        problems.append(f"the tokenizer is {tokenizer.fingerprint[:8]}, {manifest.tokenizer[:8]} made the shards")
    elif tokenizer.separators != manifest.separators and manifest.schema > 1:
        problems.append(f"pairs have {manifest.separators} separators, the tokenizer makes {tokenizer.separators}")
    elif tokenizer.vocab_size != manifest.vocab_size:
        problems.append(f"{MANIFEST}: vocab_size is {manifest.vocab_size}, the tokenizer has {tokenizer.vocab_size}")
    listed: dict[str, Shard] = {}
    for shard in (shard for shards in manifest.splits.values() for shard in shards):
        if shard.file in listed:
            problems.append(f"{shard.file} is listed twice")
        listed[shard.file] = shard
    names = {path.name for path in folder.glob(f"*{SHARD_SUFFIX}")}
    problems += [f"{name} is not in the manifest" for name in sorted(names - set(listed))]
    problems += [f"{path.name} was left half-written" for path in sorted(folder.glob(f"*{PARTIAL}"))]
    statistics = StatisticsCheck(manifest)
    disagreements = [*compare_splits(manifest), *compare_settings(manifest), *compare_parts(folder, manifest)]
    before = len(problems)
    with Progress("checking", sum(shard.examples for shard in listed.values()), "examples") as progress:
        for shard in listed.values():
            if problem := _check_shard(folder / shard.file, shard, manifest, tokenizer, statistics, progress):
                problems.append(f"{shard.file} {problem}")
    if len(problems) == before:  # a damaged shard leaves examples out of the counts
        disagreements += statistics.problems()
    problems += [f"{MANIFEST}: {problem}" for problem in disagreements]
    if problems:
        more = f"; and {len(problems) - MAX_PROBLEMS} more" if len(problems) > MAX_PROBLEMS else ""
        shown = "; ".join(problems[:MAX_PROBLEMS])
        raise UserError(f"{folder}: {shown}{more}. Remove it and run `bert-jax prep shards` again")
    return manifest


def _check_shard(
    path: Path, shard: Shard, manifest: Manifest, tokenizer: Tokenizer, statistics: StatisticsCheck, progress: Progress
) -> str | None:
    """Return what is wrong with a shard, or None. Adds its examples to `statistics`."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return "is missing"
    if size != shard.bytes:
        return f"has {size:,} bytes, not {shard.bytes:,}: {'truncated' if size < shard.bytes else 'altered'}"
    if sha256_of(path) != shard.sha256:
        return "is damaged: its sha256 is not that of the manifest"
    continues = tokenizer.continuations()
    reader = ArrayRecordReader(str(path), "readahead_buffer_size:0,max_parallelism:0")
    try:
        if not reader.ok() or reader.num_records() != shard.examples:
            return f"has {counted(reader.num_records(), 'example')}, not {shard.examples:,}"
        for start in range(0, shard.examples, ROWS_PER_READ):
            records = reader.read(start, min(start + ROWS_PER_READ, shard.examples))
            if any(len(record) != manifest.dtype.itemsize for record in records):
                return f"has examples that are not {manifest.dtype.itemsize} bytes long"
            rows = np.frombuffer(b"".join(records), manifest.dtype)
            statistics.add(rows)
            if problem := find_problem(rows, manifest, tokenizer.special, continues):
                return f"from example {start} on: {problem}"
            progress.advance(len(rows))
    finally:
        reader.close()
    return None
