"""Inputs of predict: files of rows, SQuAD questions, GLUE test files, tagged words, or texts on the command line."""

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bert_jax.data.formats.decoding import text_lines
from bert_jax.data.formats.suffixes import suffix_of
from bert_jax.data.formats.tfds import as_tfds_address
from bert_jax.data.labelled.conll import COLUMNS_SUFFIXES, has_columns, stream_sentence_rows
from bert_jax.data.labelled.glue import read_glue
from bert_jax.data.labelled.glue_tasks import GLUE
from bert_jax.data.labelled.row_files import STDIN, ChooseColumns, check_columns, file_options, read_head
from bert_jax.data.labelled.rows import Columns, Rows, rows_of, stream_rows
from bert_jax.data.labelled.squad import read_squad
from bert_jax.errors import UserError
from bert_jax.inference.chooser import Chooser
from bert_jax.inference.span_reader import Reader
from bert_jax.inference.tagger import Tagger
from bert_jax.settings.predict import PredictConfig
from bert_jax.terminal import note

ALL, NONE = "all", "none"  # values of --columns
SQUAD_SUFFIX = ".json"
OFFICIAL_SUFFIX = ".tsv"  # suffix of GLUE's files
SQUAD_COLUMNS = ("id", "question", "context")
_ID = re.compile(
    r"(?i:id|idx|index|uid|guid|uuid|key|no|nr|num|number|code|ref|reference|ticket|case|rowid)"
    r"|.*[_\-. ](?i:id|no|nr|num|number|key|uuid)|.*[a-z](?:Id|ID|No|Nr)"
)
_OF_SQUAD = re.compile(r'\s*\{.*?"(?:data|paragraphs)"\s*:\s*\[', re.DOTALL)


def input_rows(config: PredictConfig, model: Any, size: int, *, keep_texts: bool) -> Iterator[Rows]:
    """Yield the input in chunks of at most about `size` rows, each with the columns to keep beside the predictions.

    keep_texts  whether to keep ids and texts if the settings do not name columns
    Raises UserError if the input does not suit the model.
    """
    if config.texts:
        return _kept_of([_rows_of_texts(config.texts, model)], _keep(config, ("text", "pair"), keep_texts))
    path, reading = _input(config), file_options(config)
    suffix = suffix_of(path)[0]
    stream_suffix = f".{config.format}" if str(path) == STDIN else suffix
    if isinstance(model, Tagger) and _has_word_lines(path, stream_suffix, model, config):
        return _kept_of(_named(stream_sentence_rows(path, size, reading), "text"), _keep(config, ("text",), keep_texts))
    if is_squad(config):
        if not isinstance(model, Reader):
            raise UserError(f"{path}: a file of questions, but {config.model} does not answer questions. Give it rows")
        keep = _keep(config, SQUAD_COLUMNS, keep_texts, least=("id",))
        return _kept_of([_squad_rows(config)], keep)
    if is_official(config, model):
        task = GLUE[model.task.name]
        rows = read_glue(model.task.name, path, reading)
        kept = {task.text: rows.texts, **({task.pair: rows.pairs} if task.pair and rows.pairs else {})}
        return _kept_of([dataclasses.replace(rows, kept=kept)], _keep(config, tuple(kept), keep_texts))
    columns = columns_to_read(config, model)
    keep = _keep(config, columns.texts, keep_texts)
    return stream_rows(path, columns, size, reading, suffix=stream_suffix if str(path) == STDIN else None, keep=keep)


def columns_to_read(config: PredictConfig, model: Any) -> Columns:
    """Return the columns to read. Raises UserError if the settings name one that the model does not use."""
    columns: Columns = model.columns(config.text, config.pair, config.choices)
    for name in ("pair", "choices"):
        if getattr(config, name) and not getattr(columns, name):
            raise UserError(f"--{name} {getattr(config, name)}: {config.model} has no use for it. Leave it out")
    return columns


def is_squad(config: PredictConfig) -> bool:
    """Return whether the input is a SQuAD file, as opposed to a list of rows."""
    path = config.input
    if path is None or suffix_of(path)[0] != SQUAD_SUFFIX or str(path) == STDIN:
        return False
    return _OF_SQUAD.match(read_head(path, file_options(config))) is not None


def is_official(config: PredictConfig, model: Any) -> bool:
    """Return whether the input is a file, or a split of tfds:glue, of the GLUE task that the model was trained on."""
    name = model.task.name
    path = config.input
    if name not in GLUE or path is None or config.text or config.pair or config.delimiter or config.dialect != "auto":
        return False
    if as_tfds_address(path):
        return True
    if suffix_of(path)[0] != OFFICIAL_SUFFIX or str(path) == STDIN:
        return False
    task = GLUE[name]
    header = _header(read_head(path, file_options(config)))
    return {task.text, task.pair or task.text} <= set(header) or len(header) == len(task.header or ())


def _input(config: PredictConfig) -> Path:
    if config.input is None:
        raise UserError('no input: give a text, "...", or a file of rows, --input FILE')
    return config.input


def _rows_of_texts(texts: Sequence[str], model: Any) -> Rows:
    """Return the texts of the command line as rows: one row per text, or one row of a pair or of a text and choices."""
    for text in texts:
        if _is_file(text):
            raise UserError(f"{text} is a file. To predict its rows, pass --input {text}")
    if isinstance(model, Chooser):
        if len(texts) < 3:
            raise UserError(f"{model.where} is a multiple-choice model: give a text, then at least two choices")
        rows = rows_of(texts[:1], choices=[list(texts[1:])])
    elif model.columns(None, None, ()).pair is not None:
        if len(texts) != 2:
            pair = "a question and its context" if isinstance(model, Reader) else "two texts"
            raise UserError(f"{model.where} reads pairs: give {pair}, not {len(texts)}")
        rows = rows_of(texts[:1], texts[1:])
    else:
        rows = rows_of(texts)
    return dataclasses.replace(rows, kept={"text": rows.texts, **({"pair": rows.pairs} if rows.pairs else {})})


def _header(head: str) -> list[str]:
    """Return the fields in the first line of a .tsv file."""
    return next(iter(text_lines(head)), "").split("\t")


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long for a name, or with a NUL
        return False


def _has_word_lines(path: Path, suffix: str, model: Tagger, config: PredictConfig) -> bool:
    """Return whether a file for a tagger has one word per line: by its suffix, or by its content, with a note."""
    if suffix in COLUMNS_SUFFIXES:
        return True
    if suffix not in (".txt", ".tsv") or str(path) == STDIN or as_tfds_address(path) or config.text:
        return False
    head = read_head(path, file_options(config))
    if not has_columns(head) or (suffix == ".tsv" and model.columns(None, None, ()).text in _header(head)):
        return False
    note(f"{path}: read as one word and its tag per line, because it looks like that. For rows of texts, use a .csv")
    return True


def _squad_rows(config: PredictConfig) -> Rows:
    path = _input(config)
    items = read_squad(path, answers=False, options=file_options(config)).items
    texts, contexts = [item.question for item in items], [item.context for item in items]
    kept = dict(zip(SQUAD_COLUMNS, ([item.id for item in items], texts, contexts), strict=True))
    return Rows(texts, contexts, None, str(path), list(range(1, len(items) + 1)), kept=kept)


def _named(chunks: Iterator[Rows], name: str) -> Iterator[Rows]:
    for rows in chunks:
        yield dataclasses.replace(rows, kept={name: rows.texts})


def _kept_of(chunks: Iterable[Rows], keep: ChooseColumns) -> Iterator[Rows]:
    """Yield the rows, each with only the columns that `keep` chooses from those it has."""
    for rows in chunks:
        yield dataclasses.replace(rows, kept={name: rows.kept[name] for name in keep(list(rows.kept))})


def _keep(config: PredictConfig, texts: Sequence[str], keep_texts: bool, least: Sequence[str] = ()) -> ChooseColumns:
    """Return a function that chooses, from the names of all columns, those to write beside the predictions."""

    def keep(names: Sequence[str]) -> Sequence[str]:
        wanted = config.columns
        if wanted in ((ALL,), (NONE,)) and wanted[0] not in names:
            return names if wanted == (ALL,) else ()
        if wanted:
            check_columns(list(names), wanted, str(config.input))
            return list(dict.fromkeys(wanted))
        if not keep_texts:
            return least
        ids = [name for name in names if _ID.fullmatch(name) and name not in texts]
        return [*ids, *(name for name in dict.fromkeys(texts) if name in names)]

    return keep
