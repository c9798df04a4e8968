"""bert-jax predict: write predictions for a file of rows, a chunk at a time, or show them for texts."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from bert_jax import wording
from bert_jax.config import MOST_ANSWER_TOKENS, check_ranges
from bert_jax.data.formats.addresses import address_of, protocol_of, size_and_stamp
from bert_jax.data.formats.delimiters import DELIMITERS
from bert_jax.data.formats.suffixes import suffix_of
from bert_jax.data.labelled.line_counts import LINE_UNIT, count_rows, with_progress_counts
from bert_jax.data.labelled.row_files import STDIN, file_options
from bert_jax.data.labelled.rows import Rows
from bert_jax.data.text_output import write_output
from bert_jax.errors import UserError
from bert_jax.inference.loading import load
from bert_jax.inference.span_reader import Reader
from bert_jax.output import check_new_file, replace_file
from bert_jax.prediction.answer_file import answer_file
from bert_jax.prediction.answer_formats import (
    ANSWER_PREFIX,
    JSON_LINES,
    answer_suffix,
    flat,
    kept_value,
    rounded,
    write_answers,
)
from bert_jax.prediction.inputs import OFFICIAL_SUFFIX, SQUAD_SUFFIX, input_rows, is_official, is_squad
from bert_jax.prediction.leaderboard import predict_test_file
from bert_jax.prediction.shown_answer import answer_lines
from bert_jax.process import age_seconds
from bert_jax.progress import Progress
from bert_jax.settings.predict import PredictConfig
from bert_jax.tasks.span_search import BEST
from bert_jax.terminal import say, standard_output, visible
from bert_jax.text.word_cache import replace_surrogates
from bert_jax.train.memory import out_of_memory_reported

CHUNK_ROWS = 8192  # rows that are sorted by length together
PIPED_ROWS = 256  # the same for rows from a pipe, whose reader waits for the predictions


@out_of_memory_reported("Use a smaller --batch-size")
def predict(config: PredictConfig) -> int:
    """Write one prediction per row to the output, whole or not at all, and return the number of rows."""
    output = _check(config)
    model = _load(config)
    if suffix_of(output)[0] == OFFICIAL_SUFFIX and not config.columns and is_official(config, model):
        return _write_leaderboard(config, model, output)
    suffix = answer_suffix(output)
    official = suffix == SQUAD_SUFFIX and is_squad(config)  # {id: answer}
    if official and config.n_best:
        raise UserError(f"{output}: the format {{id: answer}} has one answer per question. For --n-best use .jsonl")
    size = PIPED_ROWS if str(config.input) == STDIN else CHUNK_ROWS
    chunks = input_rows(config, model, size, keep_texts=suffix != JSON_LINES and not official)
    lines_of_rows = functools.partial(_output_rows, model, config, in_cells=suffix not in (JSON_LINES, ".json"))
    with _open_output(config, output, suffix, official) as (file, finished), _progress(config) as progress:
        count = 0
        for chunk, size in with_progress_counts(chunks, progress.total):
            skipped = min(max(finished - count, 0), len(chunk))
            rows = chunk.pick(range(skipped, len(chunk))) if skipped else chunk
            count += len(chunk)
            with progress.part(size):
                if len(rows):
                    _write(file, lines_of_rows(rows))
        if not count:
            raise UserError(f"{config.input}: no rows")
    return count


def answers_of(config: PredictConfig) -> Iterator[tuple[Rows, list[Any]]]:
    """Yield the rows of the input, or the texts, in chunks, with the predictions for each chunk."""
    _check_input(config)
    model = _load(config)
    for rows in input_rows(config, model, CHUNK_ROWS, keep_texts=False):
        yield rows, model.answer(rows, batch_size=config.batch_size)


def _check_input(config: PredictConfig) -> None:
    """Raise UserError for settings of the input that are out of range or exclude each other."""
    check_ranges(config, batch_size=(1, None), n_best=(0, BEST), max_answer_length=(1, MOST_ANSWER_TOKENS))
    if config.texts and config.input is not None:
        raise UserError(f"give either --input {config.input} or the text {config.texts[0]!r}")
    if not config.texts and config.input is None:
        raise UserError('no input: give a text, "...", or a file of rows, --input FILE')
    flags = {"dialect": None if config.dialect == "auto" else config.dialect, "delimiter": config.delimiter}
    for name, value in flags.items():
        if value is not None and config.input is not None and not _may_be_table(config.input):
            raise UserError(f"--{name} {value}: {config.input} is not a .csv or .tsv. Leave it out")


def _check(config: PredictConfig) -> Path:
    """Return the output's path. Raises UserError for settings that exclude each other, before any work is done."""
    _check_input(config)
    if config.output is None:
        raise UserError("no output: name a file, --output answers.csv (.tsv, .jsonl, .parquet), or - for the terminal")
    if str(config.output) != STDIN:
        answer_suffix(config.output)
        check_new_file(config.output)
    if config.escape_formulas and answer_suffix(config.output) not in (".csv", ".tsv"):
        raise UserError(f"--escape-formulas: {config.output} is not a .csv or .tsv. Leave it out")
    return config.output


def _may_be_table(path: Path) -> bool:
    return str(path) == STDIN or suffix_of(path)[0] in DELIMITERS


def _load(config: PredictConfig) -> Any:
    with Progress("reading the model"):
        model = load(config.model)
    for flag, value in (("n-best", config.n_best), ("max-answer-length", config.max_answer_length)):
        if value and not isinstance(model, Reader):
            raise UserError(f"--{flag} {value}: {config.model} does not answer questions. Leave it out")
    if config.max_answer_length:
        model.max_answer_length = config.max_answer_length
    return model


def show_answers(config: PredictConfig) -> None:
    """Print the predictions for the texts on the command line."""
    for rows, answers in answers_of(config):
        for text, answer in zip(rows.texts, answers, strict=True):
            if len(rows) > 1:
                say(text)
            for line in answer_lines(_as_dict(answer, config)):
                say(line)


def _output_rows(model: Any, config: PredictConfig, rows: Rows, *, in_cells: bool) -> Iterator[dict[str, Any]]:
    """Yield for each row the kept columns and the prediction; `in_cells` with one value per column."""
    answers = model.answer(rows, batch_size=config.batch_size)
    for i, answer in enumerate(answers):
        values = rounded(_as_dict(answer, config))
        kept = {name: kept_value(column[i]) for name, column in rows.kept.items()}
        values = flat(values) if in_cells else values
        yield kept | {ANSWER_PREFIX + name if name in kept else name: value for name, value in values.items()}


def _write(file: TextIO, rows: Iterator[dict[str, Any]]) -> None:
    """Write rows as JSON lines. On standard output, control characters are escaped, which JSON reads as the same."""
    shown: Callable[[str], str] = visible if file is sys.stdout else str
    for row in rows:
        file.write(shown(replace_surrogates(json.dumps(row, ensure_ascii=False))) + "\n")
    file.flush()


def _as_dict(answer: Any, config: PredictConfig) -> dict[str, Any]:
    return answer.as_dict(config.n_best) if config.n_best else answer.as_dict()


def _open_output(
    config: PredictConfig, output: Path, suffix: str, official: bool
) -> contextlib.AbstractContextManager[tuple[TextIO, int]]:
    """Open the output, and return it with the number of rows already in it: 0 if the input is standard input."""
    if str(output) == STDIN:
        return contextlib.nullcontext((standard_output(), 0))
    finish: Callable[[Path, Path], None] = replace_file
    if official:
        finish = _write_by_id
    elif suffix != JSON_LINES:
        finish = functools.partial(write_answers, output=output, escape_formulas=config.escape_formulas)
    return answer_file(output, _job(config, suffix), resumable=str(config.input) != STDIN, finish=finish)


def _write_by_id(lines: Path, output: Path) -> None:
    """Write the rows in a file of JSON lines as {id: answer}, the format of SQuAD's official script."""
    with lines.open("rb") as file:
        answers = {row["id"]: row["answer"] for row in map(json.loads, file)}
    write_output(output, json.dumps(answers, ensure_ascii=False, indent=1) + "\n")


def _job(config: PredictConfig, suffix: str) -> str:
    """Return a hash of the input, the model and the settings. A command resumes a job with the same hash."""
    address = address_of(config.input or "")
    is_remote = bool(protocol_of(address))
    source = [address, *size_and_stamp(address)] if is_remote else str((config.input or Path()).absolute())
    separate = ("model", "input", "output", "batch_size", "escape_formulas")
    settings = {name: value for name, value in dataclasses.asdict(config).items() if name not in separate}
    parts: list[Any] = [str(config.model.absolute()), source, settings, suffix]
    files = sorted(config.model.iterdir()) if config.model.is_dir() else []  # weights may be overwritten in place
    for path in (config.input, config.model, *files):
        if path is not None and path.exists():
            status = path.stat()
            parts.append([status.st_size, status.st_mtime_ns])
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _progress(config: PredictConfig) -> Progress:
    """Return the progress over the input. It has no line if the predictions are printed on a terminal."""
    has_line = str(config.output) != STDIN or not standard_output().isatty()
    total, unit = (len(config.texts), LINE_UNIT) if config.input is None else count_rows(config.input)
    return Progress("predicting", total, unit, has_line=has_line)


def _write_leaderboard(config: PredictConfig, model: Any, output: Path) -> int:
    """Write the predictions for a GLUE task's test file in the leaderboard's format, and return their number."""
    assert config.input is not None
    with Progress("predicting"):
        text = predict_test_file(model, config.input, batch_size=config.batch_size, reading=file_options(config))
    write_output(output, text)
    return text.count("\n") - 1


def main(config: PredictConfig) -> int:
    """Write or show the predictions, and print their number and speed; return the exit code."""
    if config.texts and config.output is None and config.input is None:
        show_answers(config)
        return 0
    count = predict(config)
    seconds = age_seconds()
    summary = (
        f"{config.output}: {wording.counted(count, 'row')} in {seconds:.1f} s, start-up included "
        f"({count / seconds:,.0f} rows/s)"
    )
    say(summary, to_stderr=str(config.output) == STDIN)
    return 0
