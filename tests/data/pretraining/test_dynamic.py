"""Dynamic masks depend on seed, epoch and example only."""

import random
from pathlib import Path

import numpy as np
import pytest

from bert_jax.data.pretraining.stream import PretrainingBatches, Shards, held_out_batches
from bert_jax.text import load_tokenizer
from data_prep.job.build import build_shards
from data_prep.settings import ShardsConfig

STEMS, ENDS = [a + b for a in "bdfgkl" for b in "aeou"], ["ing", "on", "us"]


@pytest.fixture(scope="module", params=["pairs", "packed"])
def shards(request, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make two shards of examples with dynamic whole-word masks; words have up to two tokens, some text is held out."""
    folder = tmp_path_factory.mktemp("dynamic")
    rng = random.Random(3)
    (folder / "corpus").mkdir()
    words = [stem + end for stem in STEMS for end in ("", *ENDS)]
    for i in range(24):
        lines = [" ".join(rng.choices(words, k=rng.randint(2, 9))) + "." for _ in range(rng.randint(1, 12))]
        (folder / "corpus" / f"{i:02d}.txt").write_text("\n".join(lines))
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *STEMS, *(f"##{end}" for end in ENDS)]
    (folder / "vocab.txt").write_text("\n".join(vocab) + "\n")
    build_shards(
        ShardsConfig(
            input=(str(folder / "corpus"),),
            tokenizer=str(folder / "vocab.txt"),
            output=str(folder / "shards"),
            examples=request.param,
            masking="dynamic",
            mask_unit="word",
            length=29,
            held_out=0.3,
            part_mb=0.001,
            workers=1,
        )
    )
    return folder / "shards"


def equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def unmasked(batch: dict) -> np.ndarray:
    tokens = batch["tokens"].copy()
    row, pick = np.nonzero(np.arange(batch["masked_labels"].shape[1]) < batch["masked_count"][:, None])
    tokens[row, batch["masked_positions"][row, pick]] = batch["masked_labels"][row, pick]
    return tokens


def test_dynamically_masked_batch_depends_on_its_step_only(shards):
    ascending, descending = (PretrainingBatches(Shards(shards, "train"), 7, seed=1) for _ in range(2))
    forward = [ascending.batch(step) for step in range(9)]
    assert all(equal(batch, descending.batch(8 - i)) for i, batch in enumerate(reversed(forward)))
    other_seed = PretrainingBatches(Shards(shards, "train"), 7, seed=2)
    assert not equal(forward[0], other_seed.batch(0))


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_together_read_the_dynamically_masked_global_batch(shards, processes):
    whole = PretrainingBatches(Shards(shards, "train"), 12, seed=9)
    parts = [PretrainingBatches(Shards(shards, "train"), 12, 9, rows) for rows in np.split(np.arange(12), processes)]
    for step in (0, 3, 50):
        rows = [part.batch(step) for part in parts]
        assert equal({name: np.concatenate([part[name] for part in rows]) for name in rows[0]}, whole.batch(step))


def test_epochs_have_the_same_texts_and_different_masks(shards):
    data = Shards(shards, "train")
    indices = np.arange(len(data))
    first, again, second = (data.batch(indices, 4, epoch) for epoch in (0, 0, 1))
    assert equal(first, again)
    assert np.array_equal(unmasked(first), unmasked(second))
    assert np.array_equal(unmasked(first), data.read(indices)["tokens"])
    assert not np.array_equal(first["masked_positions"], second["masked_positions"])
    batches = PretrainingBatches(data, len(data), seed=4)
    order = np.argsort([row.tobytes() for row in unmasked(batches.batch(0))], kind="stable")
    assert np.array_equal(unmasked(batches.batch(0))[order], np.array(sorted(unmasked(first), key=bytes)))


def test_held_out_masks_do_not_change(shards):
    data = Shards(shards, "held_out")
    batches, again = (held_out_batches(Shards(shards, "held_out"), 8, limit=10**6) for _ in range(2))
    assert all(equal(a, b) for a, b in zip(batches, again, strict=True))
    weights = np.concatenate([batch["weight"] for batch in batches])
    assert weights.sum() == len(data) and len(weights) % 8 == 0
    assert not np.concatenate([batch["masked_count"] for batch in batches])[weights == 0].any()
    halves = [held_out_batches(data, 8, 10**6, rows) for rows in np.split(np.arange(8), 2)]
    for left, right, whole in zip(*halves, batches, strict=True):
        assert equal({name: np.concatenate([left[name], right[name]]) for name in left}, whole)
    other_size = held_out_batches(data, 5, limit=10**6)
    positions, expected = (
        np.concatenate([batch["masked_positions"] for batch in sized])[: len(data)] for sized in (other_size, batches)
    )
    assert np.array_equal(positions, expected)


def test_whole_words_are_masked_and_shapes_are_fixed(shards):
    data = Shards(shards, "train")
    batch = data.batch(np.arange(len(data)), 0)
    most = data.manifest.masking.max_predictions
    assert batch["masked_positions"].shape == (len(data), most) == batch["masked_labels"].shape
    assert all(values.dtype == np.int32 for name, values in batch.items() if name not in ("weight", "starts"))
    tokenizer, tokens = load_tokenizer(shards / "tokenizer"), unmasked(batch)
    masked = np.zeros(tokens.shape, bool)
    for row, count in enumerate(batch["masked_count"]):
        masked[row, batch["masked_positions"][row, :count]] = True
    control = np.isin(tokens, tokenizer.special.all())
    joined = tokenizer.continuations()[tokens][:, 1:] & ~control[:, :-1]  # a text may be truncated within a word
    assert joined.any() and masked.any() and not (joined & (masked[:, 1:] != masked[:, :-1])).any()
