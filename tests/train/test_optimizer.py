"""The optimizer and its learning rate, against formulas, torch and schedules by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bert_jax.config import OptimConfig
from bert_jax.train.learning_rate import BLOCK_STEPS, LearningRate, learning_rate_schedule
from bert_jax.train.optimizer import LayerRates, clip_to_norm, decayed, make_optimizer
from bert_jax.train.trainable import freeze_layers

STEPS = 10
CONFIG = OptimConfig(peak_lr=0.1, warmup=0.3, weight_decay=0.2, clip_norm=1.0)
PARAMS = {
    "tokens": np.random.default_rng(0).normal(size=(5, 3)),
    "kernel": np.random.default_rng(1).normal(size=(3, 4)),
    "bias": np.random.default_rng(2).normal(size=4),
    "scale": np.ones(3),
}


def gradients(step: int) -> dict[str, np.ndarray]:
    """Return gradients of norm about 5 at even steps and about 0.05 at odd ones: above and below the limit."""
    rng = np.random.default_rng(100 + step)
    size = 0.01 if step % 2 else 1.0
    return {name: size * rng.normal(size=value.shape).astype(np.float32) for name, value in PARAMS.items()}


def trained() -> dict[str, np.ndarray]:
    """Return PARAMS after STEPS updates."""
    optimizer, learning_rate = make_optimizer(CONFIG), LearningRate(learning_rate_schedule(CONFIG, STEPS))
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), PARAMS)
    state = optimizer.init(params)
    for step in range(STEPS):
        updates, state = optimizer.update(gradients(step), state, params, learning_rate=learning_rate.at(step))
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
def test_linear_schedule_rises_and_falls(warmup, steps, expected):
    rate = LearningRate(learning_rate_schedule(OptimConfig(peak_lr=2e-3, warmup=warmup), steps))
    assert {step: float(rate.at(step)) / 2e-3 for step in expected} == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("linear", {10: 1.0, 55: 0.5, 99: 1 / 90}),
        ("cosine", {10: 1.0, 55: 0.5, 40: 0.75, 99: 0.5 * (1 + math.cos(math.pi * 89 / 90))}),
        ("constant", {10: 1.0, 55: 1.0, 99: 1.0}),
        ("wsd", {10: 1.0, 79: 1.0, 80: 1.0, 85: 0.75, 90: 0.5, 99: 0.05}),
        ("one-minus-sqrt", {10: 1.0, 79: 1.0, 80: 1.0, 85: 0.5, 99: 1 - math.sqrt(19 / 20)}),
    ],
)
def test_every_schedule_warms_up_and_takes_its_shape(schedule, expected):
    config = OptimConfig(peak_lr=2e-3, warmup=0.1, schedule=schedule, cooldown=0.2)
    rate = LearningRate(learning_rate_schedule(config, 100))
    expected = {0: 0.0, 5: 0.5, **expected}
    assert {step: float(rate.at(step)) / 2e-3 for step in expected} == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant", "wsd", "one-minus-sqrt"])
@pytest.mark.parametrize(("warmup", "cooldown", "steps"), [(0.0, 0.0, 1), (1.0, 1.0, 3), (0.6, 0.6, 10), (0, 1, 1)])
def test_every_schedule_lies_between_zero_and_the_peak(schedule, warmup, cooldown, steps):
    config = OptimConfig(peak_lr=1.0, warmup=warmup, schedule=schedule, cooldown=cooldown)
    rate = LearningRate(learning_rate_schedule(config, steps))
    assert all(0.0 <= rate.at(step) <= 1.0 for step in range(steps))


def test_rates_do_not_depend_on_the_order_they_are_asked_for_in():
    config = OptimConfig(peak_lr=1.0, warmup=0.1)
    steps = [0, BLOCK_STEPS - 1, BLOCK_STEPS, 2 * BLOCK_STEPS, 5, BLOCK_STEPS]
    rate = LearningRate(learning_rate_schedule(config, 3000))
    assert [rate.at(step) for step in steps] == [
        LearningRate(learning_rate_schedule(config, 3000)).at(step) for step in steps
    ]


def test_the_rate_follows_a_schedule_before_up_to_its_end():
    first, second, third = (learning_rate_schedule(OptimConfig(peak_lr=1.0, warmup=0.0), n) for n in (10, 20, 40))
    rate = LearningRate(third, before=LearningRate(second, before=LearningRate(first), until=8), until=16)
    assert [float(rate.at(step)) for step in (0, 7, 8, 15, 16)] == pytest.approx([1.0, 0.3, 0.6, 0.25, 0.6])
    assert rate.at(7) == LearningRate(first).at(7)  # to the bit


def test_ten_updates_equal_the_formulas():
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


def test_ten_updates_equal_those_of_torch():
    torch = pytest.importorskip("torch", reason="the optimizer is compared with torch's")
    params = {name: torch.tensor(value, dtype=torch.float32, requires_grad=True) for name, value in PARAMS.items()}
    groups = [
        {"params": [params["tokens"], params["kernel"]], "weight_decay": 0.2},
        {"params": [params["bias"], params["scale"]], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.999), eps=1e-6)
    learning_rate = LearningRate(learning_rate_schedule(CONFIG, STEPS))
    for step in range(STEPS):
        for name, gradient in gradients(step).items():
            params[name].grad = torch.tensor(gradient, dtype=torch.float32)
        torch.nn.utils.clip_grad_norm_(params.values(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = float(learning_rate.at(step))
        optimizer.step()
    for name, value in trained().items():
        np.testing.assert_allclose(value, params[name].detach().numpy(), rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize(
    ("limit", "norm", "factor"), [(1.0, 5.0, 0.2), (1.0, 0.5, 1.0), (1.0, 0.0, 1.0), (math.inf, 5.0, 1.0)]
)
def test_gradients_are_clipped_to_a_global_norm(limit, norm, factor):
    gradients = {"a": jnp.array([0.6 * norm]), "b": jnp.array([[0.0, 0.8 * norm]])}
    clipped, _ = clip_to_norm(limit).update(gradients, optax.EmptyState())
    for name, leaf in gradients.items():
        np.testing.assert_allclose(clipped[name], factor * leaf, rtol=1e-6)


def test_clipping_does_not_hide_gradients_that_are_not_finite():
    for bad in (math.inf, math.nan):
        clipped, _ = clip_to_norm(1.0).update({"a": jnp.array([bad, 1.0])}, optax.EmptyState())
        assert not np.isfinite(clipped["a"]).all()


def test_weight_decay_spares_biases_and_norms():
    from flax import nnx
    from tiny import TINY

    from bert_jax.model.heads import PretrainingModel

    abstract = nnx.eval_shape(lambda: PretrainingModel(TINY, rngs=nnx.Rngs(0)))
    flat = jax.tree_util.tree_flatten_with_path(decayed(nnx.to_pure_dict(nnx.state(abstract))))[0]
    named = {jax.tree_util.keystr(path, simple=True, separator="/"): decays for path, decays in flat}
    spared = {name for name, decays in named.items() if not decays}
    assert spared == {name for name in named if name.endswith(("bias", "scale"))}
    assert {name.split("/")[-1] for name in named.keys() - spared} == {"kernel", "tokens", "positions", "segments"}


@pytest.mark.parametrize(
    ("path", "share", "is_trainable"),
    [
        (("encoder", "embeddings", "tokens"), 0.9**4, False),
        (("encoder", "blocks", 0, "mlp", "up", "kernel"), 0.9**3, False),
        (("encoder", "blocks", 1, "mlp", "up", "kernel"), 0.9**2, True),
        (("encoder", "blocks", 2, "mlp", "up", "kernel"), 0.9, True),
        (("encoder", "final_norm", "scale"), 1.0, True),
        (("encoder", "pooler", "dense", "kernel"), 1.0, True),
        (("classifier", "kernel"), 1.0, True),
    ],
)
def test_a_path_decides_rate_and_freezing_of_a_parameter(path, share, is_trainable):
    assert LayerRates(3, 0.9).share(path) == pytest.approx(share)
    predicate = freeze_layers(1, 3)
    assert predicate is not None and predicate(path) == is_trainable
    assert freeze_layers(0, 3) is None


def test_layers_learn_at_their_own_rates():
    rng = np.random.default_rng(0)
    params = {
        "encoder": {"blocks": {i: {"kernel": jnp.asarray(rng.normal(size=(3, 2)), jnp.float32)} for i in range(2)}},
        "classifier": {"kernel": jnp.asarray(rng.normal(size=(2, 5)), jnp.float32)},
    }
    gradients = jax.tree.map(lambda x: 100 * jnp.ones_like(x), params)
    config = OptimConfig(weight_decay=0.2)

    def changes(optimizer):
        updates, _ = optimizer.update(gradients, optimizer.init(params), params, learning_rate=np.float32(0.1))
        return (
            updates["encoder"]["blocks"][0]["kernel"],
            updates["encoder"]["blocks"][1]["kernel"],
            updates["classifier"],
        )

    alike, by_layer = changes(make_optimizer(config)), changes(make_optimizer(config, LayerRates(2, 0.5)))
    for change, full, share in zip(by_layer, alike, (0.25, 0.5, 1.0), strict=True):
        jax.tree.map(lambda x, y, share=share: np.testing.assert_allclose(x, share * y, atol=1e-7), change, full)
