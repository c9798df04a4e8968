"""Whether a folder of shards is what its manifest says, byte by byte and example by example."""

from pathlib import Path

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader

from bert_jax.data.record import MANIFEST, TOKENIZER_FOLDER, Manifest, Shard, read_manifest
from bert_jax.errors import UserError
from bert_jax.text import load_tokenizer
from bert_jax.text.tokenizer import SpecialIds
from data_prep.recount import Recount, compare_parts, compare_settings, compare_splits
from data_prep.shards import PARTIAL, sha256_of

BLOCK_ROWS = 4096


def check_shards(folder: Path) -> Manifest:
    """Every file, checksum, count and example of the folder is sound; raises one UserError that tells what is not."""
    manifest = read_manifest(folder)
    tokenizer = load_tokenizer(folder / TOKENIZER_FOLDER)
    problems = []
    if tokenizer.fingerprint != manifest.tokenizer:
        problems.append(f"the tokenizer is {tokenizer.fingerprint[:8]}, {manifest.tokenizer[:8]} made the shards")
    listed: dict[str, Shard] = {}
    for shard in (shard for shards in manifest.splits.values() for shard in shards):
        if shard.file in listed:
            problems.append(f"{shard.file} is listed twice")
        listed[shard.file] = shard
    found = {path.name for path in folder.glob("*.array_record")}
    problems += [f"{name} is not in the manifest" for name in sorted(found - set(listed))]
    problems += [f"{path.name} was left half-written" for path in sorted(folder.glob(f"*{PARTIAL}"))]
    recount = Recount()
    told = [*compare_splits(manifest), *compare_settings(manifest), *compare_parts(folder, manifest)]
    damaged = len(problems)
    for shard in listed.values():
        if problem := _check_shard(folder / shard.file, shard, manifest, tokenizer.special, recount):
            problems.append(f"{shard.file} {problem}")
    if len(problems) == damaged:  # otherwise examples are missing from the counts
        told += recount.problems(manifest)
    problems += [f"{MANIFEST}: {problem}" for problem in told]
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise UserError(f"{folder}: {'; '.join(problems[:5])}{more}. Remove it and run `bert-jax prep shards` again")
    return manifest


def _check_shard(path: Path, shard: Shard, manifest: Manifest, special: SpecialIds, recount: Recount) -> str | None:
    """What is wrong with a shard; its examples are added to the recount."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return "is missing"
    if size != shard.bytes:
        return f"has {size:,} bytes, not {shard.bytes:,}: {'truncated' if size < shard.bytes else 'altered'}"
    if sha256_of(path) != shard.sha256:
        return "is damaged: its sha256 is not that of the manifest"
    reader = ArrayRecordReader(str(path), "readahead_buffer_size:0,max_parallelism:0")
    try:
        if not reader.ok() or reader.num_records() != shard.examples:
            return f"has {reader.num_records():,} examples, not {shard.examples:,}"
        for start in range(0, shard.examples, BLOCK_ROWS):
            records = reader.read(start, min(start + BLOCK_ROWS, shard.examples))
            if any(len(record) != manifest.dtype.itemsize for record in records):
                return f"has examples that are not {manifest.dtype.itemsize} bytes long"
            rows = np.frombuffer(b"".join(records), manifest.dtype)
            recount.add(rows)
            if problem := find_problem(rows, manifest, special):
                return f"from example {start} on: {problem}"
    finally:
        reader.close()
    return None


def find_problem(rows: np.ndarray, manifest: Manifest, special: SpecialIds) -> str | None:
    """The first rule of the record that some row breaks."""
    row = np.arange(len(rows))
    tokens, length, segment_b = rows["tokens"], rows["length"].astype(int), rows["segment_b"].astype(int)
    if (length < 3).any() or (length > manifest.length).any():
        return f"a length that is not within 3 to {manifest.length}"
    if (segment_b < 2).any() or (segment_b > length).any():
        return "a segment B that starts outside of the text"
    columns = np.arange(manifest.length)
    if (tokens[columns >= length[:, None]] != special.pad).any():
        return "something other than [PAD] after the text"
    if (tokens >= manifest.vocab_size).any() or (rows["masked_labels"] >= manifest.vocab_size).any():
        return "a token beyond the vocabulary"
    if (tokens[:, 0] != special.cls).any():
        return "no [CLS] at the start"
    if (tokens[row, segment_b - 1] != special.sep).any() or (tokens[row, length - 1] != special.sep).any():
        return "no [SEP] at the end of a segment"
    if (rows["next_label"] > 1).any():
        return "a pair label that is neither 0 nor 1"
    count, positions = rows["masked_count"].astype(int), rows["masked_positions"].astype(int)
    used = np.arange(manifest.masking.max_predictions) < count[:, None]
    if (count > manifest.masking.max_predictions).any() or positions[~used].any() or rows["masked_labels"][~used].any():
        return "masked positions beyond their count"
    if ((np.diff(positions, axis=1) <= 0) & used[:, 1:]).any():
        return "masked positions that do not ascend"
    structural = (positions == 0) | (positions == segment_b[:, None] - 1) | (positions >= length[:, None] - 1)
    if (structural & used).any() or np.isin(rows["masked_labels"][used], special.all()).any():
        return "a control token that is masked"
    return None
