"""Several runs of one command: plan, shares of the examples, and summary."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_jax.data.encoded import Encoded
from bert_jax.errors import UserError
from bert_jax.finetuning.plan import plan_runs
from bert_jax.finetuning.shares import take_share
from bert_jax.finetuning.summary import curve_verdict, summarise
from bert_jax.finetuning.task_data import Examples
from bert_jax.settings.finetune import FinetuneConfig, SweepConfig

CONFIG = FinetuneConfig(Path("from"), Path("data"), Path("out"))


def encoded(lengths: list[int], labels: np.ndarray, group: int = 1) -> Encoded:
    """Return rows in which every token of row i is i."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    rows = np.repeat(np.arange(len(lengths)), lengths).astype(np.int32)
    return Encoded(
        tokens=rows,
        offsets=offsets,
        segment_b=np.array(lengths, np.int32),
        labels=labels,
        pad=0,
        max_length=50,
        dropped=0,
        truncated=0,
        token_labels=rows + 7,
        group=group,
    )


def examples_of(rows: Encoded, count: int, owner: np.ndarray | None = None) -> Examples:
    """Return examples that must not be scored."""

    def unasked(outputs: np.ndarray) -> Any:
        raise AssertionError("training examples are not scored")

    return Examples(rows, count, unasked, unasked, owner)


def row_numbers(examples: Examples) -> list[int]:
    """Return the numbers of the rows, which are their tokens."""
    rows = examples.encoded
    return [int(rows.tokens[start]) for start in rows.offsets[:-1]]


def test_runs_with_equal_names_are_refused():
    with pytest.raises(UserError, match=r"two runs would both be lr-0\.001-seed-0"):
        plan_runs(dataclasses.replace(CONFIG, sweep=SweepConfig(learning_rates=(0.001, 0.00100000001))))


def test_the_grid_of_the_paper_has_every_combination_and_seed():
    plan = plan_runs(dataclasses.replace(CONFIG, sweep=SweepConfig(paper=True), seeds=(4, 9)))
    assert len(plan) == 3 * 2 * 3 * 2 and len({run.name for run in plan}) == len(plan)
    assert {run.config.learning_rate for run in plan} == {5e-5, 3e-5, 2e-5}
    assert [run.seed for run in plan[:4]] == [4, 9, 4, 9]
    for run in plan:
        assert run.config.seeds == (run.seed,) and not run.config.sweep.grid
        assert run.config.output == Path("out") / run.name
        assert run.tried == {name: getattr(run.config, name) for name in ("learning_rate", "batch_size", "epochs")}


def test_a_single_run_is_in_the_output_folder_itself():
    assert [run.config.output for run in plan_runs(CONFIG)] == [Path("out")]
    assert [run.config.output for run in plan_runs(dataclasses.replace(CONFIG, seeds=(1, 2)))] == [
        Path("out/seed-1"),
        Path("out/seed-2"),
    ]


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ({"sweep": {"paper": True, "epochs": (1.0,)}}, "--sweep.paper and --sweep.epochs: give only one"),
        ({"sweep": {"epochs": (2.0, 2.0)}}, "each value once"),
        ({"sweep": {"batch_sizes": (8, 0)}}, "batch_size is 0"),
        ({"sweep": {"learning_rates": (1e-5, 11.0)}}, "learning_rate is 11"),
        ({"train_share": 0.0}, "train_share 0.0 is not above 0"),
        ({"train_share": 0.5, "learning_curve": True}, "Leave out --train-share 0.5"),
    ],
)
def test_invalid_sweeps_are_refused(sweep, message):
    with pytest.raises(UserError, match=message):
        changes = {**sweep, **({"sweep": SweepConfig(**sweep["sweep"])} if "sweep" in sweep else {})}
        dataclasses.replace(CONFIG, **changes)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "mrpc", "several": True}, "--several: for task rows, not mrpc"),
        ({"task": "stsb", "score": True}, "--score: for task rows, not stsb"),
        ({"task": "squad", "pair": "b"}, "--pair b: for task rows, not squad"),
        ({"task": "rows", "choices": ("a", "b")}, "--choices a b: for task choice, not rows"),
        ({"task": "rows", "scores": ("a", "b", "a")}, "--scores a b a: give each column once"),
        ({"task": "choice", "choices": ("a", "a")}, "--choices a a: give each column once"),
        ({"task": "swag", "label": "right"}, "--label right: for task rows and choice, not swag"),
        ({"task": "squad", "dialect": "plain"}, "--dialect plain: for task rows and choice and swag, not squad"),
        ({"task": "mrpc", "dialect": "enclose"}, "--dialect enclose: .* not mrpc"),
        ({"task": "ner", "group": "page"}, "--group page: for task rows and choice, not ner"),
        ({"task": "rows", "overlap": 4}, "--overlap 4: windows need --long-texts mean or max"),
        ({"task": "glue", "class_weights": "balanced"}, "--class-weights balanced: stsb"),
    ],
)
def test_settings_without_effect_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        dataclasses.replace(CONFIG, **settings)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.floats(0.02, 1.0), st.floats(0.02, 1.0))
def test_shares_are_nested_and_stratified(labels, first, second):
    small, large = sorted((first, second))
    rng = np.random.default_rng(len(labels))
    examples = examples_of(encoded(rng.integers(1, 9, len(labels)).tolist(), np.array(labels, np.int32)), len(labels))
    few, many = take_share(examples, small), take_share(examples, large)
    assert set(row_numbers(few)) <= set(row_numbers(many)) and row_numbers(few) == sorted(row_numbers(few))
    assert few.count == len(few.encoded) == max(1, round(small * len(labels)))
    assert few.encoded.labels.tolist() == [labels[row] for row in row_numbers(few)]
    assert np.array_equal(few.encoded.token_labels, few.encoded.tokens + 7)
    for label in set(labels):
        assert abs(few.encoded.labels.tolist().count(label) - small * labels.count(label)) <= len(set(labels))


def test_windows_of_one_example_stay_together():
    owner = np.array([0, 0, 1, 2, 2, 2, 3, 4, 4])
    examples = examples_of(encoded([3, 1, 4, 1, 5, 9, 2, 6, 5], np.arange(9) * 10), 5, owner)
    half = take_share(examples, 0.6)
    rows = row_numbers(half)
    assert half.count == 3 == len(set(owner[rows])) and rows == [i for i in range(9) if owner[i] in set(owner[rows])]
    assert half.encoded.labels.tolist() == [10 * row for row in rows]
    assert half.owner.tolist() == np.unique(owner[rows], return_inverse=True)[1].tolist()


def test_choices_of_one_example_stay_together():
    examples = examples_of(encoded([2, 1] * 9, np.arange(6, dtype=np.int32), group=3), 6)
    half = take_share(examples, 0.5)
    kept = half.encoded.labels.tolist()
    assert len(kept) == 3 and row_numbers(half) == [3 * i + j for i in kept for j in range(3)]


def summary(scores: dict[str, list[float]], baseline: float = 0.4, **more):
    """Return the summary of a sweep over learning rates from the scores by seed of each rate."""
    rates = tuple(float(rate) for rate in scores)
    seeds = tuple(range(len(next(iter(scores.values())))))
    plan = plan_runs(dataclasses.replace(CONFIG, sweep=SweepConfig(learning_rates=rates), seeds=seeds, **more))
    flat = [score for values in scores.values() for score in values]
    return summarise(plan, {run.name: {"f1": s, "main": s} for run, s in zip(plan, flat, strict=True)}, baseline)


def test_the_setting_with_the_best_mean_is_chosen_and_its_best_run_predicts():
    result = summary({"1e-05": [0.5, 0.9], "3e-05": [0.75, 0.8], "5e-05": [0.4, 0.3]})
    assert result.best == "lr-3e-05-seed-1" and result.chosen.tried == {"learning_rate": 3e-5}
    assert result.failed == ["lr-5e-05-seed-0", "lr-5e-05-seed-1"]  # one of them equals the baseline
    written = result.as_dict()
    assert written["mean"]["f1"] == pytest.approx(0.775) and written["settings"][0]["deviation"]["f1"] == pytest.approx(
        np.std([0.5, 0.9], ddof=1)
    )


def test_diverged_runs_are_failed_and_not_in_the_mean():
    plan = plan_runs(dataclasses.replace(CONFIG, sweep=SweepConfig(learning_rates=(1e-5, 1.0)), seeds=(1, 2)))
    result = summarise(plan, {"lr-1e-05-seed-2": {"f1": 0.7, "main": 0.7}}, 0.4)
    assert result.diverged == ["lr-1e-05-seed-1", "lr-1-seed-1", "lr-1-seed-2"] == result.as_dict()["failed"]
    assert result.settings[0].diverged == ["lr-1e-05-seed-1"] and result.lost[0].tried == {"learning_rate": 1.0}
    assert result.best == "lr-1e-05-seed-2" and len(result.settings) == 1 and result.chosen.mean["f1"] == 0.7


def curve(scores: dict[float, list[float]], baseline: float = 0.0, **more):
    """Return the summary of a learning curve from the scores by seed of each share; None for a diverged run."""
    seeds = tuple(range(len(scores[1.0])))
    plan = plan_runs(dataclasses.replace(CONFIG, learning_curve=True, seeds=seeds, **more))
    main_scores = {run.name: scores[run.tried["train_share"]][run.seed] for run in plan}
    rows = {run.name: round(80 * run.tried["train_share"]) for run in plan}
    return summarise(plan, {name: {"main": s} for name, s in main_scores.items() if s is not None}, baseline, rows=rows)


@pytest.mark.parametrize(
    ("half", "full", "message"),
    [
        ([0.70, 0.71, 0.69], [0.75, 0.76, 0.74], "more labels will help"),
        ([0.75, 0.76, 0.74], [0.75, 0.75, 0.76], "will bring little"),
        ([0.60, 0.80, 0.70], [0.65, 0.85, 0.75], "too uncertain to tell"),
        ([0.60], [0.75], "Give several --seeds"),
    ],
)
def test_learning_curve_reports_the_gain_of_the_last_doubling(half, full, message):
    result = curve({0.125: [0.1] * len(half), 0.25: [0.99] * len(half), 0.5: half, 1.0: full})
    verdict = curve_verdict(result)
    assert message in verdict and f"(40 to 80 rows) brought {np.mean(full) - np.mean(half):+.4f}" in verdict
    assert result.best.startswith("share-1-")  # the best on fewer examples is not the model


@pytest.mark.parametrize(
    ("half", "full", "message"),
    [
        ([0.3, 0.7, 0.7], [0.75, 0.76, 0.74], "standard error), and 1 of these 6 runs failed (share-0.5-seed-0)"),
        ([0.7, 0.7, None], [0.75, 0.3, 0.74], "2 of these 6 runs failed (share-0.5-seed-2, share-1-seed-1)"),
        (
            [None, None, None],
            [0.75, 0.76, 0.74],
            "of the examples is unknown, and 3 of these 6 runs failed",
        ),
        ([0.7, 0.7, 0.7], [None, None, None], "of the examples is unknown, and 3 of these 6 runs failed"),
        ([0.3, 0.3, 0.3], [0.3, 0.3, 0.3], "and 6 of these 6 runs failed"),
        ([0.3], [0.75], "brought +0.4500, and 1 of these 2 runs failed"),
    ],
)
def test_learning_curve_with_failed_runs_gives_no_verdict(half, full, message):
    few = [0.3] * len(half)
    verdict = curve_verdict(curve({0.125: few, 0.25: few, 0.5: half, 1.0: full}, baseline=0.3))
    assert message in verdict and verdict.endswith("Try another learning rate or more epochs first")


def test_learning_curve_over_several_rates_uses_the_chosen_one():
    plan = plan_runs(dataclasses.replace(CONFIG, learning_curve=True, sweep=SweepConfig(learning_rates=(1e-4, 1e-3))))
    scores = {run.name: {"main": run.tried["train_share"] * run.tried["learning_rate"]} for run in plan}
    assert "brought +0.0005" in curve_verdict(summarise(plan, scores, 0.0))
    assert curve_verdict(summary({"1e-05": [0.5, 0.9]})) == ""
