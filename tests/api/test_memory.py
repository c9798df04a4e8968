"""Rows in memory: lists, data frames and tables are read; other values are refused."""

from pathlib import Path

import fsspec
import numpy as np
import pytest
from foreign import write_tiny_bert

import bert_jax
from bert_jax.api.in_memory_rows import at_address, in_folder, rows_of_lists
from bert_jax.data.labelled.row_files import ROW_SUFFIXES
from bert_jax.data.labelled.rows import Columns, read_rows
from bert_jax.data.labelled.split_files import find_split_files
from bert_jax.errors import UserError


class Shaped:
    """A stand-in for a polars data frame or a Hugging Face data set."""

    shape, column_names = (2, 2), ["text", "label"]

    def to_arrow(self):
        import pyarrow

        return pyarrow.table({"text": ["a", "b"], "label": [7, 8]})


@pytest.mark.parametrize(
    ("data", "labels"),
    [
        ({"text": ["a", "b"], "label": ["x", "y"]}, ["x", "y"]),
        ({"text": np.array(["a", "b"]), "label": np.array([1, 2])}, ["1", "2"]),
        ([{"text": "a", "label": True}, {"label": False, "more": 1, "text": "b"}], ["true", "false"]),
        (Shaped(), ["7", "8"]),
        (Shaped().to_arrow(), ["7", "8"]),
    ],
)
def test_tables_of_any_kind_are_read_like_files(data, labels):
    for place in (at_address, in_folder):
        with place(data, "data") as address:
            rows = read_rows(Path(address), Columns())
            assert (rows.texts, rows.labels, rows.lines) == (["a", "b"], labels, [1, 2])
    assert not fsspec.filesystem("memory").find("/")


def test_data_frames_keep_their_types_but_not_their_index():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": ["a", "b"], "label": pandas.Categorical(["x", "y"])}, index=[5, 6])
    with at_address(frame, "data") as address:
        assert read_rows(Path(address), Columns()).labels == ["x", "y"]
    mixed = frame.assign(label=["x", 3], other=[{1}, "a\ud800"])
    with at_address(mixed, "data") as address:
        assert read_rows(Path(address), Columns("other")).texts == ["{1}", "a\ufffd"]
        assert read_rows(Path(address), Columns()).labels == ["x", "3"]
    holed = frame.assign(label=["x", None])
    with at_address(holed, "data") as address, pytest.raises(UserError, match=r"row 2: the label .* is empty"):
        read_rows(Path(address), Columns())


def test_splits_are_read_like_a_folder_of_files():
    part = {"text": ["a"], "label": ["x"]}
    with at_address({"train": part, "dev": part, "test": part}, "data") as address:
        train, dev = find_split_files(Path(address), ROW_SUFFIXES)
        assert (train.name, dev.name) == ("train.parquet", "dev.parquet")
        assert read_rows(dev, Columns()).texts == ["a"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"data": {"text": [], "label": []}}, "data: no rows"),
        ({"data": {"train": {"text": ["a", "b"], "label": ["x", "y"]}, "dev": {"text": []}}}, "data['dev']: no "),
        ({"texts": [], "labels": []}, "texts: no rows"),
        ({"data": {"text": ["a", "b"], "label": ["x", None]}}, "data row 2: the label ('label') is empty"),
        ({"data": {"train": {"text": ["a"], "label": [""]}}}, "data['train'] row 1: the label"),
    ],
)
def test_errors_about_rows_name_the_argument_and_not_its_address(arguments, problem, tmp_path):
    write_tiny_bert(tmp_path / "hf", "pretrain")
    with pytest.raises(UserError) as error:
        bert_jax.finetune(from_=tmp_path / "hf", output=tmp_path / "run", max_length=17, **arguments)
    assert str(error.value).startswith(problem) and "memory:" not in str(error.value)


def test_errors_about_rows_for_other_processes_name_the_argument():
    with pytest.raises(UserError, match=r"^input: no texts"), in_folder({"text": []}, "input") as path:
        raise UserError(f"{path}: no texts")


def test_paths_are_yielded_unchanged():
    for path in ("rows.csv", Path("rows.csv"), ["a.txt", Path("b.txt")], "tfds:imdb_reviews"):
        with at_address(path, "data") as address:
            assert address is path


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"text": ["a"], "label": ["x", "y"]}, "the columns differ in length: text 1, label 2"),
        ({"text": "ab", "label": ["x", "y"]}, "column 'text' is 'ab'; a list with one entry per row is expected"),
        ([1, 2], "data is of type list; a path, a data frame"),
        (np.zeros((2, 2)), "data is of type ndarray"),
        ({1, 2}, "data is of type set"),
        (3, "data is of type int"),
    ],
)
def test_other_values_than_tables_are_refused_in_one_line(data, problem):
    with pytest.raises(UserError, match=problem) as caught, at_address(data, "data"):
        pass
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("kind", "file"), [("token", "dev.conll"), ("span", "SQuAD's dev.json")])
def test_evaluate_names_the_file_that_a_token_or_span_model_needs(kind, file, tmp_path):
    write_tiny_bert(tmp_path / "hf", kind, ("O", "B-PER") if kind == "token" else None)
    with pytest.raises(UserError, match=f"has a {kind} head: score it on a file of its format, such as {file}"):
        bert_jax.evaluate(model=tmp_path / "hf", data={"text": ["word1"], "label": ["O"]})


def test_lists_must_have_equal_length_and_hold_texts():
    lists = {"texts": ("body", np.array(["a", "b"])), "labels": ("label", (1, 2)), "pairs": ("pair", None)}
    assert rows_of_lists(lists) == {"body": ["a", "b"], "label": [1, 2]}
    for lists, problem in (
        ({"texts": ("text", ["a"]), "labels": ("label", [1, 2])}, "1 texts but 2 labels"),
        ({"texts": ("text", "abc")}, "texts is 'abc'; a list with one entry per row is expected"),
        ({"texts": ("text", ["a", None])}, r"texts\[1\] is None of type NoneType"),
        ({"texts": ("same", ["a"]), "labels": ("same", [1])}, "cannot all be the column 'same'"),
    ):
        with pytest.raises(UserError, match=problem):
            rows_of_lists(lists)
