"""Rows in memory (lists, data frames, Arrow tables) at addresses that can be read as files.

While a verb runs, they are Parquet files in fsspec's memory file system. So everything that works with files works with
them: columns by name, row numbers in error messages, held-out rows.
"""

import contextlib
import itertools
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bert_jax.errors import UserError, first_line, listed, shown
from bert_jax.text.word_cache import replace_surrogates

PROTOCOL = "memory"
TRAIN_TABLE = "train"  # key of the training rows in a mapping of tables
_numbers = itertools.count(1)


def is_in_memory(data: Any) -> bool:
    """Return whether `data` holds rows, as opposed to a path, an address, or a list of those."""
    if isinstance(data, list | tuple) and data and all(isinstance(item, str | os.PathLike) for item in data):
        return False
    return data is not None and not isinstance(data, str | os.PathLike)


def is_address(path: Path) -> bool:
    """Return whether a path is the address of rows in memory."""
    return str(path).startswith(f"{PROTOCOL}:")


@contextlib.contextmanager
def at_address(data: Any, name: str) -> Iterator[Any]:
    """Yield an address in memory that holds the rows of `data` within the block. A path is yielded unchanged.

    data  a data frame (pandas, polars), an Arrow table, a Hugging Face data set, a mapping of columns, a list of
          mappings; or a mapping of such tables with the key "train" and, optionally, "dev"
    name  the argument that `data` was passed as; a UserError of the block names it in place of the address
    """
    if not is_in_memory(data):
        yield data
        return
    import fsspec
    import pyarrow.parquet

    system = fsspec.filesystem(PROTOCOL)
    number = next(_numbers)
    if isinstance(data, Mapping) and _is_table(data.get(TRAIN_TABLE)):
        root = f"{name}-{number}"
        tables = {f"{root}/{split}.parquet": to_arrow(table, _table_name(name, split)) for split, table in data.items()}
    else:
        root = f"{name}-{number}.parquet"
        tables = {root: to_arrow(data, name)}
    try:
        for path, table in tables.items():
            with system.open(f"/{path}", "wb") as file:
                pyarrow.parquet.write_table(table, file)
        with _errors_that_name(name, rf"{PROTOCOL}:/+{re.escape(root)}(?:/(\w+)\.parquet)?"):
            yield f"{PROTOCOL}://{root}"
    finally:
        with contextlib.suppress(FileNotFoundError):
            system.rm(f"/{root}", recursive=True)


@contextlib.contextmanager
def in_folder(data: Any, name: str) -> Iterator[Any]:
    """Yield the path of a temporary file with the rows of `data`, for other processes. A path is yielded unchanged."""
    if not is_in_memory(data):
        yield data
        return
    import pyarrow.parquet

    with tempfile.TemporaryDirectory(prefix="bert-jax-") as folder:
        path = Path(folder, f"{name}.parquet")
        pyarrow.parquet.write_table(to_arrow(data, name), path)
        with _errors_that_name(name, re.escape(str(path))):
            yield str(path)


@contextlib.contextmanager
def _errors_that_name(argument: str, address: str) -> Iterator[None]:
    """Replace the `address`, a pattern whose group is a split, with the argument in a UserError of the block."""
    try:
        yield
    except UserError as error:
        error.args = (re.sub(address, lambda match: _table_name(argument, *match.groups()), str(error)),)
        raise


def _table_name(argument: str, split: Any = None) -> str:
    """Return the name of a table in messages: data, or data['dev'] where the argument maps splits to tables."""
    return argument if split is None else f"{argument}[{split!r}]"


def rows_of_lists(lists: Mapping[str, tuple[str, Any]]) -> dict[str, list[Any]]:
    """Return the columns of a table from lists of equal length: `lists` maps an argument to its column and values.

    Raises UserError if the lengths differ, or if an argument is a single text.
    """
    columns = {column: as_list(values, argument) for argument, (column, values) in lists.items() if values is not None}
    sizes = {argument: len(columns[column]) for argument, (column, values) in lists.items() if values is not None}
    if len(set(sizes.values())) > 1:
        raise UserError(f"{' but '.join(f'{size} {argument}' for argument, size in sizes.items())}")
    if len(columns) < len(sizes):
        raise UserError(f"{listed(sizes)} cannot all be the column {next(iter(columns))!r}. Give each a different name")
    for argument in sizes.keys() & {"texts", "pairs"}:
        for number, text in enumerate(columns[lists[argument][0]]):
            if not isinstance(text, str):
                raise UserError(f"{argument}[{number}] is {shown(text)} of type {type(text).__name__}, not a text")
    return columns


def as_list(values: Any, argument: str) -> list[Any]:
    """Return a list, a data frame's column or an array as a list. Raises UserError for a single value."""
    if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__iter__"):
        raise UserError(f"{argument} is {shown(values)}; a list with one entry per row is expected")
    for method in ("to_pylist", "tolist", "to_list"):
        if hasattr(values, method):
            return list(getattr(values, method)())
    return list(values)


def to_arrow(data: Any, name: str) -> Any:
    """Return `data` as an Arrow table. Raises UserError if it is not a table, or its columns differ in length."""
    import pyarrow

    try:
        if isinstance(data, Mapping):
            return _of_columns(data)
        if isinstance(data, Sequence) and data and all(isinstance(row, Mapping) for row in data):
            names = dict.fromkeys(column for row in data for column in row)
            return _of_columns({column: [row.get(column) for row in data] for column in names})
        if hasattr(data, "iloc") and _is_table(data):
            return _of_frame(data)
        if _is_table(data):
            if hasattr(data, "to_arrow"):
                return data.to_arrow()
            if hasattr(data, "to_pandas") and not hasattr(data, "__arrow_c_stream__"):
                return pyarrow.Table.from_pandas(data.to_pandas(), preserve_index=False)
            return pyarrow.table(data)
    except (pyarrow.ArrowException, TypeError, ValueError) as error:
        raise UserError(f"{name} is not a table of columns ({first_line(error)})") from None
    raise UserError(
        f"{name} is of type {type(data).__name__}; a path, a data frame, a mapping of columns or a list of mappings is "
        "expected. Pass lists as texts= and labels="
    )


def _of_columns(columns: Mapping[Any, Any]) -> Any:
    import pyarrow

    lists = {str(name): as_list(values, f"column {name!r}") for name, values in columns.items()}
    sizes = {name: len(values) for name, values in lists.items()}
    if len(set(sizes.values())) > 1:
        raise UserError(f"the columns differ in length: {', '.join(f'{name} {size}' for name, size in sizes.items())}")
    arrays = {}
    for name, values in lists.items():
        try:
            arrays[name] = pyarrow.array(values, from_pandas=True)
        except (pyarrow.ArrowException, TypeError, ValueError, OverflowError):  # mixed types, or none that Arrow has
            arrays[name] = pyarrow.array([None if _is_missing(value) else _as_text(value) for value in values])
    return pyarrow.table(arrays)


def _of_frame(frame: Any) -> Any:
    """Return a pandas data frame as a table. A column of mixed types becomes texts, as in a CSV file."""
    import pyarrow

    try:
        return pyarrow.Table.from_pandas(frame, preserve_index=False)
    except pyarrow.ArrowException:
        return _of_columns({name: frame[name] for name in frame.columns})


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def _as_text(value: Any) -> str:
    """Return a value as text, with U+FFFD for lone surrogates, which Arrow cannot store."""
    return replace_surrogates(str(value))


def _is_table(data: Any) -> bool:
    """Return whether `data` has rows and columns."""
    if isinstance(data, Mapping):
        return True
    if isinstance(data, list | tuple):
        return bool(data) and isinstance(data[0], Mapping)
    has_names = hasattr(data, "columns") or hasattr(data, "column_names")
    return has_names and len(getattr(data, "shape", ())) == 2
