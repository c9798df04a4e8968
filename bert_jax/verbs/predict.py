"""bert-jax predict: a file of rows to a file of answers, a chunk at a time."""

import contextlib
import dataclasses
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from bert_jax.config import MOST_ANSWER_TOKENS, check_ranges
from bert_jax.data.formats.addresses import address_of, protocol_of, size_and_stamp
from bert_jax.data.formats.names import suffix_of
from bert_jax.data.glue_tasks import GLUE
from bert_jax.data.rows import Columns, Rows, stream_rows
from bert_jax.data.squad import read_squad
from bert_jax.data.tables import STDIN, reading_of
from bert_jax.errors import UserError
from bert_jax.inference.load import load
from bert_jax.inference.reader import Reader
from bert_jax.machine import process_seconds
from bert_jax.output import check_new_file
from bert_jax.settings.predict import PredictConfig
from bert_jax.tasks.spans import BEST
from bert_jax.terminal import say, standard_output
from bert_jax.text.word_cache import replace_surrogates
from bert_jax.verbs.answer_file import answer_file
from bert_jax.verbs.leaderboard import answer_test
from bert_jax.verbs.writing import write_output

CHUNK_ROWS = 8192  # sorted by length together
PIPED_ROWS = 256  # the same where rows come by a pipe, and answers are waited for
SQUAD_SUFFIX = ".json"
LEADERBOARD_SUFFIX = ".tsv"


def predict(config: PredictConfig) -> int:
    """Writes one line a row to the output, whole or not at all; returns how many."""
    check_ranges(config, batch_size=(1, None), n_best=(0, BEST), max_answer_length=(1, MOST_ANSWER_TOKENS))
    if str(config.output) != STDIN:
        check_new_file(config.output)
    model = load(config.model)
    for flag, value in (("n-best", config.n_best), ("max-answer-length", config.max_answer_length)):
        if value and not isinstance(model, Reader):
            raise UserError(f"--{flag} {value}: {config.model} does not answer questions. Leave it out")
    if config.max_answer_length:
        model.max_answer_length = config.max_answer_length
    if config.n_best and config.output.suffix == SQUAD_SUFFIX:
        raise UserError(f"{config.output}: {{id: answer}} has one answer each. For --n-best give it a .jsonl")
    if config.dialect != "auto" and suffix_of(config.input)[0] == SQUAD_SUFFIX:
        raise UserError(f"--dialect {config.dialect}: the questions of SQuAD are no table. Leave it out")
    if config.dialect != "auto" and config.output.suffix == LEADERBOARD_SUFFIX:
        raise UserError(f"--dialect {config.dialect}: the test files of GLUE tasks have no quoting. Leave it out")
    if suffix_of(config.input)[0] == SQUAD_SUFFIX:
        return _answer_squad(config, model)
    if config.output.suffix == LEADERBOARD_SUFFIX:
        return _write_leaderboard(config, model)
    columns = model.columns(config.text, config.pair, config.choices)
    for name in ("pair", "choices"):
        if getattr(config, name) and not getattr(columns, name):
            raise UserError(f"--{name} {getattr(config, name)}: {config.model} reads no such column. Leave it out")
    suffix = f".{config.format}" if str(config.input) == STDIN else None
    size = PIPED_ROWS if str(config.input) == STDIN else CHUNK_ROWS
    chunks = stream_rows(config.input, columns, size, reading_of(config), suffix=suffix)
    with _written(config, columns) as (file, finished), _progress(config.input) as advance:
        count = 0
        for chunk in chunks:
            skipped = min(max(finished - count, 0), len(chunk))
            rows = chunk.pick(range(skipped, len(chunk))) if skipped else chunk
            count += len(chunk)
            if len(rows):
                _write(file, model, rows, config)
            advance(len(chunk))
        if not count:
            raise UserError(f"{config.input}: no rows")
    return count


def _write(file: TextIO, model: Any, rows: Rows, config: PredictConfig) -> None:
    for answer in model.answer(rows, batch_size=config.batch_size):
        file.write(replace_surrogates(json.dumps(_told(answer, config), ensure_ascii=False)) + "\n")
    file.flush()


def _told(answer: Any, config: PredictConfig) -> dict[str, Any]:
    return answer.as_dict(config.n_best) if config.n_best else answer.as_dict()


def _written(config: PredictConfig, columns: Columns) -> contextlib.AbstractContextManager[tuple[TextIO, int]]:
    """Where answers go, and how many are there already. Of standard input nobody knows that it is the same."""
    if str(config.output) == STDIN:
        return contextlib.nullcontext((standard_output(), 0))
    return answer_file(config.output, _job(config, columns), resumable=str(config.input) != STDIN)


def _job(config: PredictConfig, columns: Columns) -> str:
    """What makes two commands the same."""
    address = address_of(config.input)
    elsewhere = bool(protocol_of(address))
    given = [address, *size_and_stamp(address)] if elsewhere else str(config.input.absolute())
    about: list[Any] = [str(config.model.absolute()), given, dataclasses.asdict(columns)]
    about += [
        config.encoding_errors,
        config.dialect,
        config.delimiter,
        config.encoding,
        config.n_best,
        config.max_answer_length,
    ]
    inside = sorted(config.model.iterdir()) if config.model.is_dir() else []  # weights may be written over in place
    for path in (config.input, config.model, *inside):
        if path.exists():
            status = path.stat()
            about.append([status.st_size, status.st_mtime_ns])
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()


@contextlib.contextmanager
def _progress(path: Path) -> Iterator[Any]:
    """Rows and rows a second, on a terminal."""
    columns = (TextColumn("predicting {task.completed:,.0f} rows"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as shown:
        task = shown.add_task(str(path), total=None)
        yield lambda rows: shown.advance(task, rows)


def _answer_squad(config: PredictConfig, model: Any) -> int:
    """The answers to a SQuAD file: {id: answer}, or JSONL with the id."""
    if not isinstance(model, Reader):
        raise UserError(f"{config.input}: a file of questions, but {config.model} answers none. Give it rows")
    questions = read_squad(config.input, answers=False, reading=reading_of(config)).items
    answers = model.predict(
        [item.question for item in questions], [item.context for item in questions], batch_size=config.batch_size
    )
    pairs = list(zip(questions, answers, strict=True))
    if config.output.suffix == SQUAD_SUFFIX:
        text = json.dumps({item.id: answer.text for item, answer in pairs}, ensure_ascii=False, indent=1) + "\n"
    else:
        lines = (json.dumps({"id": item.id, **_told(answer, config)}, ensure_ascii=False) for item, answer in pairs)
        text = "\n".join(lines) + "\n"
    write_output(config.output, text)
    return len(pairs)


def _write_leaderboard(config: PredictConfig, model: Any) -> int:
    """The answers to a GLUE task's test file as gluebenchmark.com takes them: index and prediction."""
    name = model.task.get("name")
    if name not in GLUE:
        raise UserError(f"{config.output}: .tsv is the leaderboard's format, for runs of GLUE tasks. Give it a .jsonl")
    told = answer_test(model, config.input, batch_size=config.batch_size, reading=reading_of(config))
    write_output(config.output, told)
    return told.count("\n") - 1


def main(config: PredictConfig) -> int:
    """Write the answers and print how many they are; return the exit code."""
    count = predict(config)
    seconds = process_seconds()
    told = f"{config.output}: {count} rows in {seconds:.1f} s, start-up included ({count / seconds:,.0f} rows/s)"
    say(told, to_stderr=str(config.output) == STDIN)
    return 0
