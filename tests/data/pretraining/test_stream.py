"""Batches of pre-training examples are a function of shards, seed and step; damaged shards are reported."""

import dataclasses
import json
import random
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from bert_jax.data.pretraining.record import read_manifest
from bert_jax.data.pretraining.stream import PretrainingBatches, Shards, as_batch, held_out_batches
from bert_jax.errors import UserError
from data_prep.job.build import build_shards
from data_prep.settings import ShardsConfig

CORPUS_WORDS = [a + b for a in "bdfgkl" for b in ("a", "e", "ing", "on", "us")]


@pytest.fixture(scope="module")
def built_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build several shards of each split, of unequal sizes."""
    folder = tmp_path_factory.mktemp("corpus_and_shards")
    rng = random.Random(3)
    (folder / "corpus").mkdir()
    for i in range(30):
        lines = [" ".join(rng.choices(CORPUS_WORDS, k=rng.randint(4, 9))).capitalize() + "." for _ in range(10)]
        (folder / "corpus" / f"{i:02d}.txt").write_text("\n".join(lines))
    (folder / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *CORPUS_WORDS]) + "\n"
    )
    config = ShardsConfig(
        input=(str(folder / "corpus"),),
        tokenizer=str(folder / "vocab.txt"),
        output=str(folder / "shards"),
        length=23,
        dupe_factor=2,
        held_out=0.3,
        part_mb=0.002,
        workers=1,
    )
    manifest = build_shards(config)
    assert len(manifest.splits["train"]) > 2 and len(manifest.splits["held_out"]) > 1
    return folder / "shards"


@pytest.fixture
def folder(built_shards: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built_shards, tmp_path / "shards"))


@pytest.fixture
def shards(built_shards: Path) -> Shards:
    return Shards(built_shards, "train")


def equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def example_keys(batch: dict) -> list[bytes]:
    """Return a key for each example of a batch."""
    return [
        batch["tokens"][row].tobytes() + batch["masked_labels"][row].tobytes() for row in range(len(batch["tokens"]))
    ]


def test_batch_depends_on_its_step_only(built_shards, shards):
    batches = PretrainingBatches(shards, 7, seed=1)
    again = PretrainingBatches(Shards(built_shards, "train"), 7, seed=1)
    forward = [batches.batch(step) for step in range(9)]
    backward = [again.batch(step) for step in reversed(range(9))]
    assert all(equal(a, b) for a, b in zip(forward, reversed(backward), strict=True))
    assert not equal(forward[0], forward[1])
    assert not equal(forward[0], PretrainingBatches(shards, 7, seed=2).batch(0))


def test_pairs_of_a_manifest_with_one_segment_are_read_as_one_segment(built_shards, shards):
    """As in fine-tuning with the same tokenizer. The shards still hold the start of the second text."""
    manifest = read_manifest(built_shards)
    assert manifest.segments == 2
    one_segment = dataclasses.replace(manifest, segments=1)
    batch, pairs = (
        Shards(built_shards, "train", version).batch(np.arange(5), seed=0) for version in (one_segment, manifest)
    )
    assert (batch["segment_b"] == batch["length"]).all() and (pairs["segment_b"] < pairs["length"]).all()
    assert equal({**pairs, "segment_b": batch["length"]}, batch)
    assert one_segment.fingerprint != manifest.fingerprint
    assert dataclasses.replace(one_segment, kind="packed").fingerprint == manifest.fingerprint


@pytest.mark.parametrize("batch_size", [1, 7, 16])
def test_every_epoch_has_each_example_once_in_a_new_order(shards, batch_size):
    batches, n = PretrainingBatches(shards, batch_size, seed=4), len(shards)
    all_examples = Counter(example_keys(as_batch(shards.read(np.arange(n)))))
    stream: list[bytes] = []
    step = 0
    while len(stream) < 3 * n:
        stream += example_keys(batches.batch(step))
        step += 1
    epochs = [stream[start : start + n] for start in range(0, 3 * n, n)]
    assert all(Counter(epoch) == all_examples for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_batch_larger_than_the_data_repeats_it(shards):
    n = len(shards)
    batch = PretrainingBatches(shards, 2 * n + 3, seed=0).batch(0)
    assert set(Counter(example_keys(batch)).values()) <= {2, 3, 4, 5, 6} and len(batch["tokens"]) == 2 * n + 3


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_together_read_the_global_batch(shards, processes):
    whole = PretrainingBatches(shards, 12, seed=9)
    parts = [PretrainingBatches(shards, 12, 9, rows) for rows in np.split(np.arange(12), processes)]
    for step in (0, 3, 50):
        rows = [part.batch(step) for part in parts]
        joined = {name: np.concatenate([part[name] for part in rows]) for name in rows[0]}
        assert equal(joined, whole.batch(step))


def test_batch_has_the_types_and_shapes_of_the_model(shards):
    batch = PretrainingBatches(shards, 5, seed=0).batch(0)
    predictions = shards.manifest.masking.max_predictions
    assert {name: (array.dtype.name, array.shape) for name, array in batch.items()} == {
        "tokens": ("int32", (5, 23)),
        "length": ("int32", (5,)),
        "segment_b": ("int32", (5,)),
        "next_label": ("int32", (5,)),
        "masked_positions": ("int32", (5, predictions)),
        "masked_labels": ("int32", (5, predictions)),
        "masked_count": ("int32", (5,)),
        "weight": ("float32", (5,)),
    }
    assert (batch["weight"] == 1).all()


def test_manifest_of_schema_1_is_read_with_its_defaults(folder):
    path, new = folder / "manifest.json", read_manifest(folder)
    fields = json.loads(path.read_text())
    del fields["kind"], fields["separators"], fields["masking"]["when"], fields["masking"]["unit"]
    del fields["masking"]["max_ngram"]
    path.write_text(json.dumps(fields | {"schema": 1}))
    old = read_manifest(folder)
    assert dataclasses.replace(old, schema=2) == new and old.fingerprint == new.fingerprint
    assert equal(*(PretrainingBatches(Shards(folder, "train", each), 5, seed=0).batch(3) for each in (old, new)))


def test_held_out_examples_are_in_order_and_filling_rows_have_weight_0(built_shards):
    shards = Shards(built_shards, "held_out")
    n = len(shards)
    batches = held_out_batches(shards, 8, limit=10**6)
    weights = np.concatenate([batch["weight"] for batch in batches])
    assert weights.sum() == n and (np.diff(weights) <= 0).all() and len(weights) == -(-n // 8) * 8
    weighted = weights > 0
    tokens = np.concatenate([batch["tokens"] for batch in batches])
    assert np.array_equal(tokens[weighted], shards.read(np.arange(n))["tokens"])
    assert not np.concatenate([batch["masked_count"] for batch in batches])[~weighted].any()
    assert sum(batch["weight"].sum() for batch in held_out_batches(shards, 4, limit=6)) == 6
    assert held_out_batches(shards, 4, limit=0) == []


def first_shard(folder: Path) -> Path:
    return folder / read_manifest(folder).splits["train"][0].file


def test_flipped_bit_in_a_record_is_an_error_at_reading(folder):
    path = first_shard(folder)
    examples = read_manifest(folder).splits["train"][0].examples
    content = path.read_bytes()
    size = read_manifest(folder).dtype.itemsize
    start = content.index(Shards(folder, "train").read(np.arange(1)).tobytes())
    for offset in (0, size // 2, size - 1):
        damaged = bytearray(content)
        damaged[start + offset] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=rf"{path.name}: example 0 is damaged") as error:
            Shards(folder, "train").read(np.arange(examples))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("keep", [0, 0.5, 0.999])
def test_truncated_shard_is_an_error_at_opening(folder, keep):
    path = first_shard(folder)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(UserError, match=rf"{path.name} has \d+ bytes, the manifest says \d+: truncated") as error:
        Shards(folder, "train")
    assert "\n" not in str(error.value)


def test_shard_of_zeros_is_an_error_at_opening(folder):
    path = first_shard(folder)
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(UserError, match=rf"{path.name}: cannot be read as \d+ records") as error:
        Shards(folder, "train")
    assert "\n" not in str(error.value)


def test_missing_shard_is_an_error_at_opening(folder):
    path = first_shard(folder)
    path.unlink()
    with pytest.raises(UserError, match=rf"{path.name} is missing"):
        Shards(folder, "train")


def test_training_on_a_split_without_examples_is_refused(built_shards):
    manifest = dataclasses.replace(read_manifest(built_shards), splits={})
    with pytest.raises(UserError, match="no training examples"):
        PretrainingBatches(Shards(built_shards, "train", manifest), 4, seed=0)
    assert held_out_batches(Shards(built_shards, "held_out", manifest), 4, limit=10) == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "no manifest.json, not finished shards"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "not a manifest of shards"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "not a manifest of shards"),
        (
            lambda folder: (folder / "manifest.json").write_text('{"schema": 99}'),
            "schema 99, this version reads 1 and 2",
        ),
        (shutil.rmtree, "no such folder"),
    ],
)
def test_folder_without_a_valid_manifest_is_refused(folder, damage, message):
    damage(folder)
    with pytest.raises(UserError, match=message) as error:
        Shards(folder, "train")
    assert "\n" not in str(error.value)
