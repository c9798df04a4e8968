"""Pairs of texts with a score of their similarity: STS-B, or rows with two texts and a number."""

from pathlib import Path

from bert_jax.data.formats.addresses import is_folder
from bert_jax.data.formats.suffixes import suffix_of
from bert_jax.data.formats.tfds import as_tfds_address
from bert_jax.data.labelled.glue import dev_file, read_glue
from bert_jax.data.labelled.glue_tasks import GLUE
from bert_jax.data.labelled.labels import with_scores
from bert_jax.data.labelled.row_files import DEFAULT_OPTIONS, FileOptions, check_exists, read_head
from bert_jax.data.labelled.rows import Columns, Rows, read_rows
from bert_jax.errors import UserError

STSB = "stsb"
STSB_COLUMNS = Columns(GLUE[STSB].text, GLUE[STSB].pair, GLUE[STSB].label)
STSB_RANGE = (0.0, 5.0)
STSB_DATA_SETS = ("glue", f"glue/{STSB}")  # of TFDS
STSB_MARK = "genre"  # a column of the official files that other rows with these columns lack


def read_scored_pairs(
    data: Path,
    columns: Columns | None = None,
    options: FileOptions = DEFAULT_OPTIONS,
    *,
    score_range: tuple[float, float] | None = None,
) -> Rows:
    """Read pairs with numbers for labels, from a folder or file of STS-B, or from rows.

    columns      of rows; None: those of STS-B
    score_range  None: 0 to 5 for STS-B, any number for rows
    Raises UserError with the line for an empty text, and for a score that is no number or is out of range.
    """
    check_exists(data)
    if columns is None and _is_stsb(data, options):
        path = dev_file(STSB, data)
        rows = read_glue(STSB, path, options)
        if rows.labels is None:
            raise UserError(f"{path}: a test file of STS-B, which has no scores. Give dev.tsv or train.tsv")
        score_range = score_range or STSB_RANGE
    else:
        rows = read_rows(data, columns or STSB_COLUMNS, options)
    names = columns or STSB_COLUMNS
    for i, pair in enumerate(zip(rows.texts, rows.pairs or (), strict=True)):
        for name, text in zip((names.text, names.pair), pair, strict=True):
            if not text.strip():
                raise UserError(f"{rows.place(i)}: the text ({name!r}) is empty. Fill it in, or delete the row")
    scored = with_scores(rows)
    low, high = score_range or (-float("inf"), float("inf"))
    for i, value in enumerate(scored.labels or ()):
        if not low <= value <= high:
            raise UserError(
                f"{rows.place(i)}: score {value:g} is outside {low:g} to {high:g}. Correct it, or pass the range of "
                "your scores, --score-range LOW HIGH"
            )
    if len(rows) < 2:
        raise UserError(f"{rows.source}: one pair; a correlation needs two or more")
    return scored


def _is_stsb(data: Path, options: FileOptions) -> bool:
    """Return whether `data` is a folder, a data set of TFDS, or a .tsv with the header of STS-B, and no other rows."""
    if address := as_tfds_address(data):
        return address.name.partition(":")[0] in STSB_DATA_SETS
    if is_folder(data):
        return True
    if suffix_of(data)[0] != ".tsv" or options.delimiter is not None or options.dialect != "auto":
        return False
    header = read_head(data, options).split("\n", 1)[0].rstrip("\r").split("\t")
    return {STSB_MARK, *STSB_COLUMNS.texts} <= set(header)
