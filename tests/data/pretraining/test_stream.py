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

WORDS = [a + b for a in "bdfgkl" for b in ("a", "e", "ing", "on", "us")]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Several shards of each split, of unequal size."""
    folder = tmp_path_factory.mktemp("written")
    rng = random.Random(3)
    (folder / "corpus").mkdir()
    for i in range(30):
        lines = [" ".join(rng.choices(WORDS, k=rng.randint(4, 9))).capitalize() + "." for _ in range(10)]
        (folder / "corpus" / f"{i:02d}.txt").write_text("\n".join(lines))
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *WORDS]) + "\n")
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
def folder(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "shards"))


@pytest.fixture
def shards(written: Path) -> Shards:
    return Shards(written, "train")


def equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def identities(batch: dict) -> list[bytes]:
    """What tells one example from another."""
    return [
        batch["tokens"][row].tobytes() + batch["masked_labels"][row].tobytes() for row in range(len(batch["tokens"]))
    ]


def test_a_batch_depends_on_its_step_alone(written, shards):
    one, two = PretrainingBatches(shards, 7, seed=1), PretrainingBatches(Shards(written, "train"), 7, seed=1)
    forward = [one.batch(step) for step in range(9)]
    backward = [two.batch(step) for step in reversed(range(9))]
    assert all(equal(a, b) for a, b in zip(forward, reversed(backward), strict=True))
    assert not equal(forward[0], forward[1])
    assert not equal(forward[0], PretrainingBatches(shards, 7, seed=2).batch(0))


def test_pairs_of_one_segment_are_read_as_one(written, shards):
    """As rows of the same tokenizer are in fine-tuning; the shards keep where the second text starts."""
    manifest = read_manifest(written)
    assert manifest.segments == 2
    one = dataclasses.replace(manifest, segments=1)
    batch, two = (Shards(written, "train", given).batch(np.arange(5), seed=0) for given in (one, manifest))
    assert (batch["segment_b"] == batch["length"]).all() and (two["segment_b"] < two["length"]).all()
    assert equal({**two, "segment_b": batch["length"]}, batch)
    assert one.fingerprint != manifest.fingerprint
    assert dataclasses.replace(one, kind="packed").fingerprint == manifest.fingerprint


@pytest.mark.parametrize("batch_size", [1, 7, 16])
def test_each_example_comes_once_an_epoch_in_a_new_order(shards, batch_size):
    batches, n = PretrainingBatches(shards, batch_size, seed=4), len(shards)
    everything = Counter(identities(as_batch(shards.read(np.arange(n)))))
    stream: list[bytes] = []
    step = 0
    while len(stream) < 3 * n:
        stream += identities(batches.batch(step))
        step += 1
    epochs = [stream[start : start + n] for start in range(0, 3 * n, n)]
    assert all(Counter(epoch) == everything for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_a_batch_larger_than_the_data_goes_through_it_again(shards):
    n = len(shards)
    batch = PretrainingBatches(shards, 2 * n + 3, seed=0).batch(0)
    assert set(Counter(identities(batch)).values()) <= {2, 3, 4, 5, 6} and len(batch["tokens"]) == 2 * n + 3


@pytest.mark.parametrize("processes", [2, 4])
def test_the_rows_of_the_processes_are_those_of_one(shards, processes):
    whole = PretrainingBatches(shards, 12, seed=9)
    parts = [PretrainingBatches(shards, 12, 9, process, processes) for process in range(processes)]
    for step in (0, 3, 50):
        rows = [part.batch(step) for part in parts]
        joined = {name: np.concatenate([part[name] for part in rows]) for name in rows[0]}
        assert equal(joined, whole.batch(step))


def test_a_batch_has_the_types_that_the_model_takes(shards):
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


def test_shards_of_the_first_schema_are_read_as_what_they_are(folder):
    path, new = folder / "manifest.json", read_manifest(folder)
    fields = json.loads(path.read_text())
    del fields["kind"], fields["separators"], fields["masking"]["when"], fields["masking"]["unit"]
    del fields["masking"]["max_ngram"]
    path.write_text(json.dumps(fields | {"schema": 1}))
    old = read_manifest(folder)
    assert dataclasses.replace(old, schema=2) == new and old.fingerprint == new.fingerprint
    assert equal(*(PretrainingBatches(Shards(folder, "train", one), 5, seed=0).batch(3) for one in (old, new)))


def test_held_out_examples_come_in_order_and_the_rest_of_the_last_batch_weighs_nothing(written):
    shards = Shards(written, "held_out")
    n = len(shards)
    batches = held_out_batches(shards, 8, limit=10**6)
    weights = np.concatenate([batch["weight"] for batch in batches])
    assert weights.sum() == n and (np.diff(weights) <= 0).all() and len(weights) == -(-n // 8) * 8
    real = weights > 0
    tokens = np.concatenate([batch["tokens"] for batch in batches])
    assert np.array_equal(tokens[real], shards.read(np.arange(n))["tokens"])
    assert not np.concatenate([batch["masked_count"] for batch in batches])[~real].any()
    assert sum(batch["weight"].sum() for batch in held_out_batches(shards, 4, limit=6)) == 6
    assert held_out_batches(shards, 4, limit=0) == []


def first(folder: Path) -> Path:
    return folder / read_manifest(folder).splits["train"][0].file


def test_a_flipped_byte_anywhere_in_a_record_is_found_on_reading(folder):
    path = first(folder)
    examples = read_manifest(folder).splits["train"][0].examples
    content = path.read_bytes()
    record = read_manifest(folder).dtype.itemsize
    start = content.index(Shards(folder, "train").read(np.arange(1)).tobytes())
    for offset in (0, record // 2, record - 1):
        harmed = bytearray(content)
        harmed[start + offset] ^= 4
        path.write_bytes(harmed)
        with pytest.raises(UserError, match=rf"{path.name}: example 0 is damaged") as error:
            Shards(folder, "train").read(np.arange(examples))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("keep", [0, 0.5, 0.999])
def test_a_truncated_shard_is_found_before_the_start(folder, keep):
    path = first(folder)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(UserError, match=rf"{path.name} has \d+ bytes, the manifest says \d+: truncated") as error:
        Shards(folder, "train")
    assert "\n" not in str(error.value)


def test_a_shard_of_zeros_is_found_before_the_start(folder):
    path = first(folder)
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(UserError, match=rf"{path.name}: cannot be read as \d+ records") as error:
        Shards(folder, "train")
    assert "\n" not in str(error.value)


def test_a_missing_shard_is_found_before_the_start(folder):
    path = first(folder)
    path.unlink()
    with pytest.raises(UserError, match=rf"{path.name} is missing"):
        Shards(folder, "train")


def test_a_split_without_examples_cannot_be_trained_on(written):
    manifest = dataclasses.replace(read_manifest(written), splits={})
    with pytest.raises(UserError, match="no training examples"):
        PretrainingBatches(Shards(written, "train", manifest), 4, seed=0)
    assert held_out_batches(Shards(written, "held_out", manifest), 4, limit=10) == []


@pytest.mark.parametrize(
    ("harm", "says"),
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
def test_a_folder_that_is_no_shards_is_named(folder, harm, says):
    harm(folder)
    with pytest.raises(UserError, match=says) as error:
        Shards(folder, "train")
    assert "\n" not in str(error.value)
