"""Read one column of a Parquet file, some rows at a time."""

import functools
from collections.abc import Iterator
from typing import Any

from bert_jax.data.formats.parquet import opened_parquet
from bert_jax.errors import UserError
from data_prep.corpus.parts import Piece
from data_prep.corpus.reader_contract import CorpusDocument, CorpusOptions, NotedCounter, row_text

PARQUET_BATCH_ROWS = 128


def rows_and_text_bytes(path: str, options: CorpusOptions) -> tuple[int, int]:
    """Return the number of rows and the uncompressed size of the text column, from the footer.

    Raises UserError if `options.field` is not a column of text.
    """
    with opened_parquet(path) as file:
        _check_column(path, file, options)
        groups = [file.metadata.row_group(index) for index in range(file.metadata.num_row_groups)]
        columns = [group.column(index) for group in groups for index in range(group.num_columns)]
        text = [column.total_uncompressed_size for column in columns if column.path_in_schema == options.field]
        return file.metadata.num_rows, sum(text)


def parquet_documents(piece: Piece, options: CorpusOptions, counts: NotedCounter) -> Iterator[CorpusDocument]:
    """Yield the rows of a piece. Skips row groups that lie outside the piece."""
    import pyarrow

    source = piece.source
    with opened_parquet(source.path) as file:
        _check_column(source.path, file, options)
        first = 0
        for group in range(file.metadata.num_row_groups):
            row, first = first, first + file.metadata.row_group(group).num_rows
            if row >= piece.end or first <= piece.start:
                continue
            batches = file.iter_batches(
                PARQUET_BATCH_ROWS, row_groups=[group], columns=[options.field], use_threads=False
            )
            for batch in batches:
                if row >= piece.end:
                    break
                skipped = max(0, piece.start - row)
                values = batch.column(0).slice(skipped, max(0, min(len(batch), piece.end - row) - skipped))
                for number, value in enumerate(values.cast(pyarrow.large_binary()).to_pylist(), row + skipped):
                    where = functools.partial(_row, source.path, number)
                    text = row_text(value, options.field, where, options, counts)
                    if text:
                        yield CorpusDocument(text, source.name, number)
                row += len(batch)


def _check_column(path: str, file: Any, options: CorpusOptions) -> None:
    import pyarrow.types

    schema = file.schema_arrow
    if options.field not in schema.names:
        columns = ", ".join(schema.names[:8])
        raise UserError(f"{path}: no column {options.field!r}; it has {columns}. Use --field")
    kind = schema.field(options.field).type
    values = kind.value_type if pyarrow.types.is_dictionary(kind) else kind
    is_text = (pyarrow.types.is_string, pyarrow.types.is_large_string, pyarrow.types.is_binary)
    if not any(check(values) for check in (*is_text, pyarrow.types.is_large_binary)):
        texts = ", ".join(name for name in schema.names if pyarrow.types.is_string(schema.field(name).type))
        raise UserError(f"{path}: column {options.field!r} is {kind}, not a string. Text columns: {texts or 'none'}")


def _row(path: str, number: int) -> str:
    return f"{path} row {number + 1}"
