"""Steps whose numbers are not finite, or whose loss is a spike: they stop the run, are left out, or are made again."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bert_jax.config import GuardConfig
from bert_jax.errors import Diverged
from bert_jax.terminal import say
from bert_jax.train.rewinds import Rewound
from bert_jax.train.spikes import RecentLosses

STOP = GuardConfig()


def skip_bad_steps(optimizer: optax.GradientTransformationExtraArgs) -> optax.GradientTransformationExtraArgs:
    """Return an optimizer that changes no parameter and no moment in a bad step.

    That is one whose gradient norm is not finite, or whose loss is above `loss_limit`, two extra arguments of `update`.
    Its counters count such a step, too, so that they agree with the step of the run. The layout of its state is that of
    `optimizer`, so a run that stopped at such a step can go on with it.
    """

    def update(
        gradients: optax.Updates,
        state: optax.OptState,
        params: optax.Params | None = None,
        *,
        loss: jax.Array,
        loss_limit: jax.Array,
        **extra: Any,
    ) -> tuple[optax.Updates, optax.OptState]:
        is_good = jnp.isfinite(optax.tree_utils.tree_norm(gradients)) & (loss <= loss_limit)
        updates, changed = optimizer.update(gradients, state, params, **extra)

        def keep(old: jax.Array, new: jax.Array) -> jax.Array:
            is_counter = new.ndim == 0 and jnp.issubdtype(new.dtype, jnp.integer)
            return new if is_counter else jnp.where(is_good, new, old)

        return jax.tree.map(lambda leaf: jnp.where(is_good, leaf, 0), updates), jax.tree.map(keep, state, changed)

    return optax.GradientTransformationExtraArgs(optimizer.init, update)


class Guard:
    """Looks at the numbers of each step, in order.

    `batch` returns the rows of a step, counted from 0, for `dump_batch`; `seed` is named in messages. With action
    "skip", the program needs the optimizer of `skip_bad_steps`. `recent` are the losses before the first step.
    """

    def __init__(
        self,
        config: GuardConfig,
        folder: Path,
        *,
        seed: int,
        batch: Callable[[int], dict[str, np.ndarray]],
        recent: RecentLosses,
    ) -> None:
        self.config, self.folder, self.seed, self.batch, self.recent = config, folder, seed, batch, recent
        self._skipped_in_a_row = 0

    @property
    def loss_limit(self) -> float:
        """The largest loss of the next step that is no spike."""
        return self.recent.limit

    def check(self, step: int, numbers: dict[str, float]) -> None:
        """Note a step that was skipped. Raises Diverged where the run is to stop, Rewound where it is to go back."""
        loss, norm, limit = numbers["loss"], numbers["gradient_norm"], self.loss_limit
        is_finite = all(map(math.isfinite, numbers.values()))
        if is_finite and loss <= limit:
            self._skipped_in_a_row = 0
            return
        spike = f", above {limit:.4g}, {self.config.spike} times the recent median" if is_finite else ""
        what = (
            f"step {step}: the loss is {loss:.6g}{spike}, the gradient norm {norm:.6g} "
            f"(batch {step - 1} of seed {self.seed}{self._dump(step)})"
        )
        if self.config.action == "rewind":
            raise Rewound(step, what)
        self._skipped_in_a_row += 1
        is_skipped = self.config.action == "skip" and not (math.isfinite(norm) and loss <= limit)
        if is_skipped and self._skipped_in_a_row < self.config.most_skipped:
            say(f"{what}. Skipped: the step changes nothing", to_stderr=True)
            return
        in_a_row = f"{self._skipped_in_a_row} steps in a row. " if is_skipped else ""
        raise Diverged(
            f"{what}. {in_a_row}Lower the learning rate, or use float32; {self.folder} keeps its last checkpoint"
        )

    def _dump(self, step: int) -> str:
        """Write the rows of this process where they are asked for, and return the words that name the file."""
        if not self.config.dump_batch:
            return ""
        process = f"-process-{jax.process_index()}" if jax.process_count() > 1 else ""
        path = self.folder / f"batch-of-step-{step}{process}.npz"
        arrays: dict[str, Any] = {**self.batch(step - 1)}
        np.savez(path, **arrays)
        return f", written to {path}"
