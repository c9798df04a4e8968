"""A task laid out over a mesh: its state, steps and sums, as pure functions under jit."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from jax.sharding import Mesh
from jax.stages import Lowered

from bert_jax.errors import UserError
from bert_jax.random_bits import DropoutSeeds, SeedCounter, SeedPair, draw_seeds, microbatch_seeds, weight_keys
from bert_jax.sharding import (
    batch_sharding,
    batch_shards,
    computing_dtypes,
    divided_over_data,
    parameter_shardings,
    place_rows,
    place_whole,
    platform_of,
    replicated,
)
from bert_jax.train.row_shards import gather, sum_over_rows
from bert_jax.train.task import Batch, PredictionTask, Sums, Task
from bert_jax.train.trainable import IsTrainable, merge_params, split_params
from bert_jax.train.weight_average import learning_weights

Params = dict[str, Any]  # nested dicts of arrays
Shapes = tuple[tuple[str, tuple[int, ...]], ...]
# XLA for CPUs drops the barriers of `jax.checkpoint` before it orders the operations, and would then compute again at
# once, and keep the results.
COMPILER_OPTIONS = {"cpu": {"xla_disable_hlo_passes": "cse_barrier_expander"}}
MicroBatches = int | Mapping[tuple[int, int], int]  # of every batch, or by rows and length of a batch


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything that a run carries from step to step."""

    step: Array  # updates so far, int32
    params: Params  # trainable and frozen: the model
    opt_state: optax.OptState  # of the trainable parameters


@dataclasses.dataclass(frozen=True)
class LoweredStep:
    """The two programs of a step, traced and not compiled."""

    gradients: Lowered
    update: Lowered


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepMemory:
    """Bytes that a step takes on each device."""

    state: int  # parameters and optimizer state, allocated before the step
    gradients: int
    temporaries: int  # mostly activations

    @property
    def total(self) -> int:
        return self.state + self.gradients + self.temporaries


class Program:
    """The compiled functions of a task on a mesh, for training and prediction.

    Seed and learning rate are arguments, so all runs of a sweep share one program. The random numbers of a step depend
    on (seed, step) alone, so a step can be repeated.

    `accumulate` is the number of micro-batches of every batch, or by the rows and the length of a batch.
    `is_trainable` says by its path whether a parameter is trained (default: all are). Gradients and optimizer state
    have the trainable ones only. `shard_optimizer` divides both over the mesh axis data, too.

    Each device computes on its own rows, and parameters and gradients are exchanged once a step (row_shards.py). Where
    the rows of a task depend on each other, XLA divides the computation, and `accumulate` above 1 raises UserError.
    """

    def __init__(
        self,
        task: Task | PredictionTask,
        mesh: Mesh,
        optimizer: optax.GradientTransformation | None = None,
        *,
        accumulate: MicroBatches = 1,
        is_trainable: IsTrainable | None = None,
        shard_optimizer: bool = False,
    ) -> None:
        rows_independent = getattr(task, "rows_independent", True)
        most = max(accumulate.values()) if isinstance(accumulate, Mapping) else accumulate
        if most > 1 and not rows_independent:
            raise UserError(
                f"accumulate {most}: the loss of {type(task).__name__} is over the whole batch, so micro-batches "
                "would train another loss. Use 1, and more devices or a smaller batch where memory is short"
            )
        self.task: Any = task
        self.mesh, self.accumulate, self.is_trainable = mesh, accumulate, is_trainable
        self.optimizer = optax.with_extra_args_support(optimizer or optax.identity())
        self._has_row_shards = rows_independent and batch_shards(mesh) > 1
        module = nnx.eval_shape(lambda: task.build(weight_keys(0)))
        self.graph, abstract = nnx.split(module)
        self._shardings = shardings = parameter_shardings(abstract, mesh)
        self._dtypes = computing_dtypes(abstract)
        self.params = jax.tree.map(_abstract, nnx.to_pure_dict(abstract), shardings)
        trainable = self.split(self.params)[0]
        trainable_shardings = self.split(shardings)[0]
        if shard_optimizer:
            trainable_shardings = jax.tree.map(divided_over_data, trainable_shardings, trainable)
        replicate = replicated(mesh)
        opt_shapes = jax.eval_shape(self.optimizer.init, trainable)
        opt_shardings = optax.tree_utils.tree_map_params(
            self.optimizer,
            lambda leaf, sharding: leaf if _is_masked(leaf) else sharding,
            opt_shapes,
            trainable_shardings,
            transform_non_params=lambda _: replicate,
            is_leaf=_is_masked,
        )
        step: Any = _abstract(jax.ShapeDtypeStruct((), jnp.int32), replicate)
        self.state = TrainState(step, self.params, jax.tree.map(_abstract, opt_shapes, opt_shardings))
        state_shardings = jax.tree.map(lambda leaf: leaf.sharding, self.state)
        self._gradient_shardings = trainable_shardings
        self.gradient_shapes = jax.tree.map(_abstract, trainable, trainable_shardings)
        loss: Any = _abstract(jax.ShapeDtypeStruct((), jnp.float32), replicate)
        self._update_numbers = loss, np.float32(0), np.float32(0)  # the learning rate, and the largest loss
        self._init = jax.jit(self._initial_state, out_shardings=state_shardings)
        self._gradients = jax.jit(
            self._differentiate,
            out_shardings=(trainable_shardings, replicate),
            compiler_options=COMPILER_OPTIONS.get(platform_of(mesh)),
        )
        self._update = jax.jit(self._apply, donate_argnames="state", out_shardings=(state_shardings, replicate))
        self._draw_seeds = jax.jit(_seeds_of_step, static_argnames="count", out_shardings=replicate)
        self._sums = jax.jit(self._evaluate, out_shardings=replicate)
        self._outputs = jax.jit(self._predict, out_shardings=replicate)
        self._dropout_calls: int | None = None  # in a forward pass, counted at the first batch
        self._step_memory: dict[Shapes, StepMemory | None] = {}  # of the batches that are compiled

    def split(self, params: Params) -> tuple[Params, Params]:
        """Split parameters into trainable and frozen ones."""
        return split_params(params, self.is_trainable)

    def init(self, seed: int, params: Params | None = None) -> TrainState:
        """Create the state at step 0, in place on the mesh, the same on every mesh.

        `params`, a part of the tree laid out by `place_params`, are used as they are; random ones are drawn for the
        rest only.
        """
        with jax.set_mesh(self.mesh):
            return self._init(jax.random.key(seed), params or {})

    def place(self, batch: dict[str, np.ndarray]) -> Batch:
        """Return global arrays over the mesh from this process's rows of a batch."""
        return {name: place_rows(rows, self.mesh) for name, rows in batch.items()}

    def place_params(self, params: Params, like: Params | None = None) -> Params:
        """Place host arrays on the mesh with the layout of `like`, a subtree of `self.params` (default: all of it)."""
        return jax.tree.map(lambda value, to: place_whole(value, to.sharding), params, like or self.params)

    def step(
        self,
        state: TrainState,
        batch: Batch,
        *,
        seed: int,
        learning_rate: float | np.float32,
        loss_limit: float = math.inf,
    ) -> tuple[TrainState, Sums]:
        """Make one update. Returns the new state (`state` is donated) and the means over the batch."""
        gradients, means = self.gradients(state, batch, seed=seed)
        return self.update(state, gradients, means, learning_rate=learning_rate, loss_limit=loss_limit)

    def gradients(self, state: TrainState, batch: Batch, *, seed: int) -> tuple[Params, Sums]:
        """Compute the first half of a step: the gradients, and the means over the batch. `state` stays valid."""
        with jax.set_mesh(self.mesh):
            return self._gradients(self._learning(state), batch, self._dropout_seeds(state, batch, seed))

    def update(
        self,
        state: TrainState,
        gradients: Params,
        means: Sums,
        *,
        learning_rate: float | np.float32,
        loss_limit: float = math.inf,
    ) -> tuple[TrainState, Sums]:
        """Compute the second half of a step: the new state (`state` is donated), and `means` with the gradient norm.

        An optimizer of `skip_bad_steps` changes nothing where the loss is above `loss_limit`.
        """
        loss = means.get("loss", np.float32(0))
        with jax.set_mesh(self.mesh):
            state, norm = self._update(state, gradients, loss, np.float32(learning_rate), np.float32(loss_limit))
        return state, {**means, "gradient_norm": norm}

    def is_compiled(self, batch: Batch) -> bool:
        """Return whether `compile` was called for a batch of these shapes."""
        return _shapes(batch) in self._step_memory

    def compile(self, state: TrainState, batch: Batch) -> StepMemory | None:
        """Compile the step that `step` runs for batches of these shapes.

        Returns the memory that it needs, or None where the compiler does not report it.
        """
        with jax.set_mesh(self.mesh):
            seeds = self._dropout_seeds(state, batch, seed=0)
            gradient_memory = self._gradients.lower(self._learning(state), batch, seeds).compile().memory_analysis()
            update = self._update.lower(state, self.gradient_shapes, *self._update_numbers)
            update_memory = update.compile().memory_analysis()
        memory = None
        if gradient_memory is not None and update_memory is not None:
            gradients = gradient_memory.output_size_in_bytes
            memory = StepMemory(
                state=update_memory.argument_size_in_bytes - gradients,
                gradients=gradients,
                temporaries=max(gradient_memory.temp_size_in_bytes, update_memory.temp_size_in_bytes),
            )
        self._step_memory[_shapes(batch)] = memory
        return memory

    def lower(self, batch: Mapping[str, jax.ShapeDtypeStruct]) -> LoweredStep:
        """Trace the step for global batches of these shapes. Takes no array, so the devices need not be here."""
        placed = {name: _abstract(rows, batch_sharding(self.mesh)) for name, rows in batch.items()}
        word: Any = _abstract(jax.ShapeDtypeStruct((), jnp.uint32), replicated(self.mesh))
        seeds = [(word, word)] * self._count_dropout_calls(batch)  # makes arrays, so it stands before set_mesh
        with jax.set_mesh(self.mesh):
            return LoweredStep(
                self._gradients.lower(self._learning(self.state), placed, seeds),
                self._update.lower(self.state, self.gradient_shapes, *self._update_numbers),
            )

    def largest_step(self) -> StepMemory | None:
        """Return the memory of the largest compiled step, or None where the compiler reports none."""
        return max(filter(None, self._step_memory.values()), key=lambda memory: memory.total, default=None)

    def sums(self, params: Params, batch: Batch) -> tuple[Sums, Sums]:
        """Compute the task's sums and counts, without dropout."""
        with jax.set_mesh(self.mesh):
            return self._sums(params, batch)

    def outputs(self, params: Params, batch: Batch) -> Array:
        """Compute the task's outputs, one row a sequence."""
        with jax.set_mesh(self.mesh):
            return self._outputs(params, batch)

    def module(self, params: Params) -> nnx.Module:
        """Return the module with these parameters."""
        return nnx.merge(self.graph, params)

    def _initial_state(self, key: Array, params: Params) -> TrainState:
        drawn = nnx.to_pure_dict(nnx.state(self.task.build(weight_keys(key))))
        params = _overlay(drawn, params)
        return TrainState(jnp.zeros((), jnp.int32), params, self.optimizer.init(self.split(params)[0]))

    def _learning(self, state: TrainState) -> Params:
        """Return the parameters that gradients are computed at: those of `state`, unless they are an average."""
        trainable, frozen = self.split(state.params)
        return merge_params(learning_weights(trainable, state.opt_state), frozen)

    def _dropout_seeds(self, state: TrainState, batch: Batch, seed: int) -> list[SeedPair]:
        """Return the seeds of the dropout calls of the step after `state`."""
        if self._dropout_calls is None:
            self._dropout_calls = self._count_dropout_calls(batch)
        return self._draw_seeds(jax.random.key(seed), state.step, count=self._dropout_calls)

    def _count_dropout_calls(self, batch: Mapping[str, Any]) -> int:
        """Trace a forward pass and return how often it takes dropout seeds."""
        counter = SeedCounter()
        jax.eval_shape(lambda params, batch: self.task.sums(self.module(params), batch, counter), self.params, batch)
        return counter.taken

    def _differentiate(self, params: Params, batch: Batch, seeds: Sequence[SeedPair]) -> tuple[Params, Sums]:
        """Compute the gradients of the trainable parameters, and the means over the batch."""
        trainable, frozen = self.split(self._whole(params))
        counts = {name: jnp.maximum(count, 1) for name, count in self.task.counts(batch).items()}
        micro_batches = self._micro_batches(batch)

        def sums_and_gradients(batch: Batch, trainable: Params, frozen: Params, counts: Sums, seeds: Any) -> Any:
            differentiate = jax.value_and_grad(functools.partial(self._loss, counts, frozen), has_aux=True)
            if micro_batches == 1:
                return differentiate(trainable, batch, seeds)
            return self._accumulate(micro_batches, differentiate, trainable, batch, seeds)

        shardings = replicated(self.mesh), self._gradient_shardings
        over_rows = self._over_rows(sums_and_gradients, shardings)
        (loss, sums), gradients = over_rows(batch, trainable, frozen, counts, seeds)
        return gradients, {"loss": loss, **{name: sums[name] / counts[name] for name in sums}}

    def _whole(self, params: Params) -> Params:
        """Return the parameters as each device needs them for its rows: not divided over the axes of the batch."""
        return gather(params, self._shardings, self._dtypes)

    def _over_rows(self, function: Any, shardings: Any) -> Any:
        """Return a function of a batch over the mesh, from one of rows that returns sums over them."""
        return sum_over_rows(function, self.mesh, shardings) if self._has_row_shards else function

    def _apply(
        self, state: TrainState, gradients: Params, loss: Array, learning_rate: Array, loss_limit: Array
    ) -> tuple[TrainState, Array]:
        """Compute the next state, and the norm of the gradients.

        This is a program of its own because it is the same for rows of any length. The split costs no time,
        as the update can only begin when the norm of all gradients is known.
        """
        trainable, frozen = self.split(state.params)
        trainable = jax.lax.with_sharding_constraint(trainable, self._gradient_shardings)
        updates, opt_state = self.optimizer.update(
            gradients, state.opt_state, trainable, learning_rate=learning_rate, loss=loss, loss_limit=loss_limit
        )
        params = merge_params(optax.apply_updates(trainable, updates), frozen)
        return TrainState(state.step + 1, params, opt_state), optax.tree_utils.tree_norm(gradients)

    def _loss(
        self, counts: Sums, frozen: Params, trainable: Params, batch: Batch, seeds: Sequence[SeedPair]
    ) -> tuple[Array, Sums]:
        sums = self.task.sums(self.module(merge_params(trainable, frozen)), batch, DropoutSeeds(seeds))
        return sum((sums[name] / counts[name] for name in self.task.losses), jnp.zeros(())), sums

    def _micro_batches(self, batch: Batch) -> int:
        """Return the number of micro-batches of a batch of this shape."""
        if isinstance(self.accumulate, Mapping):
            rows, length = batch["tokens"].shape
            return self.accumulate[rows, length]
        return self.accumulate

    def _accumulate(
        self, count: int, differentiate: Any, trainable: Params, batch: Batch, seeds: Sequence[SeedPair]
    ) -> Any:
        """Add up what `differentiate` returns over `count` micro-batches in turn.

        A micro-batch has every count-th row, so that each device keeps its own rows.
        """
        micro = jax.tree.map(
            lambda x: x.reshape(-1, count, *x.shape[1:]).swapaxes(0, 1), dict(batch)
        )  # micro-batch, row, ...

        def add(total: Any, item: tuple[Array, Batch]) -> tuple[Any, None]:
            index, rows = item
            return jax.tree.map(jnp.add, total, differentiate(trainable, rows, microbatch_seeds(seeds, index))), None

        shapes = jax.eval_shape(differentiate, trainable, jax.tree.map(lambda x: x[0], micro), seeds)
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        return jax.lax.scan(add, zeros, (jnp.arange(count), micro))[0]

    def _evaluate(self, params: Params, batch: Batch) -> tuple[Sums, Sums]:
        def sums(batch: Batch, params: Params) -> Sums:
            scores: Sums = self.task.sums(self.module(params), batch, None)
            return scores

        params = self._whole(params)
        return self._over_rows(sums, replicated(self.mesh))(batch, params), self.task.counts(batch)

    def _predict(self, params: Params, batch: Batch) -> Array:
        return self.task.outputs(self.module(self._whole(params)), batch)


def _shapes(batch: Batch) -> Shapes:
    return tuple((name, rows.shape) for name, rows in sorted(batch.items()))


def _seeds_of_step(key: Array, step: Array, count: int) -> list[SeedPair]:
    return draw_seeds(jax.random.fold_in(key, step), count)


def _overlay(params: Params, replacements: Params) -> Params:
    """Return the parameters with `replacements`, a part of their tree, in place of the same ones."""
    return {
        name: _overlay(value, replacements.get(name, {})) if isinstance(value, dict) else replacements.get(name, value)
        for name, value in params.items()
    }


def _is_masked(leaf: Any) -> bool:
    """Return whether a leaf stands for a parameter that a part of the optimizer leaves to another part."""
    return isinstance(leaf, optax.MaskedNode)


def _abstract(leaf: Any, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
