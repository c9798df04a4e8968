import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bert_jax.config import OptimConfig
from bert_jax.train.optimizer import Layers, Pace, clip_to_norm, decayed, make_optimizer

STEPS = 10
CONFIG = OptimConfig(peak_lr=0.1, warmup=0.3, weight_decay=0.2, clip_norm=1.0)
PARAMS = {
    "tokens": np.random.default_rng(0).normal(size=(5, 3)),
    "kernel": np.random.default_rng(1).normal(size=(3, 4)),
    "bias": np.random.default_rng(2).normal(size=4),
    "scale": np.ones(3),
}


def gradients(step: int) -> dict[str, np.ndarray]:
    """Of norm about 5 at even steps, about 0.05 at odd ones: above and below the clip."""
    rng = np.random.default_rng(100 + step)
    size = 0.01 if step % 2 else 1.0
    return {name: size * rng.normal(size=value.shape).astype(np.float32) for name, value in PARAMS.items()}


def trained() -> dict[str, np.ndarray]:
    optimizer, pace = make_optimizer(CONFIG), Pace.of(CONFIG, STEPS)
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), PARAMS)
    state = optimizer.init(params)
    for step in range(STEPS):
        updates, state = optimizer.update(gradients(step), state, params, pace=pace)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize(
    ("warmup", "steps", "expected"),
    [
        (0.3, 10, {0: 0.0, 1: 1 / 3, 2: 2 / 3, 3: 1.0, 4: 6 / 7, 9: 1 / 7, 10: 0.0}),
        (0.0, 4, {0: 1.0, 1: 0.75, 3: 0.25, 4: 0.0}),
        (1.0, 4, {0: 0.0, 2: 0.5, 3: 0.75}),
        (0.01, 10, {0: 1.0, 5: 0.5, 10: 0.0}),  # rounds to no warm-up at all
        (0.1, 1, {0: 1.0}),
    ],
)
def test_the_schedule_at_its_corners(warmup, steps, expected):
    pace = Pace.of(OptimConfig(peak_lr=2e-3, warmup=warmup), steps)
    assert {step: float(pace.rate(step)) / 2e-3 for step in expected} == pytest.approx(expected, abs=1e-6)


def test_ten_steps_equal_those_written_by_hand():
    """Adam with bias correction, decoupled decay, after clipping by the global norm. Loshchilov & Hutter 2019."""
    params = dict(PARAMS)
    first = {name: np.zeros_like(value) for name, value in params.items()}
    second = {name: np.zeros_like(value) for name, value in params.items()}
    schedule = [0, 1 / 3, 2 / 3, 1, 6 / 7, 5 / 7, 4 / 7, 3 / 7, 2 / 7, 1 / 7]
    for step in range(STEPS):
        grads = gradients(step)
        norm = np.sqrt(sum((g**2).sum() for g in grads.values()))
        assert (norm > 1) == (step % 2 == 0)
        for name, gradient in grads.items():
            gradient = gradient / max(norm, 1.0)
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.999 * second[name] + 0.001 * gradient**2
            corrected = first[name] / (1 - 0.9 ** (step + 1))
            scale = np.sqrt(second[name] / (1 - 0.999 ** (step + 1))) + 1e-6
            decay = 0.2 * params[name] if name in ("tokens", "kernel") else 0
            params[name] = params[name] - 0.1 * schedule[step] * (corrected / scale + decay)
    for name, value in trained().items():
        np.testing.assert_allclose(value, params[name], rtol=1e-4, atol=1e-6)


def test_ten_steps_equal_those_of_torch():
    torch = pytest.importorskip("torch", reason="the optimizer is compared with torch's")
    params = {name: torch.tensor(value, dtype=torch.float32, requires_grad=True) for name, value in PARAMS.items()}
    groups = [
        {"params": [params["tokens"], params["kernel"]], "weight_decay": 0.2},
        {"params": [params["bias"], params["scale"]], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.999), eps=1e-6)
    pace = Pace.of(CONFIG, STEPS)
    for step in range(STEPS):
        for name, gradient in gradients(step).items():
            params[name].grad = torch.tensor(gradient, dtype=torch.float32)
        torch.nn.utils.clip_grad_norm_(params.values(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = float(pace.rate(step))
        optimizer.step()
    for name, value in trained().items():
        np.testing.assert_allclose(value, params[name].detach().numpy(), rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize(
    ("most", "of", "factor"), [(1.0, 5.0, 0.2), (1.0, 0.5, 1.0), (1.0, 0.0, 1.0), (math.inf, 5.0, 1.0)]
)
def test_clipping_by_the_norm_and_by_none(most, of, factor):
    gradients = {"a": jnp.array([0.6 * of]), "b": jnp.array([[0.0, 0.8 * of]])}
    clipped, _ = clip_to_norm(most).update(gradients, optax.EmptyState())
    for name, leaf in gradients.items():
        np.testing.assert_allclose(clipped[name], factor * leaf, rtol=1e-6)


def test_a_gradient_that_is_not_finite_does_not_become_so():
    for bad in (math.inf, math.nan):
        clipped, _ = clip_to_norm(1.0).update({"a": jnp.array([bad, 1.0])}, optax.EmptyState())
        assert not np.isfinite(clipped["a"]).all()


def test_tables_and_matrices_decay_biases_and_norms_do_not():
    from flax import nnx
    from tiny import TINY

    from bert_jax.model.heads import PretrainingModel

    abstract = nnx.eval_shape(lambda: PretrainingModel(TINY, rngs=nnx.Rngs(0)))
    flat = jax.tree_util.tree_flatten_with_path(decayed(nnx.to_pure_dict(nnx.state(abstract))))[0]
    named = {jax.tree_util.keystr(path, simple=True, separator="/"): decays for path, decays in flat}
    spared = {name for name, decays in named.items() if not decays}
    assert spared == {name for name in named if name.endswith(("bias", "scale"))}
    assert {name.split("/")[-1] for name in named.keys() - spared} == {"kernel", "tokens", "positions", "segments"}


def leaf(*names):
    return tuple(jax.tree_util.DictKey(name) for name in names)


@pytest.mark.parametrize(
    ("names", "decayed_to", "frozen_to"),
    [
        (("encoder", "embeddings", "tokens"), 0.9**4, 0.0),
        (("encoder", "blocks", 0, "mlp", "up", "kernel"), 0.9**3, 0.0),
        (("encoder", "blocks", 1, "mlp", "up", "kernel"), 0.9**2, 0.9**2),
        (("encoder", "blocks", 2, "mlp", "up", "kernel"), 0.9, 0.9),
        (("encoder", "final_norm", "scale"), 1.0, 1.0),
        (("encoder", "pooler", "dense", "kernel"), 1.0, 1.0),
        (("classifier", "kernel"), 1.0, 1.0),
    ],
)
def test_layers_learn_at_their_own_rates(names, decayed_to, frozen_to):
    assert Layers(3, 0.9).share(leaf(*names)) == pytest.approx(decayed_to)
    assert Layers(3, 0.9, frozen=1).share(leaf(*names)) == pytest.approx(frozen_to)


def test_frozen_layers_stay_and_do_not_count_when_clipping():
    rng = np.random.default_rng(0)
    params = {
        "encoder": {"blocks": {i: {"kernel": jnp.asarray(rng.normal(size=(3, 2)), jnp.float32)} for i in range(2)}},
        "classifier": {"kernel": jnp.asarray(rng.normal(size=(2, 5)), jnp.float32)},
    }
    grads = jax.tree.map(lambda x: 100 * jnp.ones_like(x), params)
    config = OptimConfig(peak_lr=0.1, warmup=0.0, weight_decay=0.2)

    def after(optimizer, grads, params):
        updates, _ = optimizer.update(grads, optimizer.init(params), params, pace=Pace.of(config, 4))
        return optax.apply_updates(params, updates)

    found = after(make_optimizer(config, Layers(2, 0.5, frozen=1)), grads, params)
    assert np.array_equal(found["encoder"]["blocks"][0]["kernel"], params["encoder"]["blocks"][0]["kernel"])
    rest = {"encoder": {"blocks": {1: params["encoder"]["blocks"][1]}}, "classifier": params["classifier"]}
    grads_of_rest = jax.tree.map(lambda x: 100 * jnp.ones_like(x), rest)
    alone = after(make_optimizer(config), grads_of_rest, rest)
    assert np.allclose(found["classifier"]["kernel"], alone["classifier"]["kernel"], atol=1e-7)
    moved, whole = (
        new["encoder"]["blocks"][1]["kernel"] - params["encoder"]["blocks"][1]["kernel"] for new in (found, alone)
    )
    assert np.allclose(moved, 0.5 * whole, atol=1e-7)
