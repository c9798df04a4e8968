"""Formats of answers, by the suffix of the output: written whole, from lines of JSON that may have come over days."""

import csv
import decimal
import io
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from bert_jax.data.formats.suffixes import suffix_of
from bert_jax.errors import UserError
from bert_jax.output import whole_file
from bert_jax.terminal import note

JSON_LINES = ".jsonl"
SUFFIXES = (".csv", ".tsv", JSON_LINES, ".json", ".parquet")
PARQUET_ROWS = 8192  # in a row group
PREFIX = "predicted_"  # of an answer's column, where a column of the input that is kept has its name
_FORMULA = re.compile(r"[=+\-@\t\r]")  # what begins a cell that a spreadsheet may take for a formula
_NUMBER = re.compile(r"[+-]?[\d.,]+(?:[eE][+-]?\d+)?%?")

Row = dict[str, Any]


def format_of(output: Path) -> str:
    """Return the suffix that decides the format; JSON Lines where there is none, as of /dev/stdout."""
    suffix, packing = suffix_of(output)
    if packing:
        raise UserError(f"{output}: answers are written unpacked. Leave {packing} out of the name")
    if suffix and suffix not in SUFFIXES:
        raise UserError(f"{output}: answers are written as {', '.join(SUFFIXES)}; the name's end decides")
    return suffix or JSON_LINES


def write_answers(lines: Path, target: Path, output: Path, *, escape_formulas: bool = False) -> None:
    """Write the rows of a file of JSON lines to `target`, whole or not at all, in the format that `output` names."""
    suffix = format_of(output)
    with whole_file(target) as file:
        if suffix == ".parquet":
            _write_parquet(lines, file)
        elif suffix == ".json":
            _write_list(lines, file)
        else:
            _write_table(lines, file, "\t" if suffix == ".tsv" else ",", output, escape_formulas)


def flat(answer: Row) -> Row:
    """Return an answer with one value a column: the likeliest class with its probability, then those of all classes."""
    cells: Row = {}
    for name, value in answer.items():
        if name == "probabilities" and isinstance(value, dict):
            if "labels" not in answer:
                cells["probability"] = max(value.values())
            cells |= {f"probability_{label}": probability for label, probability in value.items()}
        elif name == "probabilities":
            cells |= {"probability": max(value), name: value}
        elif name == "scores" and isinstance(value, dict):
            cells |= value
        else:
            cells[name] = value
    return cells


def rounded(value: Any) -> Any:
    """Return numbers, and those in lists and objects, to the six or seven digits that a float32 holds."""
    if isinstance(value, float):
        return float(f"{value:.6g}" if abs(value) < 1 else f"{value:.7g}")
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, list) else value


def kept_value(value: Any) -> Any:
    """Return a value of the input as a line of JSON, and a cell, can hold it."""
    if value is None or isinstance(value, str | bool) or (isinstance(value, int) and value.bit_length() < 64):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict | list) else str(value)


def _rows(lines: Path) -> Iterator[Row]:
    with lines.open("rb") as file:
        yield from map(json.loads, file)


def _write_list(lines: Path, file: BinaryIO) -> None:
    mark = b"[\n"
    with lines.open("rb") as given:
        for line in given:
            file.write(mark + line.rstrip(b"\n"))
            mark = b",\n"
    file.write(b"\n]\n")


def _write_table(lines: Path, file: BinaryIO, delimiter: str, output: Path, escape: bool) -> None:
    """Write a table with a header. Cells are as they are, or where asked for with an apostrophe before formulas."""
    count, first = 0, ""

    def cells(number: int, row: Sequence[Any]) -> list[str]:
        nonlocal count, first
        texts = [_cell(value) for value in row]
        for i, cell in enumerate(texts):
            if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell):
                count, first = count + 1, first or f"in {f'row {number}' if number else 'the header'}: {cell[:40]!r}"
                texts[i] = f"'{cell}" if escape else cell
        return texts

    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    as_needed = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    quoted = csv.writer(text, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)

    def write(row: list[str]) -> None:
        returns = any("\r" in cell for cell in row)  # which the library takes for a character before Python 3.13
        (quoted if returns else as_needed).writerow(row)

    for number, row in enumerate(_rows(lines), 1):
        if number == 1:
            write(cells(0, list(row)))
        write(cells(number, list(row.values())))
    text.detach()
    if count and not escape:
        note(
            f"{output}: cells that begin as formulas do: {count:,}, the first {first}. Where texts are of strangers, "
            "let a spreadsheet import the columns as text, or pass --escape-formulas"
        )


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{decimal.Decimal(repr(value)):f}"  # 0.000012, not 1.2e-05
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return "|".join(value)  # as labels are written in files to train on
    return json.dumps(value, ensure_ascii=False)


def _write_parquet(lines: Path, file: BinaryIO) -> None:
    import pyarrow
    import pyarrow.parquet

    kinds: dict[str, set[type]] = {}
    for row in _rows(lines):
        for name, value in row.items():
            kinds.setdefault(name, set()).add(type(value))
    types = {name: _arrow_type(name, found - {type(None)}) for name, found in kinds.items()}
    schema = pyarrow.schema([(name, kind or pyarrow.string()) for name, kind in types.items()])
    as_text = [name for name, kind in types.items() if kind is None]
    with pyarrow.parquet.ParquetWriter(file, schema) as writer:
        rows = _rows(lines)
        while batch := list(itertools.islice(rows, PARQUET_ROWS)):
            for row in batch:
                row.update({name: None if row[name] is None else _cell(row[name]) for name in as_text})
            writer.write_table(pyarrow.Table.from_pylist(batch, schema))


def _arrow_type(name: str, kinds: set[type]) -> Any:
    """Return the type of a column of Parquet, None where its values have several and become texts."""
    import pyarrow

    if kinds == {list}:
        return _list_types().get(name.removeprefix(PREFIX))
    if kinds <= {int, float} and kinds:
        return pyarrow.float64() if float in kinds else pyarrow.int64()
    return pyarrow.bool_() if kinds == {bool} else None


def _list_types() -> dict[str, Any]:
    """Return the types of the lists that answers hold, by name."""
    from pyarrow import float64, int64, list_, string, struct

    place = [("start", int64()), ("end", int64()), ("score", float64())]
    return {
        "entities": list_(struct([("label", string()), ("text", string()), *place])),
        "n_best": list_(struct([("answer", string()), *place])),
        "labels": list_(string()),
        "probabilities": list_(float64()),
    }
