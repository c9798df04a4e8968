"""Rows that are in memory: lists, data frames and tables of Arrow, at addresses that files are read from.

They become Parquet in the memory file system of fsspec for as long as a verb reads them, so whatever reads a file reads
them too: columns by name, a line of an error for a row, what is held out.
"""

import contextlib
import itertools
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bert_jax.errors import UserError, first_line, listed, shown
from bert_jax.text.word_cache import replace_surrogates

PROTOCOL = "memory"
TRAIN = "train"  # of a mapping of tables, the one to train on
_numbers = itertools.count(1)


def is_in_memory(data: Any) -> bool:
    """Return whether `data` holds rows: it is no path, no address, and no list of them."""
    if isinstance(data, list | tuple) and data and all(isinstance(one, str | os.PathLike) for one in data):
        return False
    return data is not None and not isinstance(data, str | os.PathLike)


def is_address(path: Path) -> bool:
    """Return whether a path is the address of rows in memory."""
    return str(path).startswith(f"{PROTOCOL}:")


@contextlib.contextmanager
def at_address(data: Any, name: str) -> Iterator[Any]:
    """Yield an address in memory for the rows of `data` while they are there; a path is yielded as it is.

    data  a data frame (pandas, polars), a table of Arrow, a Hugging Face data set, a mapping of columns, a list of
          mappings; or a mapping of such tables with "train" among its names, to which a "dev" may belong
    """
    if not is_in_memory(data):
        yield data
        return
    import fsspec
    import pyarrow.parquet

    system = fsspec.filesystem(PROTOCOL)
    number = next(_numbers)
    if isinstance(data, Mapping) and _is_table(data.get(TRAIN)):
        root = f"{name}-{number}"
        tables = {f"{root}/{split}.parquet": to_arrow(table, f"{name} {split!r}") for split, table in data.items()}
    else:
        root = f"{name}-{number}.parquet"
        tables = {root: to_arrow(data, name)}
    try:
        for path, table in tables.items():
            with system.open(f"/{path}", "wb") as file:
                pyarrow.parquet.write_table(table, file)
        yield f"{PROTOCOL}://{root}"
    finally:
        with contextlib.suppress(FileNotFoundError):
            system.rm(f"/{root}", recursive=True)


@contextlib.contextmanager
def in_folder(data: Any, name: str) -> Iterator[Any]:
    """Yield the path of a file with the rows of `data`, for readers in other processes; a path is yielded as it is."""
    if not is_in_memory(data):
        yield data
        return
    import pyarrow.parquet

    with tempfile.TemporaryDirectory(prefix="bert-jax-") as folder:
        path = Path(folder, f"{name}.parquet")
        pyarrow.parquet.write_table(to_arrow(data, name), path)
        yield str(path)


def rows_of_lists(lists: Mapping[str, tuple[str, Any]]) -> dict[str, list[Any]]:
    """Return lists of equal length as columns: `lists` has the column of each argument and its values.

    Raises UserError where one has fewer values than another, or is a single text.
    """
    columns = {column: as_list(values, argument) for argument, (column, values) in lists.items() if values is not None}
    sizes = {argument: len(columns[column]) for argument, (column, values) in lists.items() if values is not None}
    if len(set(sizes.values())) > 1:
        raise UserError(f"{' but '.join(f'{size} {argument}' for argument, size in sizes.items())}")
    if len(columns) < len(sizes):
        raise UserError(
            f"{listed(sizes)} cannot all be the column {next(iter(columns))!r}. Give each a name of its own"
        )
    for argument in sizes.keys() & {"texts", "pairs"}:
        for number, text in enumerate(columns[lists[argument][0]]):
            if not isinstance(text, str):
                raise UserError(f"{argument}[{number}] is {shown(text)} of type {type(text).__name__}, not a text")
    return columns


def as_list(values: Any, argument: str) -> list[Any]:
    """Return a list, a column of a data frame or an array as a list. Raises UserError for a single value."""
    if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__iter__"):
        raise UserError(f"{argument} is {shown(values)}; a list is expected, with an entry for each row")
    for method in ("to_pylist", "tolist", "to_list"):
        if hasattr(values, method):
            return list(getattr(values, method)())
    return list(values)


def to_arrow(data: Any, name: str) -> Any:
    """Return a table of Arrow. Raises UserError for what is no table, and for columns of unlike types or lengths."""
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
        raise UserError(f"{name}: no table of columns ({first_line(error)})") from None
    raise UserError(
        f"{name} is of type {type(data).__name__}; a path, a data frame, a mapping of columns or a list of mappings is "
        "expected. Lists are given as texts= and labels="
    )


def _of_columns(columns: Mapping[Any, Any]) -> Any:
    import pyarrow

    lists = {str(name): as_list(values, f"column {name!r}") for name, values in columns.items()}
    sizes = {name: len(values) for name, values in lists.items()}
    if len(set(sizes.values())) > 1:
        raise UserError(f"columns of unlike lengths: {', '.join(f'{name} {size}' for name, size in sizes.items())}")
    arrays = {}
    for name, values in lists.items():
        try:
            arrays[name] = pyarrow.array(values, from_pandas=True)
        except (pyarrow.ArrowException, TypeError, ValueError, OverflowError):  # of unlike types, or of none of Arrow's
            arrays[name] = pyarrow.array([None if _is_missing(value) else _spelled(value) for value in values])
    return pyarrow.table(arrays)


def _of_frame(frame: Any) -> Any:
    """Return a data frame of pandas as a table. A column of unlike types becomes texts, as in a CSV file."""
    import pyarrow

    try:
        return pyarrow.Table.from_pandas(frame, preserve_index=False)
    except pyarrow.ArrowException:
        return _of_columns({name: frame[name] for name in frame.columns})


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def _spelled(value: Any) -> str:
    """Return a value as text, with U+FFFD for half a character, which Arrow does not hold."""
    return replace_surrogates(str(value))


def _is_table(data: Any) -> bool:
    """Return whether `data` has rows and columns."""
    if isinstance(data, Mapping):
        return True
    if isinstance(data, list | tuple):
        return bool(data) and isinstance(data[0], Mapping)
    has_names = hasattr(data, "columns") or hasattr(data, "column_names")
    return has_names and len(getattr(data, "shape", ())) == 2
