"""Measurements of accelerator.py with JAX: a pre-training step and its parts, and kernels alone beside the plain ones.

Imports what trains a model and nothing that reads data, so that it needs jax, flax, optax, numpy and jaxtyping only.
"""

import collections
import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from accelerator_cases import Case, Shape
from flax import nnx

from bert_jax.config import MeshConfig, ModelConfig, OptimConfig, with_dropout
from bert_jax.errors import UserError
from bert_jax.model.attention_bodies import ATTENTIONS, AttentionCall, bodies_in_training, plain_attention
from bert_jax.model.compute import Compute
from bert_jax.model.encoder_input import EncoderInput, KeyInterval
from bert_jax.model.layers import LayerNorm
from bert_jax.model.presets import resolve
from bert_jax.model.residual_norm import plain_residual_norm, residual_norm_for
from bert_jax.random_bits import DropoutSeeds
from bert_jax.sharding import make_mesh
from bert_jax.tasks.pretraining_task import PretrainingTask
from bert_jax.train.optimizer import make_optimizer
from bert_jax.train.program import Program

Row = dict[str, Any]
Function = Callable[..., Any]
DTYPE = jnp.bfloat16
LEARNING_RATE = 1e-4
COMPARED_ROWS = 4  # of the batch, with the plain function in float32
USES = 2  # of the norm after attention: the MLP and the next sum
SEED_WORDS = (0xFFFFFF00, 77)
TRACED_STEPS = 3
OF_EXECUTOR = ("ThunkExecutor", "SlinkyThreadPool", "end: ")  # events of a CPU that are no operation
GB, MS = 1e9, 1e3


def measure_step(case: Case) -> Iterator[Row]:
    """Yield a row of the step as soon as it is measured, then one that has its parts, too."""
    shape, model = case.sizes, model_of(case)
    compute = Compute(DTYPE, attention=case.attention, residual_norm=case.residual_norm, platform=jax.default_backend())
    bodies = bodies_in_training(model, compute, shape.length, is_packed=case.packed)
    task = PretrainingTask(model, compute, None if case.packed else "nsp")
    program = Program(task, make_mesh(MeshConfig(data=1), jax.devices()[:1]), make_optimizer(OptimConfig()))
    batch, state = program.place(pretraining_batch(shape, model, packed=case.packed)), program.init(0)
    began = time.perf_counter()
    memory = program.compile(state, batch)
    compiled = time.perf_counter() - began
    losses = []

    def step() -> Any:
        nonlocal state
        state, means = program.step(state, batch, seed=0, learning_rate=LEARNING_RATE)
        losses.append(means["loss"])
        return state

    row = {**timed(step, tiny=case.tiny), "bodies": bodies, "compile_seconds": round(compiled, 1)}
    row |= {"first_loss": round(float(losses[0]), 4), "last_loss": round(float(losses[-1]), 4), **peak_memory()}
    if memory is not None:
        row["temporaries_GB"] = round(memory.temporaries / GB, 2)
    yield row
    if case.trace:
        with jax.profiler.trace(case.trace):
            for _ in range(TRACED_STEPS):
                step()
            jax.block_until_ready(state)
        row |= {"operations": top_operations(Path(case.trace), TRACED_STEPS)}
        yield row
    gradients, means = program.gradients(state, batch, seed=0)

    def update() -> Any:
        nonlocal state
        state, _ = program.update(state, gradients, means, learning_rate=LEARNING_RATE)
        return state

    parts = {
        "gradients": lambda: program.gradients(state, batch, seed=0),
        "update": update,
        "evaluation": lambda: program.sums(state.params, batch),  # a forward pass without dropout, and its scores
    }
    for name, part in parts.items():
        row |= {f"{name}_ms": timed(part, tiny=case.tiny)["ms"]}
        yield row


def measure_attention(case: Case) -> Iterator[Row]:
    """Yield the time of a body of attention, forward and backward, and then its differences from plain attention."""
    shape, model = case.sizes, model_of(case)
    rate, body = model.attention_rate, ATTENTIONS[case.body]
    call = AttentionCall(
        platform=jax.default_backend(),
        dtype=jnp.dtype(DTYPE),
        queries=shape.length,
        keys=shape.length,
        heads=model.heads,
        head_size=model.head_size,
        rate=rate,
        is_padded=not case.packed,
    )
    limit = body.limits(call)
    if limit is not None:
        raise UserError(f"{case.body} {limit}")
    attend = body.of(call.platform)

    def inputs(rows: int, *, full: bool) -> tuple[list[jax.Array], KeyInterval, np.ndarray]:
        arrays = random_arrays((rows, shape.length, model.heads, model.head_size), 4)
        keys, is_used = key_intervals(rows, shape.length, packed=case.packed, full=full)
        return arrays, keys, is_used

    def with_gradients(function: Function) -> Function:
        def compute(q: Any, k: Any, v: Any, d_out: Any, keys: KeyInterval) -> Any:
            out, backward = jax.vjp(lambda *qkv: function(*qkv, keys, rate=rate, seeds=seeds_of(rate)), q, k, v)
            return out, *backward(d_out)

        return jax.jit(compute)

    arrays, keys, _ = inputs(shape.rows, full=True)
    step = functools.partial(with_gradients(attend), *arrays, keys)
    ends, starts = np.asarray(keys.end), np.asarray(0 if keys.start is None else keys.start)
    pairs = float((np.broadcast_to(ends, (shape.rows, shape.length)) - starts).sum())
    row = {**timed(step, tiny=case.tiny), "flops": 12 * pairs * model.width, "rate": rate, **peak_memory()}
    yield row
    del arrays, step
    arrays, keys, is_used = inputs(min(COMPARED_ROWS, shape.rows), full=False)
    arrays[-1] = jnp.where(is_used, arrays[-1], 0)
    out, *gradients = with_gradients(attend)(*arrays, keys)
    exact_out, *exact = exactly(with_gradients(plain_attention), *arrays, keys)
    row |= {"difference": relative(jnp.where(is_used, out, 0), jnp.where(is_used, exact_out, 0))}
    yield row | {"gradient_difference": worst(map(relative, gradients, exact))}


def measure_residual_norm(case: Case) -> Iterator[Row]:
    """Yield the time of dropout, addition and norm, forward and backward, and then the differences from plain ones."""
    shape, model = case.sizes, model_of(case)
    body = residual_norm_for(Compute(DTYPE, residual_norm=case.body, platform=jax.default_backend()))
    norm = LayerNorm(model.width, epsilon=model.norm_epsilon, rngs=nnx.Rngs(0))
    graph, params = nnx.split(norm)

    def with_gradients(add: Function) -> Function:
        def compute(x: Any, y: Any, *d_outs: Any) -> Any:
            def apply(params: Any, x: Any, y: Any) -> Any:
                seeds = seeds_of(model.dropout)
                norm = nnx.merge(graph, params)
                return add(norm, x, y, rate=model.dropout, seeds=seeds, tokens=shape.length, uses=USES)

            outs, backward = jax.vjp(apply, params, x, y)
            return outs[0], *jax.tree.leaves(backward(list(d_outs)))

        return jax.jit(compute)

    tokens = shape.rows * shape.length
    arrays = random_arrays((tokens, model.width), 2 + USES)
    row = timed(functools.partial(with_gradients(body), *arrays), tiny=case.tiny)
    moved = (
        (7 + USES) * tokens * model.width * jnp.dtype(DTYPE).itemsize
    )  # 4 arrays forward; the sum, dx and dy backward
    row |= {"bytes": moved, "rate": model.dropout, **peak_memory()}
    yield row
    del arrays
    arrays = random_arrays((min(COMPARED_ROWS, shape.rows) * shape.length, model.width), 2 + USES)
    out, *gradients = with_gradients(body)(*arrays)
    exact_out, *exact = exactly(with_gradients(plain_residual_norm), *arrays)
    row |= {"difference": relative(out, exact_out)}
    yield row | {"gradient_difference": worst(map(relative, gradients, exact))}


def model_of(case: Case) -> ModelConfig:
    """Return the model of a case."""
    return with_dropout(resolve(case.sizes.preset, case.sizes.vocab_size), None, case.attention_dropout)


def timed(function: Callable[[], Any], *, tiny: bool) -> Row:
    """Return the median milliseconds of a call, and the slowest over the fastest lap.

    A lap is five calls, as in a run: nothing waits between them.
    """
    warm_up, laps, calls = (1, 1, 1) if tiny else (3, 5, 5)
    for _ in range(warm_up):
        jax.block_until_ready(function())
    times = []
    for _ in range(laps):
        began = time.perf_counter()
        for _ in range(calls):
            out = function()
        jax.block_until_ready(out)
        times.append((time.perf_counter() - began) / calls)
    return {"ms": round(MS * sorted(times)[laps // 2], 3), "spread": round(max(times) / min(times), 3)}


def peak_memory() -> Row:
    """Return the most memory that this process has held, where the device reports it."""
    used = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    return {} if used is None else {"peak_GB": round(used / GB, 2)}


def pretraining_batch(shape: Shape, model: ModelConfig, *, packed: bool) -> dict[str, np.ndarray]:
    """Return a random batch of full rows."""
    rng = np.random.default_rng(0)
    rows, length, masked = shape.rows, shape.length, shape.predictions
    tokens = rng.integers(min(1000, model.vocab_size // 2), model.vocab_size, (rows, length)).astype(np.int32)
    inner = np.tile(np.arange(1, length - 1), (rows, 1))
    positions = np.sort(rng.permuted(inner, axis=1)[:, :masked], axis=1).astype(np.int32)
    whole = np.full(rows, length, np.int32)
    batch = {
        "tokens": tokens,
        "length": whole,
        "segment_b": whole if packed else whole // 2,
        "next_label": rng.integers(0, 2, rows).astype(np.int32),
        "masked_positions": positions,
        "masked_labels": np.take_along_axis(tokens, positions, 1),
        "masked_count": np.full(rows, masked, np.int32),
        "weight": np.ones(rows, np.float32),
    }
    return {**batch, "starts": document_starts(rng, rows, length)} if packed else batch


def document_starts(rng: np.random.Generator, rows: int, length: int) -> np.ndarray:
    """Return True at the first token of each document; a row has about four."""
    starts = rng.random((rows, length)) < 3 / length
    starts[:, 0] = True
    return starts


def key_intervals(rows: int, length: int, *, packed: bool, full: bool) -> tuple[KeyInterval, np.ndarray]:
    """Return intervals of keys, and True for the tokens whose output is used. Rows that are not full are unequal."""
    rng = np.random.default_rng(0)
    lengths = np.full(rows, length) if full else rng.integers(length // 4, length + 1, rows)
    starts = document_starts(rng, rows, length) if packed else None
    lengths = lengths.astype(np.int32)
    keys = EncoderInput.from_lengths(np.zeros((rows, length), np.int32), lengths, lengths, starts).keys
    return keys, (np.arange(length) < lengths[:, None])[..., None, None]


def random_arrays(shape: tuple[int, ...], count: int) -> list[jax.Array]:
    """Return arrays of a normal distribution."""
    return [jax.random.normal(key, shape, DTYPE) for key in jax.random.split(jax.random.key(0), count)]


def seeds_of(rate: float) -> DropoutSeeds | None:
    """Return the seeds of one call of dropout."""
    return DropoutSeeds([tuple(map(jnp.uint32, SEED_WORDS))]) if rate else None


def exactly(function: Function, *arguments: Any) -> Any:
    """Return the results of a function of the same arrays in float32, multiplied exactly."""

    def wide(x: Any) -> Any:
        return x.astype(jnp.float32) if x.dtype == DTYPE else x

    with jax.default_matmul_precision("highest"):
        return function(*jax.tree.map(wide, arguments))


def relative(array: Any, exact: Any) -> float:
    """Return the norm of the difference of two arrays, over that of the second one."""
    array, exact = (np.asarray(part, np.float64) for part in (array, exact))
    return float(np.linalg.norm(array - exact) / max(1.0, np.linalg.norm(exact)))


def worst(differences: Any) -> float:
    """Return the largest difference, and NaN where one is NaN."""
    return float(np.max(list(differences)))


def top_operations(folder: Path, steps: int, count: int = 15) -> list[tuple[str, float]]:
    """Return the names of the operations of a profile that take longest, with the milliseconds of a step."""
    totals: collections.Counter[str] = collections.Counter()
    newest = max(folder.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    planes = list(jax.profiler.ProfileData.from_file(str(newest)).planes)
    of_devices = [plane for plane in planes if plane.name.startswith("/device:")]
    for plane in of_devices or [plane for plane in planes if plane.name == "/host:CPU"]:
        lines = {line.name: line for line in plane.lines}
        kinds = [[name for name in lines if name.startswith(kind)] for kind in ("Stream", "XLA Ops", "tf_XLA")]
        for name in next(filter(None, kinds), []):
            for event in lines[name].events:
                if not event.name.startswith(OF_EXECUTOR):
                    totals[event.name] += event.duration_ns
    return [(name, round(time / 1e6 / steps, 3)) for name, time in totals.most_common(count)]


MEASURES = {"step": measure_step, "attention": measure_attention, "residual-norm": measure_residual_norm}
