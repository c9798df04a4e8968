"""Held-out rows: the same share of each class, whole groups, the same rows for the same seed."""

import collections

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_jax.data.labelled.labelled_rows import read_labelled, split_rows
from bert_jax.data.labelled.rows import Columns, Rows
from bert_jax.data.labelled.splits import choose_held_out, moved_shares, wanted_rows
from bert_jax.errors import UserError

shares = st.floats(0.02, 0.9)
seeds = st.integers(0, 5)


def plain_draw(classes, share, seed):
    """Return the held-out rows of a plain draw from each class in turn."""
    rng = np.random.default_rng(seed)
    held = np.zeros(len(classes), bool)
    for name in sorted(set(classes)):
        rows = [i for i, other in enumerate(classes) if other == name]
        held[rng.permutation(rows)[: wanted_rows(len(rows), share)]] = True
    return held


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=50), shares, seeds)
def test_rows_without_groups_are_a_plain_draw_from_each_class(classes, share, seed):
    assert np.array_equal(choose_held_out(classes, range(len(classes)), share, seed), plain_draw(classes, share, seed))


def test_held_out_rows_of_a_seed_never_change():
    labels = ["a", "b", "a", "c", "a", "b", "a", "a", "b", "c", "a", "b"]
    rows = Rows([""] * 12, None, labels, "rows", list(range(12)))
    assert split_rows(rows, dev_share=0.3, seed=0, stratify=True)[1].lines == [3, 4, 5, 6]
    assert split_rows(rows, dev_share=0.3, seed=0, stratify=False)[1].lines == [2, 4, 7, 9]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), min_size=1, max_size=60), shares, seeds)
def test_groups_are_not_split_and_every_class_keeps_training_rows(rows, share, seed):
    classes, groups = [name for name, _ in rows], [group for _, group in rows]
    held = choose_held_out(classes, groups, share, seed)
    assert np.array_equal(held, choose_held_out(classes, groups, share, seed))
    sides = collections.defaultdict(set)
    for group, side in zip(groups, held, strict=True):
        sides[group].add(bool(side))
    assert all(len(group_sides) == 1 for group_sides in sides.values())
    kept = [name for name, side in zip(classes, held, strict=True) if not side]
    assert set(kept) == set(classes)
    for name in set(classes) - {name for name, side in zip(classes, held, strict=True) if side}:
        for group in {group for other, group in rows if other == name}:  # each has the last training rows of a class
            left = {
                kept_name
                for kept_name, kept_group, side in zip(classes, groups, held, strict=True)
                if kept_group != group and not side
            }
            assert left < set(classes)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 9)), min_size=2, max_size=25), shares, seeds)
def test_share_of_a_class_is_met_to_within_one_group(sizes, share, seed):
    classes = [name for name, size in sizes for _ in range(size)]
    groups = [number for number, (_, size) in enumerate(sizes) for _ in range(size)]
    held = choose_held_out(classes, groups, share, seed)
    for name in set(classes):
        group_sizes = [size for other, size in sizes if other == name]
        count = sum(bool(side) for other, side in zip(classes, held, strict=True) if other == name)
        if len(group_sizes) == 1:
            assert count == 0
        else:
            rows = sum(group_sizes)
            assert 0 < count < rows and abs(count - wanted_rows(rows, share)) < max(group_sizes)


def test_small_groups_are_held_out_where_a_large_one_would_exceed_the_share():
    groups = ["large"] * 50 + [f"small {i // 2}" for i in range(50)]
    for seed in range(20):
        assert choose_held_out(["x"] * 100, groups, 0.1, seed).sum() == 10


def test_classes_far_from_their_share_get_a_note():
    assert moved_shares(["a"] * 90 + ["b"] * 45, ["a"] * 10 + ["b"] * 5, 0.1) == ""
    note = moved_shares(["a"] * 90 + ["b"] * 30 + ["c"] * 4, ["a"] * 10 + ["b"] * 20, 0.1)
    assert note == "whole groups do not fit the share 0.1: held out are 20 of 50 of class 'b', 0 of 4 of class 'c'"


def customer_table(rows):
    return "text,label,customer\n" + "".join(f"t{i},{label},{group}\n" for i, (label, group) in enumerate(rows))


def read(folder, rows, **more):
    path = folder / "a.csv"
    path.write_text(customer_table(rows))
    return read_labelled(path, Columns(group="customer"), **more)


def test_rows_of_one_group_are_held_out_together(tmp_path):
    rows = [("ab"[i % 2], f"c{i % 30}") for i in range(300)]
    data = read(tmp_path, rows, seed=3)
    assert len(data.dev) == 30 and len(set(data.dev.groups)) == 3
    assert not set(data.dev.groups) & set(data.train.groups)
    assert f"{tmp_path / 'a.csv'}: no dev file, 30 of 300 rows, 3 of 30 groups (customer) are held out (seed 3)" in (
        data.notes
    )
    assert any("held out are 20 of 150 of class 'a', 10 of 150 of class 'b'" in note for note in data.notes)
    assert read(tmp_path, rows, seed=3).dev.lines == data.dev.lines != read(tmp_path, rows, seed=4).dev.lines
    fitting = read(tmp_path, [("ab"[i % 2], f"c{i // 10}") for i in range(300)])
    assert fitting.dev.labels.count(0) == fitting.dev.labels.count(1) == 15 and len(fitting.notes) == 1


def test_groups_in_both_files_get_a_note(tmp_path):
    (tmp_path / "train.csv").write_text(customer_table([("ab"[i % 2], f"c{i}") for i in range(200)]))
    (tmp_path / "dev.csv").write_text("text,label,customer\nu,a,new\nv,b,c7\nw,a,c7\nx,b,c9\n")
    notes = read_labelled(tmp_path, Columns(group="customer")).notes
    assert len(notes) == 1 and "2 of 3 groups are in" in notes[0]
    assert "as 'c7' of line 3 (row 2): 3 of 4 rows leak" in notes[0]
    assert read_labelled(tmp_path, Columns()).notes == []


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", "x"), ("b", " ")], r"a\.csv line 3 \(row 2\): the group \('customer'\) is empty"),
        ([("a", "x"), ("b", "x")], r"a\.csv line 2 \(row 1\): all 2 rows are of the one group 'x'"),
        ([("a", "x"), ("b", "y")], "no group can be held out: each has the last rows of a class"),
    ],
)
def test_groups_that_leave_nothing_to_hold_out_are_refused(tmp_path, rows, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, rows)


def test_missing_group_is_an_error_with_its_line(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a", "label": "x", "customer": 7}\n{"text": "a", "label": "x"}\n')
    with pytest.raises(UserError, match=r"a\.jsonl line 2: no column 'customer'"):
        read_labelled(tmp_path / "a.jsonl", Columns(group="customer"))
    (tmp_path / "a.jsonl").write_text('{"text": "a", "label": "x", "customer": null}\n')
    with pytest.raises(UserError, match=r"a\.jsonl line 1: the group \('customer'\) is empty"):
        read_labelled(tmp_path / "a.jsonl", Columns(group="customer"))
