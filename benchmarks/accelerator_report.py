"""The lines that accelerator.py prints of a row, and the tables that benchmarks/tables.py makes of its results."""

from collections.abc import Iterable, Sequence
from typing import Any

import tables
from accelerator_cases import PYTORCH, STEP, TINY

from bert_jax.chips import find_chip
from bert_jax.model.presets import resolve
from bert_jax.train.flops import training_flops

RESULTS = "accelerator.jsonl"
TOLERANCE = 2e-2  # of a kernel in bfloat16: the norm of the difference over that of the result
COLUMNS = ("ms", "seq/s", "MFU", "GB/s", "peak GB", "difference", "gradients")
HEAD = f"{'case':46}" + "".join(f"{name:>12}" for name in COLUMNS)
PARTS = ("gradients_ms", "update_ms", "evaluation_ms")

Row = dict[str, Any]


def with_rates(row: Row) -> Row:
    """Return a row with sequences and bytes a second, the MFU of a known chip, and whether a kernel is right."""
    row = dict(row)
    if "gradient_difference" in row:
        found = [row["difference"], row["gradient_difference"]]
        row["right"] = all(value is not None and value <= TOLERANCE for value in found)
    if not row.get("ms"):
        return row
    seconds = row["ms"] / 1e3
    if row["kind"] in (STEP, PYTORCH):
        row["sequences_per_second"] = round(row["rows"] / seconds, 1)
        model = resolve(row["model"], TINY.vocab_size if row["model"] == TINY.preset else None)
        row["flops"] = row["rows"] * training_flops(model, row["length"], row["predictions"])
    chip = find_chip(row["device"])
    if chip and "flops" in row:
        row["mfu"] = round(row["flops"] / seconds / chip.flops, 4)
    if "bytes" in row:
        row["bytes_per_second"] = round(row["bytes"] / seconds)
    return row


def lines(row: Row) -> list[str]:
    """Return the lines of a row for a terminal."""
    cells = "".join(f"{cell:>12}" for cell in numbers(row))
    text = [f"{row['case']:46}{cells}".rstrip()]
    parts = [f"{name.removesuffix('_ms')} {row[name]} ms" for name in PARTS if name in row]
    if parts:
        text.append("    " + ", ".join(parts))
    if "last_loss" in row:
        losses = f"loss {row['first_loss']} to {row['last_loss']}"
        text.append(f"    {row['bodies']}; {losses}, compiled in {row['compile_seconds']} s")
    text += [f"    {milliseconds:9.3f} ms  {name[:100]}" for name, milliseconds in row.get("operations", ())]
    if not row.get("right", True):
        text.append(f"    WRONG: it differs from the plain function by more than {TOLERANCE:g}")
    text += [f"    {kind}: {row[kind]}" for kind in ("skipped", "error") if kind in row]
    return text


def numbers(row: Row) -> list[str]:
    """Return the cells of COLUMNS."""
    return [
        shown(row, "ms", "{:,.2f}"),
        shown(row, "sequences_per_second", "{:,.0f}"),
        shown(row, "mfu", "{:.1%}"),
        f"{row['bytes_per_second'] / 1e9:,.0f}" if "bytes_per_second" in row else "",
        shown(row, "peak_GB", "{:.1f}"),
        shown(row, "difference", "{:.1e}"),
        shown(row, "gradient_difference", "{:.1e}"),
    ]


def shown(row: Row, name: str, form: str) -> str:
    """Return a number of a row as text, or "" where it is not there."""
    if name not in row:
        return ""
    return "not finite" if row[name] is None else form.format(row[name])


def against_pytorch(rows: Sequence[Row]) -> list[str]:
    """Return a line for each step that PyTorch's was measured beside."""
    text = []
    for row in rows:
        other = rival(row, rows)
        if other is not None:
            speeds = [f"{side['sequences_per_second']:,.0f}" for side in (row, other)]
            times = row["sequences_per_second"] / other["sequences_per_second"]
            text.append(f"{row['case']}: {speeds[0]} sequences/s, PyTorch {speeds[1]}: {times:.2f} times as fast")
    return text


def rival(row: Row, rows: Iterable[Row]) -> Row | None:
    """Return PyTorch's fastest row of the same call and the same work as a step's: not packed, with all dropout."""
    if row["kind"] != STEP or row["packed"] or row["attention_dropout"] is not None or not row.get("ms"):
        return None
    same = ("call", "model", "rows", "length", "device")
    others = [
        other
        for other in rows
        if other["kind"] == PYTORCH and other.get("ms") and all(other.get(name) == row[name] for name in same)
    ]
    return max(others, key=lambda other: other["sequences_per_second"], default=None)


def newest(rows: Sequence[Row]) -> list[Row]:
    """Return the last row of each case and device."""
    return list({(row.get("device", ""), row["case"]): row for row in rows}.values())


def step_table(rows: Sequence[Row]) -> list[str]:
    """Return the table of steps, PyTorch's among them."""
    head = ["case", "rows", "computed by", "ms", "gradients, ms", "update, ms", "evaluation, ms", "sequences/s"]
    head += ["times PyTorch", "MFU", "peak GB", "device", "libraries", "commit", "date"]
    cells = []
    for row in newest(rows):
        if row["kind"] in (STEP, PYTORCH):
            other = rival(row, rows)
            times = f"{row['sequences_per_second'] / other['sequences_per_second']:.2f}" if other else ""
            ms, speed, mfu, _, peak, *_ = numbers(row)
            parts = [shown(row, name, "{:,.2f}") for name in PARTS]
            cells.append([row["case"], row["rows"], outcome(row), ms, *parts, speed, times, mfu, peak, *made(row)])
    return tables.markdown(head, cells)


def kernel_table(rows: Sequence[Row]) -> list[str]:
    """Return the table of kernels alone."""
    head = ["case", "rows", "outcome", *(name for name in COLUMNS if name != "seq/s")]
    head += ["device", "libraries", "commit", "date"]
    cells = []
    for row in newest(rows):
        if row["kind"] not in (STEP, PYTORCH):
            ms, _, *others = numbers(row)
            cells.append([row["case"], row["rows"], outcome(row), ms, *others, *made(row)])
    return tables.markdown(head, cells)


def outcome(row: Row) -> str:
    """Return how a case ended: what computed it, whether a kernel is right, or why there are no numbers."""
    for kind in ("error", "skipped"):
        if kind in row:
            return f"{kind}: {row[kind]}".replace("|", "/")
    return row.get("bodies") or ("right" if row.get("right") else "WRONG")


def made(row: Row) -> list[str]:
    """Return where a row is from."""
    return [row.get("device", ""), row.get("libraries", ""), row["commit"], row["date"]]
