"""A task laid out over a mesh: its state, its step and its sums, as pure functions under jit."""

import copy
import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from jax.sharding import Mesh

from bert_jax.random_bits import DropoutSeeds, SeedPair, draw_seeds, microbatch_seeds, weight_keys
from bert_jax.sharding import batch_sharding, parameter_shardings, replicated
from bert_jax.train.optimizer import Pace
from bert_jax.train.task import Answers, Batch, Sums, Task

Params = dict[str, Any]  # nested dicts of arrays
Shapes = tuple[tuple[str, tuple[int, ...]], ...]
MOST_CALLS = 4096  # of dropout


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """All that a run carries from step to step."""

    step: Array  # updates made so far, int32
    params: Params
    opt_state: optax.OptState


@dataclasses.dataclass(frozen=True)
class StepMemory:
    """The bytes that a step takes on each device."""

    state: int  # parameters and optimizer, there before and after
    gradients: int
    temporaries: int  # activations, most of all

    @property
    def total(self) -> int:
        return self.state + self.gradients + self.temporaries


class Program:
    """The functions of a run. Random numbers of a step come from (seed, step), so that it can be repeated."""

    def __init__(
        self,
        task: Task | Answers,
        mesh: Mesh,
        optimizer: optax.GradientTransformation | None = None,
        *,
        pace: Pace | None = None,
        seed: int = 0,
        accumulate: int = 1,
    ) -> None:
        self.task: Any = task
        self.mesh, self.seed, self.pace, self.accumulate = mesh, seed, pace, accumulate
        self.optimizer = optax.with_extra_args_support(optimizer or optax.identity())
        module = nnx.eval_shape(lambda: task.build(weight_keys(0)))
        self.graph, abstract = nnx.split(module)
        shardings = parameter_shardings(abstract, mesh)
        shapes = nnx.to_pure_dict(abstract)
        self.params = jax.tree.map(_abstract, shapes, shardings)
        whole = replicated(mesh)
        opt_shapes = jax.eval_shape(self.optimizer.init, self.params)
        opt_shardings = optax.tree_utils.tree_map_params(
            self.optimizer, lambda _, sharding: sharding, opt_shapes, shardings, transform_non_params=lambda _: whole
        )
        step: Any = _abstract(jax.ShapeDtypeStruct((), jnp.int32), whole)
        self.state = TrainState(step, self.params, jax.tree.map(_abstract, opt_shapes, opt_shardings))
        self._shardings = jax.tree.map(lambda leaf: leaf.sharding, self.state)
        self._init = jax.jit(self._fresh_state, out_shardings=self._shardings)
        self._gradients = jax.jit(self._differentiate, out_shardings=(self._shardings.params, whole))
        self._update = jax.jit(self._apply, donate_argnames="state", out_shardings=(self._shardings, whole))
        self._words = jax.jit(_words_of_step, static_argnames="count", out_shardings=whole)
        self._calls: dict[str, int] = {}  # of dropout in a forward pass; all runs of the program share it
        self._compiled: dict[Shapes, StepMemory | None] = {}  # shared, too
        self._sums = jax.jit(self._evaluate, out_shardings=whole)
        self._outputs = jax.jit(self._predict, out_shardings=whole)

    def of_run(self, seed: int, pace: Pace) -> "Program":
        """The same functions with other random numbers and another learning rate: what is compiled serves all runs."""
        other = copy.copy(self)
        other.seed, other.pace = seed, pace
        return other

    def init(self, given: Params | None = None) -> TrainState:
        """A fresh state, created in place on the mesh; the same whatever the mesh.

        Parameters that are `given`, a part of the tree laid out by `place_params`, are taken, and not drawn at all.
        """
        with jax.set_mesh(self.mesh):
            return self._init(jax.random.key(self.seed), given or {})

    def place(self, batch: dict[str, np.ndarray]) -> Batch:
        """This process's rows of a batch, as global arrays over the mesh."""
        sharding = batch_sharding(self.mesh)
        return {name: jax.make_array_from_process_local_data(sharding, rows) for name, rows in batch.items()}

    def place_params(self, params: Params, like: Params | None = None) -> Params:
        """Host arrays onto the mesh, laid out as `like`: all parameters, or a subtree of `self.params`."""
        return jax.tree.map(lambda value, to: jax.device_put(value, to.sharding), params, like or self.params)

    def step(self, state: TrainState, batch: Batch) -> tuple[TrainState, Sums]:
        """One update. Returns the new state (the old one is donated) and the means over the batch."""
        with jax.set_mesh(self.mesh):
            return self._updated(state, *self._gradients(state.params, batch, self._words_for(state, batch)))

    def gradients(self, state: TrainState, batch: Batch) -> tuple[Params, Sums]:
        """The first half of a step: the gradients, and the means over the batch. The state stays as it is."""
        with jax.set_mesh(self.mesh):
            return self._gradients(state.params, batch, self._words_for(state, batch))

    def update(self, state: TrainState, gradients: Params, means: Sums) -> tuple[TrainState, Sums]:
        """The second half: the new state (the old one is donated), and the means with the norm of the gradients."""
        with jax.set_mesh(self.mesh):
            return self._updated(state, gradients, means)

    def _updated(self, state: TrainState, gradients: Params, means: Sums) -> tuple[TrainState, Sums]:
        state, norm = self._update(state, gradients, self.pace)
        return state, {**means, "gradient_norm": norm}

    def is_compiled(self, batch: Batch) -> bool:
        """Return whether `compile` has seen a batch of these shapes, in this run or another of the program."""
        return _shapes(batch) in self._compiled

    def compile(self, state: TrainState, batch: Batch) -> StepMemory | None:
        """Compile the step for batches of these shapes; return the memory that it needs, where the compiler says it.

        What is compiled here is what `step` runs.
        """
        with jax.set_mesh(self.mesh):
            words = self._words_for(state, batch)
            first = self._gradients.lower(state.params, batch, words)
            half = first.compile().memory_analysis()
            shapes = jax.tree.map(_abstract, first.out_info[0], self._shardings.params)
            other = self._update.lower(state, shapes, self.pace).compile().memory_analysis()
        need = None
        if half is not None and other is not None:  # some backends do not say
            gradients = half.output_size_in_bytes
            need = StepMemory(
                state=other.argument_size_in_bytes - gradients,
                gradients=gradients,
                temporaries=max(half.temp_size_in_bytes, other.temp_size_in_bytes),
            )
        self._compiled[_shapes(batch)] = need
        return need

    def largest_step(self) -> StepMemory | None:
        """Return what the largest step needs of those that are compiled; None where nobody says."""
        return max(filter(None, self._compiled.values()), key=lambda step: step.total, default=None)

    def _words_for(self, state: TrainState, batch: Batch) -> list[SeedPair]:
        """The seeds of the dropout calls of this step."""
        return self._words(jax.random.key(self.seed), state.step, count=self._count_calls(batch))

    def sums(self, params: Params, batch: Batch) -> tuple[Sums, Sums]:
        """Sums and counts of the task without dropout."""
        with jax.set_mesh(self.mesh):
            return self._sums(params, batch)

    def outputs(self, params: Params, batch: Batch) -> Array:
        """What the task predicts, one row a sequence."""
        with jax.set_mesh(self.mesh):
            return self._outputs(params, batch)

    def module(self, params: Params) -> nnx.Module:
        return nnx.merge(self.graph, params)

    def _fresh_state(self, key: Array, given: Params) -> TrainState:
        params = _replaced(nnx.to_pure_dict(nnx.state(self.task.build(weight_keys(key)))), given)
        return TrainState(jnp.zeros((), jnp.int32), params, self.optimizer.init(params))

    def _count_calls(self, batch: Batch) -> int:
        """How often dropout is called in a forward pass."""
        if not self._calls:
            seeds = DropoutSeeds([(jnp.uint32(0), jnp.uint32(0))] * MOST_CALLS)
            jax.eval_shape(lambda params, batch: self.task.sums(self.module(params), batch, seeds), self.params, batch)
            self._calls["dropout"] = seeds.taken
        return self._calls["dropout"]

    def _differentiate(self, params: Params, batch: Batch, words: Sequence[SeedPair]) -> tuple[Params, Sums]:
        """The gradients, and the means over the batch."""
        counts = {name: jnp.maximum(count, 1) for name, count in self.task.counts(batch).items()}
        differentiate = jax.value_and_grad(functools.partial(self._loss, counts), has_aux=True)
        if self.accumulate == 1:
            (loss, sums), gradients = differentiate(params, batch, words)
        else:
            (loss, sums), gradients = self._accumulate(differentiate, params, batch, words)
        return gradients, {"loss": loss, **{name: sums[name] / counts[name] for name in sums}}

    def _apply(self, state: TrainState, gradients: Params, pace: Pace | None) -> tuple[TrainState, Array]:
        """The next state, and the norm of the gradients.

        A program of its own: it is the same for rows of any length, and begins when it has the norm of all gradients.
        """
        updates, opt_state = self.optimizer.update(gradients, state.opt_state, state.params, pace=pace)
        params = optax.apply_updates(state.params, updates)
        return TrainState(state.step + 1, params, opt_state), optax.tree_utils.tree_norm(gradients)

    def _loss(self, counts: Sums, params: Params, batch: Batch, words: Sequence[SeedPair]) -> tuple[Array, Sums]:
        sums = self.task.sums(self.module(params), batch, DropoutSeeds(words))
        return sum((sums[name] / counts[name] for name in self.task.losses), jnp.zeros(())), sums

    def _accumulate(self, differentiate: Any, params: Params, batch: Batch, words: Sequence[SeedPair]) -> Any:
        """The same over micro-batches in turn, of every accumulate-th row, so that each device keeps its own."""
        micro = jax.tree.map(
            lambda x: x.reshape(-1, self.accumulate, *x.shape[1:]).swapaxes(0, 1), dict(batch)
        )  # micro-batch, row, ...

        def add(total: Any, item: tuple[Array, Batch]) -> tuple[Any, None]:
            index, rows = item
            return jax.tree.map(jnp.add, total, differentiate(params, rows, microbatch_seeds(words, index))), None

        shapes = jax.eval_shape(differentiate, params, jax.tree.map(lambda x: x[0], micro), words)
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        return jax.lax.scan(add, zeros, (jnp.arange(self.accumulate), micro))[0]

    def _evaluate(self, params: Params, batch: Batch) -> tuple[Sums, Sums]:
        return self.task.sums(self.module(params), batch, None), self.task.counts(batch)

    def _predict(self, params: Params, batch: Batch) -> Array:
        return self.task.outputs(self.module(params), batch)


def _shapes(batch: Batch) -> Shapes:
    return tuple((name, rows.shape) for name, rows in sorted(batch.items()))


def _words_of_step(key: Array, step: Array, count: int) -> list[SeedPair]:
    return draw_seeds(jax.random.fold_in(key, step), count)


def _replaced(params: Params, given: Params) -> Params:
    """The parameters, those that are given in their place."""
    return {
        name: _replaced(part, given.get(name, {})) if isinstance(part, dict) else given.get(name, part)
        for name, part in params.items()
    }


def _abstract(leaf: Any, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
