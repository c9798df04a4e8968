"""Default learning rate and number of epochs of fine-tuning, by the width of the encoder."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from bert_jax.config import ModelConfig
from bert_jax.files import SETTINGS_BYTES, read_toml_table
from bert_jax.finetuning.plan import PlannedRun
from bert_jax.settings.finetune import FinetuneConfig
from bert_jax.terminal import note


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Learning rate and number of epochs of a fine-tuning."""

    learning_rate: float
    epochs: float


# (smallest width of the encoder, recipe). 768: Devlin et al. 2018, A.3; 1024: Liu et al. 2019, table 10; 512 and
# 256: Turc et al. 2019, and ELECTRA-Small (Clark et al. 2020, table 7); 384 and 128: measured, docs/results.md.
BY_WIDTH = (
    (1024, Recipe(3e-5, 3.0)),
    (768, Recipe(5e-5, 3.0)),
    (448, Recipe(1e-4, 4.0)),
    (320, Recipe(3e-4, 4.0)),
    (192, Recipe(3e-4, 6.0)),
    (0, Recipe(1e-3, 10.0)),
)


def usual_recipe(model: ModelConfig) -> Recipe:
    """Return the recipe that usually works for an encoder of this width."""
    return next(recipe for width, recipe in BY_WIDTH if model.width >= width)


def with_recipe(config: FinetuneConfig, model: ModelConfig) -> tuple[float, float]:
    """Return the learning rate and epochs of `config`, with the defaults for `model` in place of None."""
    usual = usual_recipe(model)
    rate = usual.learning_rate if config.learning_rate is None else config.learning_rate
    return rate, usual.epochs if config.epochs is None else config.epochs


def with_recipes(plan: Sequence[PlannedRun], model: ModelConfig) -> list[PlannedRun]:
    """Fill in the learning rate and epochs of the runs; a note names the defaults for `model` that were used.

    A run that already exists resumes with its own values.
    """
    usual = dataclasses.asdict(usual_recipe(model))
    settled, taken = [], dict[str, float]()
    for run in plan:
        earlier = _earlier_settings(run.config)
        missing = [name for name in usual if getattr(run.config, name) is None]
        values: dict[str, Any] = {name: earlier.get(name, usual[name]) for name in missing}
        taken |= {name: usual[name] for name in missing if name not in earlier}
        settled.append(dataclasses.replace(run, config=dataclasses.replace(run.config, **values)))
    if taken:
        flags = ", ".join(f"--{name.replace('_', '-')} {value:g}" for name, value in taken.items())
        note(f"{flags}: the default for an encoder of width {model.width}")
    return settled


def _earlier_settings(config: FinetuneConfig) -> dict[str, float]:
    """Return the float settings of the run that `config` resumes; an empty dict if it starts a new run."""
    path = config.output / "run.toml"
    if not path.is_file():
        return {}
    table = read_toml_table(path, limit=SETTINGS_BYTES)
    return {name: value for name, value in table.items() if isinstance(value, float)}
