"""Several runs of one command: their plan, the examples they share, and what is said of them together."""

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
    """Row i holds its own number as every token."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    rows = np.repeat(np.arange(len(lengths)), lengths).astype(np.int32)
    return Encoded(rows, offsets, np.array(lengths, np.int32), labels, 0, 50, 0, 0, token_labels=rows + 7, group=group)


def examples_of(rows: Encoded, count: int, owner: np.ndarray | None = None) -> Examples:
    """Examples that nobody scores."""

    def unasked(outputs: np.ndarray) -> Any:
        raise AssertionError("training examples are not scored")

    return Examples(rows, count, unasked, unasked, owner)


def shown(examples: Examples) -> list[int]:
    """Which rows are there, by their tokens."""
    rows = examples.encoded
    return [int(rows.tokens[start]) for start in rows.offsets[:-1]]


def test_runs_of_one_name_are_refused():
    with pytest.raises(UserError, match=r"two runs would both be lr-0\.001-seed-0"):
        plan_runs(dataclasses.replace(CONFIG, sweep=SweepConfig(learning_rates=(0.001, 0.00100000001))))


def test_the_papers_grid_is_every_combination_with_every_seed():
    plan = plan_runs(dataclasses.replace(CONFIG, sweep=SweepConfig(paper=True), seeds=(4, 9)))
    assert len(plan) == 3 * 2 * 3 * 2 and len({run.name for run in plan}) == len(plan)
    assert {run.config.learning_rate for run in plan} == {5e-5, 3e-5, 2e-5}
    assert [run.seed for run in plan[:4]] == [4, 9, 4, 9]
    for run in plan:
        assert run.config.seeds == (run.seed,) and not run.config.sweep.grid
        assert run.config.output == Path("out") / run.name
        assert run.tried == {name: getattr(run.config, name) for name in ("learning_rate", "batch_size", "epochs")}


def test_one_run_lies_in_the_folder_itself():
    assert [run.config.output for run in plan_runs(CONFIG)] == [Path("out")]
    assert [run.config.output for run in plan_runs(dataclasses.replace(CONFIG, seeds=(1, 2)))] == [
        Path("out/seed-1"),
        Path("out/seed-2"),
    ]


@pytest.mark.parametrize(
    ("sweep", "says"),
    [
        ({"sweep": {"paper": True, "epochs": (1.0,)}}, "--sweep.paper and --sweep.epochs: give only one"),
        ({"sweep": {"epochs": (2.0, 2.0)}}, "each value once"),
        ({"sweep": {"batch_sizes": (8, 0)}}, "batch_size is 0"),
        ({"sweep": {"learning_rates": (1e-5, 11.0)}}, "learning_rate is 11"),
        ({"train_share": 0.0}, "train_share 0.0 is not above 0"),
        ({"train_share": 0.5, "learning_curve": True}, "Leave out --train-share 0.5"),
    ],
)
def test_what_cannot_be_tried_is_refused_first(sweep, says):
    with pytest.raises(UserError, match=says):
        given = {**sweep, **({"sweep": SweepConfig(**sweep["sweep"])} if "sweep" in sweep else {})}
        dataclasses.replace(CONFIG, **given)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"task": "mrpc", "several": True}, "--several: for task rows, this is mrpc"),
        ({"task": "stsb", "score": True}, "--score: for task rows, this is stsb"),
        ({"task": "squad", "pair": "b"}, "--pair b: for task rows, this is squad"),
        ({"task": "rows", "choices": ("a", "b")}, "--choices a b: for task choice, this is rows"),
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
def test_a_setting_that_would_be_passed_over_is_refused(settings, says):
    with pytest.raises(UserError, match=says):
        dataclasses.replace(CONFIG, **settings)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.floats(0.02, 1.0), st.floats(0.02, 1.0))
def test_shares_hold_each_other_and_every_class_in_its_share(labels, one, other):
    small, large = sorted((one, other))
    rng = np.random.default_rng(len(labels))
    examples = examples_of(encoded(rng.integers(1, 9, len(labels)).tolist(), np.array(labels, np.int32)), len(labels))
    few, many = take_share(examples, small), take_share(examples, large)
    assert set(shown(few)) <= set(shown(many)) and shown(few) == sorted(shown(few))
    assert few.count == len(few.encoded) == max(1, round(small * len(labels)))
    assert few.encoded.labels.tolist() == [labels[row] for row in shown(few)]
    assert np.array_equal(few.encoded.token_labels, few.encoded.tokens + 7)
    for label in set(labels):
        assert abs(few.encoded.labels.tolist().count(label) - small * labels.count(label)) <= len(set(labels))


def test_windows_of_one_example_stay_together():
    owner = np.array([0, 0, 1, 2, 2, 2, 3, 4, 4])
    examples = examples_of(encoded([3, 1, 4, 1, 5, 9, 2, 6, 5], np.arange(9) * 10), 5, owner)
    half = take_share(examples, 0.6)
    rows = shown(half)
    assert half.count == 3 == len(set(owner[rows])) and rows == [i for i in range(9) if owner[i] in set(owner[rows])]
    assert half.encoded.labels.tolist() == [10 * row for row in rows]
    assert half.owner.tolist() == np.unique(owner[rows], return_inverse=True)[1].tolist()


def test_choices_of_one_example_stay_together():
    examples = examples_of(encoded([2, 1] * 9, np.arange(6, dtype=np.int32), group=3), 6)
    half = take_share(examples, 0.5)
    kept = half.encoded.labels.tolist()
    assert len(kept) == 3 and shown(half) == [3 * i + j for i in kept for j in range(3)]


def summary(scores: dict[str, list[float]], baseline: float = 0.4, **more):
    """Of a sweep over rates: scores by seed of each rate."""
    rates = tuple(float(rate) for rate in scores)
    seeds = tuple(range(len(next(iter(scores.values())))))
    plan = plan_runs(dataclasses.replace(CONFIG, sweep=SweepConfig(learning_rates=rates), seeds=seeds, **more))
    flat = [score for values in scores.values() for score in values]
    return summarise(plan, {run.name: {"f1": s, "main": s} for run, s in zip(plan, flat, strict=True)}, baseline)


def test_the_setting_is_chosen_by_its_mean_and_its_best_run_answers():
    found = summary({"1e-05": [0.5, 0.9], "3e-05": [0.75, 0.8], "5e-05": [0.4, 0.3]})
    assert found.best == "lr-3e-05-seed-1" and found.chosen.tried == {"learning_rate": 3e-5}
    assert found.failed == ["lr-5e-05-seed-0", "lr-5e-05-seed-1"]  # one of them equals the baseline
    written = found.as_dict()
    assert written["mean"]["f1"] == pytest.approx(0.775) and written["settings"][0]["deviation"]["f1"] == pytest.approx(
        np.std([0.5, 0.9], ddof=1)
    )


def test_runs_that_diverged_count_as_failed_and_in_no_mean():
    plan = plan_runs(dataclasses.replace(CONFIG, sweep=SweepConfig(learning_rates=(1e-5, 1.0)), seeds=(1, 2)))
    found = summarise(plan, {"lr-1e-05-seed-2": {"f1": 0.7, "main": 0.7}}, 0.4)
    assert found.diverged == ["lr-1e-05-seed-1", "lr-1-seed-1", "lr-1-seed-2"] == found.as_dict()["failed"]
    assert found.settings[0].diverged == ["lr-1e-05-seed-1"] and found.lost[0].tried == {"learning_rate": 1.0}
    assert found.best == "lr-1e-05-seed-2" and len(found.settings) == 1 and found.chosen.mean["f1"] == 0.7


def curve(scores: dict[float, list[float]], baseline: float = 0.0, **more):
    """Return the summary of a learning curve from the scores by seed of each share, None for a run that diverged."""
    seeds = tuple(range(len(scores[1.0])))
    plan = plan_runs(dataclasses.replace(CONFIG, learning_curve=True, seeds=seeds, **more))
    found = {run.name: scores[run.tried["train_share"]][run.seed] for run in plan}
    rows = {run.name: round(80 * run.tried["train_share"]) for run in plan}
    return summarise(plan, {name: {"main": s} for name, s in found.items() if s is not None}, baseline, rows=rows)


@pytest.mark.parametrize(
    ("half", "whole", "says"),
    [
        ([0.70, 0.71, 0.69], [0.75, 0.76, 0.74], "more labels will help"),
        ([0.75, 0.76, 0.74], [0.75, 0.75, 0.76], "will bring little"),
        ([0.60, 0.80, 0.70], [0.65, 0.85, 0.75], "too uncertain to tell"),
        ([0.60], [0.75], "Give several --seeds"),
    ],
)
def test_the_learning_curve_says_what_the_last_doubling_brought(half, whole, says):
    found = curve({0.125: [0.1] * len(half), 0.25: [0.99] * len(half), 0.5: half, 1.0: whole})
    told = curve_verdict(found)
    assert says in told and f"(40 to 80 rows) brought {np.mean(whole) - np.mean(half):+.4f}" in told
    assert found.best.startswith("share-1-")  # the best on fewer examples is not the model


@pytest.mark.parametrize(
    ("half", "whole", "says"),
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
def test_of_runs_that_failed_the_curve_says_no_more_than_that(half, whole, says):
    few = [0.3] * len(half)
    told = curve_verdict(curve({0.125: few, 0.25: few, 0.5: half, 1.0: whole}, baseline=0.3))
    assert says in told and told.endswith("Try another learning rate or more epochs first")


def test_a_curve_over_several_rates_is_that_of_the_chosen_one():
    plan = plan_runs(dataclasses.replace(CONFIG, learning_curve=True, sweep=SweepConfig(learning_rates=(1e-4, 1e-3))))
    scores = {run.name: {"main": run.tried["train_share"] * run.tried["learning_rate"]} for run in plan}
    assert "brought +0.0005" in curve_verdict(summarise(plan, scores, 0.0))
    assert curve_verdict(summary({"1e-05": [0.5, 0.9]})) == ""
