"""Write a file of predictions as CSV, TSV, JSON, JSON Lines or Parquet, from the JSON lines of a finished job."""

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
from bert_jax.wording import agreeing, counted

JSON_LINES = ".jsonl"
ANSWER_SUFFIXES = (".csv", ".tsv", JSON_LINES, ".json", ".parquet")
ROW_GROUP_ROWS = 8192  # Parquet rows in a group
ANSWER_PREFIX = "predicted_"  # for a prediction's column with the name of an input column that is kept
_FORMULA = re.compile(r"[=+\-@\t\r]")  # start of a cell that a spreadsheet may take for a formula
_NUMBER = re.compile(r"[+-]?[\d.,]+(?:[eE][+-]?\d+)?%?")

AnswerRow = dict[str, Any]


def answer_suffix(output: Path) -> str:
    """Return the suffix of the output, which decides its format: JSON Lines if there is none, as for /dev/stdout."""
    suffix, packing = suffix_of(output)
    if packing:
        raise UserError(f"{output}: the output is not compressed. Leave {packing} out of the name")
    if suffix and suffix not in ANSWER_SUFFIXES:
        raise UserError(f"{output}: the suffix must be one of {', '.join(ANSWER_SUFFIXES)}; it decides the format")
    return suffix or JSON_LINES


def write_answers(lines: Path, target: Path, output: Path, *, escape_formulas: bool = False) -> None:
    """Write the rows in a file of JSON lines to `target`, whole or not at all, in the format of `output`'s suffix."""
    suffix = answer_suffix(output)
    with whole_file(target) as file:
        if suffix == ".parquet":
            _write_parquet(lines, file)
        elif suffix == ".json":
            _write_list(lines, file)
        else:
            _write_table(lines, file, "\t" if suffix == ".tsv" else ",", output, escape_formulas)


def flat(answer: AnswerRow) -> AnswerRow:
    """Return a prediction with one value per column: label, its probability, then the probability of each class."""
    cells: AnswerRow = {}
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
    """Return a value with its numbers, also in lists and dicts, rounded to the six or seven digits of a float32."""
    if isinstance(value, float):
        return float(f"{value:.6g}" if abs(value) < 1 else f"{value:.7g}")
    if isinstance(value, dict):
        return {name: rounded(item) for name, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else value


def kept_value(value: Any) -> Any:
    """Return a value of the input in a type that both JSON and a cell can hold."""
    if value is None or isinstance(value, str | bool) or (isinstance(value, int) and value.bit_length() < 64):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict | list) else str(value)


def _rows(lines: Path) -> Iterator[AnswerRow]:
    with lines.open("rb") as file:
        yield from map(json.loads, file)


def _write_list(lines: Path, file: BinaryIO) -> None:
    separator = b"[\n"
    with lines.open("rb") as source:
        for line in source:
            file.write(separator + line.rstrip(b"\n"))
            separator = b",\n"
    file.write(b"\n]\n")


def _write_table(lines: Path, file: BinaryIO, delimiter: str, output: Path, escape: bool) -> None:
    """Write a table with a header. If `escape` is set, cells that look like formulas get an apostrophe before them."""
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
    minimal = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    quoted = csv.writer(text, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)

    def write(row: list[str]) -> None:
        has_return = any("\r" in cell for cell in row)  # not quoted by the library before Python 3.13
        (quoted if has_return else minimal).writerow(row)

    for number, row in enumerate(_rows(lines), 1):
        if number == 1:
            write(cells(0, list(row)))
        write(cells(number, list(row.values())))
    text.detach()
    if count and not escape:
        note(
            f"{output}: {counted(count, 'cell')} {agreeing(count, 'starts', 'start')} like a formula, the first {first}"
            ". If you do not trust the texts, import the columns into a spreadsheet as text, or pass --escape-formulas"
        )


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{decimal.Decimal(repr(value)):f}"  # 0.000012, not 1.2e-05
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "|".join(value)  # as the labels of a row in training files
    return json.dumps(value, ensure_ascii=False)


def _write_parquet(lines: Path, file: BinaryIO) -> None:
    import pyarrow
    import pyarrow.parquet

    kinds: dict[str, set[type]] = {}
    for row in _rows(lines):
        for name, value in row.items():
            kinds.setdefault(name, set()).add(type(value))
    types = {name: _arrow_type(name, column - {type(None)}) for name, column in kinds.items()}
    schema = pyarrow.schema([(name, kind or pyarrow.string()) for name, kind in types.items()])
    as_text = [name for name, kind in types.items() if kind is None]
    with pyarrow.parquet.ParquetWriter(file, schema) as writer:
        rows = _rows(lines)
        while batch := list(itertools.islice(rows, ROW_GROUP_ROWS)):
            for row in batch:
                row.update({name: None if row[name] is None else _cell(row[name]) for name in as_text})
            writer.write_table(pyarrow.Table.from_pylist(batch, schema))


def _arrow_type(name: str, kinds: set[type]) -> Any:
    """Return the Arrow type of a column; None if its values have several types and are written as texts."""
    import pyarrow

    if kinds == {list}:
        return _list_types().get(name.removeprefix(ANSWER_PREFIX))
    if kinds <= {int, float} and kinds:
        return pyarrow.float64() if float in kinds else pyarrow.int64()
    return pyarrow.bool_() if kinds == {bool} else None


def _list_types() -> dict[str, Any]:
    """Return the Arrow types of the lists in predictions, by name."""
    from pyarrow import float64, int64, list_, string, struct

    span = [("start", int64()), ("end", int64()), ("score", float64())]
    return {
        "entities": list_(struct([("label", string()), ("text", string()), *span])),
        "n_best": list_(struct([("answer", string()), *span])),
        "labels": list_(string()),
        "probabilities": list_(float64()),
    }
