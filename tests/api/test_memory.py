"""Rows in memory: what is read of lists, data frames and tables, and what is refused."""

from pathlib import Path

import fsspec
import numpy as np
import pytest

from bert_jax.api.in_memory_rows import at_address, in_folder, rows_of_lists
from bert_jax.data.labelled.row_files import SUFFIXES
from bert_jax.data.labelled.rows import Columns, read_rows
from bert_jax.data.labelled.split_files import find_split_files
from bert_jax.errors import UserError


class Shaped:
    """Stand-in for a data frame of polars or a data set of Hugging Face."""

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
def test_tables_of_any_kind_are_read_as_files_are(data, labels):
    for place in (at_address, in_folder):
        with place(data, "data") as address:
            rows = read_rows(Path(address), Columns())
            assert (rows.texts, rows.labels, rows.lines) == (["a", "b"], labels, [1, 2])
    assert not fsspec.filesystem("memory").find("/")


def test_data_frames_keep_types_and_lose_their_index():
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


def test_splits_are_files_of_a_folder():
    part = {"text": ["a"], "label": ["x"]}
    with at_address({"train": part, "dev": part, "test": part}, "data") as address:
        train, dev = find_split_files(Path(address), SUFFIXES)
        assert (train.name, dev.name) == ("train.parquet", "dev.parquet")
        assert read_rows(dev, Columns()).texts == ["a"]


def test_paths_are_left_alone():
    for path in ("rows.csv", Path("rows.csv"), ["a.txt", Path("b.txt")], "tfds:imdb_reviews"):
        with at_address(path, "data") as given:
            assert given is path


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"text": ["a"], "label": ["x", "y"]}, "columns of unlike lengths: text 1, label 2"),
        ({"text": "ab", "label": ["x", "y"]}, "column 'text' is 'ab'; a list is expected"),
        ([1, 2], "data is of type list; a path, a data frame"),
        (np.zeros((2, 2)), "data is of type ndarray"),
        ({1, 2}, "data is of type set"),
        (3, "data is of type int"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(data, problem):
    with pytest.raises(UserError, match=problem) as caught, at_address(data, "data"):
        pass
    assert "\n" not in str(caught.value)


def test_lists_have_one_length_and_texts_are_texts():
    asked = {"texts": ("body", np.array(["a", "b"])), "labels": ("label", (1, 2)), "pairs": ("pair", None)}
    assert rows_of_lists(asked) == {"body": ["a", "b"], "label": [1, 2]}
    for lists, problem in (
        ({"texts": ("text", ["a"]), "labels": ("label", [1, 2])}, "1 texts but 2 labels"),
        ({"texts": ("text", "abc")}, "texts is 'abc'; a list is expected"),
        ({"texts": ("text", ["a", None])}, r"texts\[1\] is None of type NoneType"),
        ({"texts": ("same", ["a"]), "labels": ("same", [1])}, "cannot all be the column 'same'"),
    ):
        with pytest.raises(UserError, match=problem):
            rows_of_lists(lists)
