"""Default learning rate and epochs."""

import dataclasses
from pathlib import Path

import pytest

from bert_jax.config import ModelConfig
from bert_jax.finetuning.plan import plan_runs
from bert_jax.finetuning.recipe import usual_recipe, with_recipes
from bert_jax.settings.finetune import FinetuneConfig, SweepConfig

SMALL = ModelConfig(vocab_size=37, width=128, depth=2, heads=2, mlp_width=20, max_length=16)
BASE = dataclasses.replace(SMALL, width=768, heads=12)


@pytest.fixture
def config(tmp_path) -> FinetuneConfig:
    return FinetuneConfig(Path("from"), Path("data"), tmp_path / "run")


def test_small_encoders_get_higher_rates_and_more_epochs_than_bert_base(config, capsys):
    (small,), (base,) = (with_recipes(plan_runs(config), model) for model in (SMALL, BASE))
    assert (base.config.learning_rate, base.config.epochs) == (5e-5, 3.0)
    assert small.config.learning_rate > 5e-5 and small.config.epochs > 3
    first, second = capsys.readouterr().err.splitlines()
    assert f"--learning-rate {small.config.learning_rate:g}" in first and "width 128" in first
    assert "--epochs 3" in second and "the default for an encoder of width 768" in second


def test_rates_fall_and_epochs_do_not_rise_with_the_width():
    recipes = [usual_recipe(dataclasses.replace(SMALL, width=width)) for width in (128, 256, 384, 512, 768, 1024)]
    assert [recipe.learning_rate for recipe in recipes] == [1e-3, 3e-4, 3e-4, 1e-4, 5e-5, 3e-5]
    assert [recipe.epochs for recipe in recipes] == sorted((recipe.epochs for recipe in recipes), reverse=True)


def test_explicit_values_are_kept_without_a_note(config, capsys):
    explicit = dataclasses.replace(config, learning_rate=2e-5, epochs=1.5, seeds=(1, 2))
    assert with_recipes(plan_runs(explicit), SMALL) == plan_runs(explicit)
    swept = dataclasses.replace(config, sweep=SweepConfig(learning_rates=(1e-5, 2e-5)), epochs=2.0)
    assert [run.config.learning_rate for run in with_recipes(plan_runs(swept), SMALL)] == [1e-5, 2e-5]
    assert not capsys.readouterr().err
    (half,) = with_recipes(plan_runs(dataclasses.replace(config, learning_rate=2e-5)), SMALL)
    assert (half.config.learning_rate, half.config.epochs) == (2e-5, usual_recipe(SMALL).epochs)
    assert "--learning-rate" not in capsys.readouterr().err


def test_a_resumed_run_keeps_its_values(config, capsys):
    config.output.mkdir()
    (config.output / "run.toml").write_text("epochs = 4.0\nlearning_rate = 5e-05\nseeds = [0]\n")
    (run,) = with_recipes(plan_runs(config), SMALL)
    assert (run.config.learning_rate, run.config.epochs) == (5e-5, 4.0) and not capsys.readouterr().err
