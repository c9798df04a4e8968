"""Inputs of predict: rows of any format that finetune reads, questions of SQuAD, sentences in columns, or texts."""

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bert_jax.data.formats.decoding import text_lines
from bert_jax.data.formats.suffixes import suffix_of
from bert_jax.data.formats.tfds import as_tfds_address
from bert_jax.data.labelled.conll import COLUMNS_SUFFIXES, has_columns, read_words
from bert_jax.data.labelled.glue import read_glue
from bert_jax.data.labelled.glue_tasks import GLUE
from bert_jax.data.labelled.row_files import STDIN, More, check_columns, read_head, reading_of
from bert_jax.data.labelled.rows import Columns, Rows, rows_of, stream_rows
from bert_jax.data.labelled.squad import read_squad
from bert_jax.errors import UserError
from bert_jax.inference.chooser import Chooser
from bert_jax.inference.span_reader import Reader
from bert_jax.inference.tagger import Tagger
from bert_jax.settings.predict import PredictConfig
from bert_jax.terminal import note

ALL, NONE = "all", "none"  # of --columns
SQUAD_SUFFIX = ".json"
OFFICIAL_SUFFIX = ".tsv"  # of GLUE's files
SQUAD_COLUMNS = ("id", "question", "context")
_ID = re.compile(
    r"(?i:id|idx|index|uid|guid|uuid|key|no|nr|num|number|code|ref|reference|ticket|case|rowid)"
    r"|.*[_\-. ](?i:id|no|nr|num|number|key|uuid)|.*[a-z](?:Id|ID|No|Nr)"
)
_OF_SQUAD = re.compile(r'\s*\{.*?"(?:data|paragraphs)"\s*:\s*\[', re.DOTALL)


def rows_to_answer(config: PredictConfig, model: Any, size: int, *, keep_texts: bool) -> Iterator[Rows]:
    """Yield what is to be answered, at most about `size` rows at a time, with the columns that are kept.

    keep_texts  whether ids and texts are kept where the settings do not say which columns are
    Raises UserError for what the model does not read.
    """
    if config.texts:
        return _kept_of([_rows_of_texts(config.texts, model)], _keep(config, ("text", "pair"), keep_texts))
    path, reading = _input(config), reading_of(config)
    suffix = suffix_of(path)[0]
    stream_suffix = f".{config.format}" if str(path) == STDIN else suffix
    if isinstance(model, Tagger) and _is_of_columns(path, stream_suffix, model, config):
        return _kept_of(_named(read_words(path, size, reading), "text"), _keep(config, ("text",), keep_texts))
    if is_squad(config):
        if not isinstance(model, Reader):
            raise UserError(f"{path}: a file of questions, but {config.model} answers none. Give it rows")
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
    """Return the columns of rows. Raises UserError for one that the model does not read."""
    columns: Columns = model.columns(config.text, config.pair, config.choices)
    for name in ("pair", "choices"):
        if getattr(config, name) and not getattr(columns, name):
            raise UserError(f"--{name} {getattr(config, name)}: {config.model} reads no such column. Leave it out")
    return columns


def is_squad(config: PredictConfig) -> bool:
    """Return whether the input is a file of questions as SQuAD has them, and no list of rows."""
    path = config.input
    if path is None or suffix_of(path)[0] != SQUAD_SUFFIX or str(path) == STDIN:
        return False
    return _OF_SQUAD.match(read_head(path, reading_of(config))) is not None


def is_official(config: PredictConfig, model: Any) -> bool:
    """Return whether the input is a file, or a split of tfds:glue, of the GLUE task that the model is of."""
    name = model.task.name
    path = config.input
    if name not in GLUE or path is None or config.text or config.pair or config.delimiter or config.dialect != "auto":
        return False
    if as_tfds_address(path):
        return True
    if suffix_of(path)[0] != OFFICIAL_SUFFIX or str(path) == STDIN:
        return False
    task = GLUE[name]
    header = _header(read_head(path, reading_of(config)))
    return {task.text, task.pair or task.text} <= set(header) or len(header) == len(task.header or ())


def _input(config: PredictConfig) -> Path:
    if config.input is None:
        raise UserError('nothing to answer: give a text, "...", or name a file of rows with --input')
    return config.input


def _rows_of_texts(texts: Sequence[str], model: Any) -> Rows:
    """Return rows of what stands on the command line: a text each, two of a pair, or a text and its choices."""
    for text in texts:
        if _is_file(text):
            raise UserError(f"{text}: a file. Answer its rows with --input {text}")
    if isinstance(model, Chooser):
        if len(texts) < 3:
            raise UserError(f"{model.where} chooses: give a text, and then each of the choices")
        rows = rows_of(texts[:1], choices=[list(texts[1:])])
    elif model.columns(None, None, ()).pair is not None:
        if len(texts) != 2:
            wants = "a question and its context" if isinstance(model, Reader) else "two texts"
            raise UserError(f"{model.where} reads pairs: give {wants}, here are {len(texts)}")
        rows = rows_of(texts[:1], texts[1:])
    else:
        rows = rows_of(texts)
    return dataclasses.replace(rows, kept={"text": rows.texts, **({"pair": rows.pairs} if rows.pairs else {})})


def _header(head: str) -> list[str]:
    """Return the fields of the first line of a .tsv."""
    return next(iter(text_lines(head)), "").split("\t")


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # longer than a name can be, or with a NUL
        return False


def _is_of_columns(path: Path, suffix: str, model: Tagger, config: PredictConfig) -> bool:
    """Return whether a file for a tagger has a word a line: by its suffix, or by its content, which is then told."""
    if suffix in COLUMNS_SUFFIXES:
        return True
    if suffix not in (".txt", ".tsv") or str(path) == STDIN or as_tfds_address(path) or config.text:
        return False
    head = read_head(path, reading_of(config))
    if not has_columns(head) or (suffix == ".tsv" and model.columns(None, None, ()).text in _header(head)):
        return False
    note(f"{path}: read as columns, a word and its tag a line, as its lines look so. Rows of texts go into a .csv")
    return True


def _squad_rows(config: PredictConfig) -> Rows:
    path = _input(config)
    items = read_squad(path, answers=False, reading=reading_of(config)).items
    texts, contexts = [item.question for item in items], [item.context for item in items]
    kept = dict(zip(SQUAD_COLUMNS, ([item.id for item in items], texts, contexts), strict=True))
    return Rows(texts, contexts, None, str(path), list(range(1, len(items) + 1)), kept=kept)


def _named(chunks: Iterator[Rows], name: str) -> Iterator[Rows]:
    for rows in chunks:
        yield dataclasses.replace(rows, kept={name: rows.texts})


def _kept_of(chunks: Iterable[Rows], keep: More) -> Iterator[Rows]:
    """Yield the rows with those of the columns they have that are to be kept."""
    for rows in chunks:
        yield dataclasses.replace(rows, kept={name: rows.kept[name] for name in keep(list(rows.kept))})


def _keep(config: PredictConfig, texts: Sequence[str], keep_texts: bool, least: Sequence[str] = ()) -> More:
    """Return a function from the names of all columns to those that stand beside the answers."""

    def keep(names: Sequence[str]) -> Sequence[str]:
        asked = config.columns
        if asked in ((ALL,), (NONE,)) and asked[0] not in names:
            return names if asked == (ALL,) else ()
        if asked:
            check_columns(list(names), asked, str(config.input))
            return list(dict.fromkeys(asked))
        if not keep_texts:
            return least
        ids = [name for name in names if _ID.fullmatch(name) and name not in texts]
        return [*ids, *(name for name in dict.fromkeys(texts) if name in names)]

    return keep
