"""Excel workbooks, .xlsx: the rows of a sheet, with cells as texts like those of a .csv of the sheet."""

import contextlib
import datetime
import warnings
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from bert_jax.data.formats.addresses import open_file
from bert_jax.data.formats.delimited import TableRow
from bert_jax.errors import UserError, first_line, listed

EXCEL_SUFFIXES = (".xlsx", ".xlsm")
MAX_UNZIPPED = 2 << 30  # bytes; a larger workbook would not open in Excel
FORMULA_ERRORS = frozenset(
    ("#N/A", "#REF!", "#DIV/0!", "#VALUE!", "#NAME?", "#NULL!", "#NUM!")
)  # cells of failed formulas
_OLD = b"\xd0\xcf\x11\xe0"  # first bytes of .xls, and of .xlsx with a password
SAVE_HINT = "Save it as .csv or a plain .xlsx"


@contextlib.contextmanager
def sheet_rows(path: str, tell: Callable[[str], None]) -> Iterator[Iterator[TableRow]]:
    """Open a workbook for the rows of its first sheet that has any: the header, then rows of its width.

    Empty rows, and columns without a name, are left out. Raises UserError for a file that is not a workbook.

    tell  called with a note if there are several sheets
    """
    try:
        import openpyxl
    except ImportError:
        raise UserError(
            f"{path}: Excel files need one more package: pip install 'bert_jax[xlsx]'. Or save it as .csv"
        ) from None
    try:
        with open_file(path) as stream:
            _check(path, stream)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about drawings and styles that the library ignores
                book = openpyxl.load_workbook(stream, read_only=True, data_only=True)
            try:
                yield _rows(path, book, tell)
            finally:
                book.close()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UserError:
        raise
    except Exception as error:  # zipfile, zlib, expat and the library have their own errors
        raise UserError(f"{path}: not a whole Excel workbook ({first_line(error)}). {SAVE_HINT}") from None


def _check(path: str, stream: BinaryIO) -> None:
    """Raise UserError for the old format, and for a workbook that would fill the memory."""
    if stream.read(4) == _OLD:
        raise UserError(f"{path}: an Excel file of the old format, or one with a password. {SAVE_HINT}")
    stream.seek(0)
    with zipfile.ZipFile(stream) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > MAX_UNZIPPED:
        raise UserError(
            f"{path}: {size / 1e9:.1f} GB unpacked, where a workbook has at most {MAX_UNZIPPED / 1e9:.1f} GB"
        )
    stream.seek(0)


def _rows(path: str, book: Any, tell: Callable[[str], None]) -> Iterator[TableRow]:
    sheets = book.worksheets
    for sheet in sheets:
        sheet.reset_dimensions()  # some writers get them wrong
        rows = _full_rows(sheet)
        header = next(rows, None)
        if header is None:
            continue
        if len(sheets) > 1:
            others = listed(repr(other.title) for other in sheets if other is not sheet)
            tell(f"{path}: the sheet {sheet.title!r} is read, and not {others}. To read another, move it to the front")
        line, cells = header
        names = [_text(cell).strip() for cell in cells]
        columns = [i for i, name in enumerate(names) if name]
        yield line, [names[i] for i in columns]
        for line, cells in rows:
            yield line, [_text(cells[i]) if i < len(cells) else "" for i in columns]
        return


def _full_rows(sheet: Any) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Yield the number and the cells of each row that is not empty."""
    for number, cells in enumerate(sheet.iter_rows(values_only=True), 1):
        if any(cell is not None and cell != "" for cell in cells):
            yield number, cells


def _text(cell: Any) -> str:
    """Return a cell as Excel writes it to a .csv; dates in ISO format."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    if isinstance(cell, float):
        return format(cell, ".15g")
    if isinstance(cell, datetime.datetime):
        return (cell.date() if cell.time() == datetime.time() else cell).isoformat()
    return str(cell)
