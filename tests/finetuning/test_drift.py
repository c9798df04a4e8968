"""Drift of an encoder, checked against its formulas."""

import jax
import numpy as np
import pytest
from flax import nnx
from tiny import TINY

from bert_jax.data.encoded import Encoded
from bert_jax.finetuning.drift import measure_drift, relative_change
from bert_jax.model.encoder import Encoder
from bert_jax.model.encoder_input import EncoderInput

LAYERS = ["embeddings", "block 1", "block 2"]


def encoded_of(lengths: list[int]) -> Encoded:
    rng = np.random.default_rng(0)
    offsets = np.append(0, np.cumsum(lengths))
    tokens = rng.integers(1, TINY.vocab_size, offsets[-1], np.int32)
    none = np.zeros(len(lengths), np.int32)
    return Encoded(
        tokens=tokens,
        offsets=offsets,
        segment_b=np.array(lengths, np.int32) - 1,
        labels=none,
        pad=0,
        max_length=TINY.max_length,
        dropped=0,
        truncated=0,
    )


@pytest.fixture(scope="module")
def params() -> dict:
    wide = jax.tree.map(lambda leaf: leaf * 8, nnx.to_pure_dict(nnx.state(Encoder(TINY, rngs=nnx.Rngs(1)))))
    return jax.tree.map(np.asarray, wide)


def moved(params: dict, by: float, part=("blocks", 1)) -> dict:
    """Return the parameters with noise added to one part."""
    rng = np.random.default_rng(3)

    def noisy(path, leaf):
        here = tuple(getattr(key, "key", None) for key in path)[: len(part)] == part
        return leaf + by * rng.normal(size=leaf.shape).astype(np.float32) if here else leaf

    return jax.tree_util.tree_map_with_path(noisy, params)


def test_equal_encoders_have_no_drift(params):
    layers = measure_drift(TINY, params, params, encoded_of([5, 17, 9]))
    assert [drift.layer for drift in layers] == LAYERS
    assert [(drift.cosine, drift.change) for drift in layers] == [(0.0, 0.0)] * 3
    assert [drift.similarity for drift in layers] == pytest.approx([1.0] * 3, abs=1e-9)


def test_drift_grows_with_the_change_and_leaves_lower_layers_alone(params):
    encoded = encoded_of([5, 17, 9, 3, 11])
    few, many = (measure_drift(TINY, params, moved(params, by), encoded) for by in (0.01, 0.1))
    for drift in few[:2] + many[:2]:
        assert drift.cosine == pytest.approx(0.0, abs=1e-12) and drift.change == 0.0
        assert drift.similarity == pytest.approx(1.0)
    assert 0 < few[2].cosine < many[2].cosine
    assert many[2].change == pytest.approx(10 * few[2].change, rel=1e-5)
    assert many[2].similarity < few[2].similarity < 1
    low = measure_drift(TINY, params, moved(params, 0.1, ("embeddings",)), encoded)
    assert all(drift.cosine > 0 for drift in low) and [drift.change for drift in low[1:]] == [0.0, 0.0]


def test_drift_matches_the_formulas(params):
    lengths = [17, 4, 9, *[6] * 31]  # more than two batches, the last one not full
    encoded, changed = encoded_of(lengths), moved(params, 0.05)
    graph = nnx.graphdef(Encoder(TINY, rngs=nnx.Rngs(0)))
    states_of = jax.jit(lambda version, inputs: nnx.merge(graph, version).states(inputs))
    states = []
    for version in (params, changed):
        rows = []
        for i, length in enumerate(lengths):
            tokens = encoded.tokens[encoded.offsets[i] : encoded.offsets[i + 1]][None]
            inputs = EncoderInput.from_lengths(tokens, np.array([length]), encoded.segment_b[i : i + 1])
            rows.append(np.stack(states_of(version, inputs))[:, 0])
        states.append(np.concatenate(rows, axis=1).astype(np.float64))
    for layer, drift in enumerate(measure_drift(TINY, params, changed, encoded)):
        x, y = (version_states[layer] for version_states in states)
        cosine = (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
        assert drift.cosine == pytest.approx(float(np.mean(1 - cosine)), rel=1e-3, abs=1e-6)
        x, y = x - x.mean(0), y - y.mean(0)
        similarity = np.linalg.norm(x.T @ y) ** 2 / np.linalg.norm(x.T @ x) / np.linalg.norm(y.T @ y)
        assert drift.similarity == pytest.approx(similarity, abs=1e-5)


def test_relative_change():
    before = {"a": np.array([3.0, 0.0]), "b": np.array([[4.0]])}
    assert relative_change(before, {"a": np.array([3.0, 1.0]), "b": np.array([[4.0]])}) == pytest.approx(0.2)
    assert relative_change({"a": np.zeros(2)}, {"a": np.ones(2)}) == 0.0
