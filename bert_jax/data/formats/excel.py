"""Excel workbooks, .xlsx: the rows of a sheet, with texts for cells as a .csv of the same would have them."""

import contextlib
import datetime
import warnings
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from bert_jax.data.formats.addresses import open_file
from bert_jax.data.formats.delimited import Row
from bert_jax.errors import UserError, first_line, listed

SUFFIXES = (".xlsx", ".xlsm")
LARGEST = 2 << 30  # bytes unpacked: a larger workbook would not open in Excel
ERRORS = frozenset(("#N/A", "#REF!", "#DIV/0!", "#VALUE!", "#NAME?", "#NULL!", "#NUM!"))  # what failed formulas leave
_OLD = b"\xd0\xcf\x11\xe0"  # how .xls, and .xlsx with a password, begin
SAVE = "Save it as .csv or a plain .xlsx"


@contextlib.contextmanager
def sheet_rows(path: str, tell: Callable[[str], None]) -> Iterator[Iterator[Row]]:
    """Open a workbook and yield the rows of its first sheet that has any: the header, then rows of its width.

    Rows and columns without content, and columns without a name, are left out. `tell` is called where there are
    several sheets. Raises UserError for what is no workbook.
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
                warnings.simplefilter("ignore")  # of drawings and styles that the library passes over
                book = openpyxl.load_workbook(stream, read_only=True, data_only=True)
            try:
                yield _rows(path, book, tell)
            finally:
                book.close()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UserError:
        raise
    except Exception as error:  # zipfile, zlib, expat and the library have their own
        raise UserError(f"{path}: not a whole Excel workbook ({first_line(error)}). {SAVE}") from None


def _check(path: str, stream: BinaryIO) -> None:
    """Raise UserError for another format, and for a workbook that would fill the memory."""
    if stream.read(4) == _OLD:
        raise UserError(f"{path}: an Excel file of the old format, or one with a password. {SAVE}")
    stream.seek(0)
    with zipfile.ZipFile(stream) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > LARGEST:
        raise UserError(f"{path}: {size / 1e9:.1f} GB unpacked, where a workbook has at most {LARGEST / 1e9:.1f} GB")
    stream.seek(0)


def _rows(path: str, book: Any, tell: Callable[[str], None]) -> Iterator[Row]:
    sheets = book.worksheets
    for sheet in sheets:
        sheet.reset_dimensions()  # which some writers get wrong
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
    """Yield the number and the cells of each row in which anything stands."""
    for number, cells in enumerate(sheet.iter_rows(values_only=True), 1):
        if any(cell is not None and cell != "" for cell in cells):
            yield number, cells


def _text(cell: Any) -> str:
    """Return a cell as Excel writes it into a .csv, but for dates, which are written as ISO has them."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    if isinstance(cell, float):
        return format(cell, ".15g")
    if isinstance(cell, datetime.datetime):
        return (cell.date() if cell.time() == datetime.time() else cell).isoformat()
    return str(cell)
