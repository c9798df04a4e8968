"""bert-jax evaluate: scores of a fine-tuned model, or of anyone's answers, on labelled data."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bert_jax.config import MOST_ANSWER_TOKENS, check_ranges
from bert_jax.data.encoded import Encoded
from bert_jax.data.labelled.glue_tasks import GLUE
from bert_jax.data.labelled.row_files import STDIN, reading_of
from bert_jax.data.labelled.squad import read_predictions, read_squad
from bert_jax.errors import UserError
from bert_jax.finetuning.long_text_scores import show_ways
from bert_jax.finetuning.readers.by_task import read_dev
from bert_jax.finetuning.report.run_report import (
    NUMBERS,
    Findings,
    describe_scores,
    findings,
    numbers_of,
    write_document,
)
from bert_jax.finetuning.report.write import write_json
from bert_jax.finetuning.reviews.answer_review import golds_of, review_texts
from bert_jax.finetuning.reviews.review import Review, heading_of
from bert_jax.finetuning.task_data import Asked, Examples
from bert_jax.finetuning.trained_on import find_trained_on
from bert_jax.inference.answerer import require_tokenizer
from bert_jax.inference.loading import open_model
from bert_jax.inference.span_reader import LENGTH
from bert_jax.origin import origin
from bert_jax.output import check_folder, check_new_file
from bert_jax.pretrained import REGRESSION
from bert_jax.progress import Progress
from bert_jax.settings.evaluate import EvaluateConfig
from bert_jax.tasks.squad_scores import squad_scores
from bert_jax.terminal import note, say
from bert_jax.train.memory import out_of_memory_told
from bert_jax.train.run import is_run, resolve_checkpoint

COLUMN_FLAGS = {"sequence": {"text", "pair", "label"}, "choice": {"text", "label", "choices"}}  # others: fixed formats


@out_of_memory_told("Use a smaller --batch-size")
def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Return each metric of the model's task by name, `rows`, how many were scored, and `intervals`: 95 %, by metric.

    baseline         the same metrics of an answer that reads nothing, and the answer in words
    positive_class   the class that F1 is of, where there are two
    rows_trained_on  how many of the rows a run of ours was trained on; `not_trained_on` has the metrics of the others
    long_texts       with several ways to read long texts, the metrics of each
    """
    check_ranges(config, batch_size=(1, None), max_answer_length=(1, MOST_ANSWER_TOKENS))
    if config.json and str(config.json) != STDIN:
        check_new_file(config.json, flag="--json", overwrite=True)
    if (config.model is None) == (config.predictions is None):
        raise UserError("give either --model, or --predictions with answers to score")
    if config.report:
        check_folder(config.report, flag="--report")
    if config.predictions is not None:
        _check_dialect(config, "--predictions", has_tables=False)
        if config.max_answer_length:
            raise UserError(f"--max-answer-length {config.max_answer_length}: --predictions are scored as they are")
        return _score_predictions(config, config.predictions)
    assert config.model is not None
    with Progress("evaluating", unit="rows") as progress:
        return _score_model(config, config.model, progress)


def _score_model(config: EvaluateConfig, model: Path, progress: Progress) -> dict[str, Any]:
    with progress.doing_now("reading the model"):
        about, compute = open_model(model)
    known = {**(about.task.get("columns") or {}), **({"opening": None} if config.choices else {})}
    given = {name: value for name in ("text", "pair", "label", "choices") if (value := getattr(config, name))}
    fixed = about.task.get("name") in GLUE  # by the task's own files
    for name in given.keys() - (set() if fixed else COLUMN_FLAGS.get(about.kind, set())):
        raise UserError(f"--{name} {given[name]}: {config.model} reads no such column. Leave it out")
    _check_dialect(config, str(config.model), has_tables=about.kind in COLUMN_FLAGS and not fixed)
    if config.long_texts and about.kind != "sequence":
        raise UserError(f"--long-texts is for models of whole texts, {config.model} is one of kind {about.kind}")
    if set(config.long_texts) - {"cut"} and (about.task.get("pair") or config.pair):
        raise UserError(f"--long-texts {config.long_texts[0]}: {config.model} reads pairs of texts, which are cut only")
    if config.max_answer_length and about.kind != "span":
        raise UserError(f"--max-answer-length is for models of spans, {config.model} is one of kind {about.kind}")
    way = config.long_texts[0] if config.long_texts else about.task.get("long_texts")
    longest = LENGTH if about.kind == "span" else about.max_length
    asked = Asked(
        data=config.data,
        record={
            **about.task,
            "columns": {**known, **given},
            "long_texts": way,
            "max_answer_length": config.max_answer_length or about.task.get("max_answer_length"),
        },
        labels=None if about.problem == REGRESSION and about.outputs == 1 else about.labels,
        problem=about.problem,
        tokenizer=require_tokenizer(about),
        length=about.task.get("max_length") or min(longest, about.max_length),
        reading=reading_of(config),
    )
    with progress.doing_now("reading the rows"):
        examples = read_dev(about.kind, asked)
    progress.total = examples.count
    for remark in examples.notes:
        note(remark)

    def run(encoded: Encoded) -> np.ndarray:
        return compute(encoded, config.batch_size)

    with progress.part(examples.count):
        outputs = run(examples.encoded)
    with progress.doing_now("scoring"):
        found = findings(examples.review(outputs))
    known, remarks = _trained_on(model, config.data, examples, found.review)
    for remark in (*remarks, *_no_better(found.review)):
        note(remark)
    _report(config, str(config.model), found, examples, [*examples.notes, *remarks])
    scores = _without_main(examples.score(outputs))
    positive = {} if found.review.positive is None else {"positive_class": found.review.positive}
    told = {
        **scores,
        "rows": examples.count,
        "rows_cut": examples.encoded.truncated,
        **known,
        **positive,
        "baseline": numbers_of(found)["baseline"],
        "intervals": found.intervals,
    }
    if len(config.long_texts) < 2:
        return told
    others = config.long_texts[1:]
    with progress.doing_now("scoring the other ways"):
        ways = examples.in_ways(others, run) if examples.in_ways else dict.fromkeys(map(str, others), scores)  # all fit
    ways = {config.long_texts[0]: scores, **{way: _without_main(found) for way, found in ways.items()}}
    return {**told, "long_texts": ways}


def _trained_on(model: Path, data: Path, examples: Examples, review: Review) -> tuple[dict[str, Any], list[str]]:
    """Return how many of the examples a run was trained on, where it says so, the others' scores, and remarks."""
    compared = find_trained_on(resolve_checkpoint(model)[0].path, examples) if is_run(model) else None
    if compared is None:
        return {}, []
    known, whole = compared
    count = int(known.sum())
    told: dict[str, Any] = {"rows_trained_on": count}
    if not count:
        return told, []
    least = "" if whole else "at least "
    if count == len(known):
        every = f"{data}: all {count} {review.unit} were trained on"
        return told, [f"{every}, so the scores say what was learned by heart, not what to expect of others"]
    others = _without_main(review.resample(np.flatnonzero(~known)))
    shown = " ".join(f"{heading_of(name, review.positive)} {value:.4f}" for name, value in others.items())
    remark = f"{data}: {least}{count} of {len(known)} {review.unit} were trained on, so the scores flatter"
    return {**told, "not_trained_on": others}, [f"{remark}. The other {len(known) - count} alone: {shown}"]


def _no_better(review: Review) -> list[str]:
    """Say where the scores that decide are no better than those of an answer that reads nothing."""
    scores, base = review.scores, review.baseline
    if base is None or any(scores[name] > base.scores[name] for name in review.main):
        return []
    return [f"{' and '.join(review.main)}: no better than {base.answer}; nothing that was learned shows on these data"]


def _check_dialect(config: EvaluateConfig, scored: str, *, has_tables: bool) -> None:
    """Raise UserError for a dialect where the rows to score are in a format of their own."""
    flags = {"dialect": None if config.dialect == "auto" else config.dialect, "delimiter": config.delimiter}
    for name, value in flags.items():
        if value is not None and not has_tables:
            raise UserError(f"--{name} {value}: {scored} is scored on files of a format of its own. Leave it out")


def _without_main(scores: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in scores.items() if name != "main"}


def _score_predictions(config: EvaluateConfig, predictions: Path) -> dict[str, Any]:
    """The official scores of SQuAD, and how many questions have no answer in the predictions."""
    questions = read_squad(config.data, reading=reading_of(config))
    for remark in questions.notes:
        note(remark)
    answers = read_predictions(predictions)
    golds = golds_of(questions)
    missing = sum(name not in answers for name in golds)
    scores = squad_scores(answers, golds, questions.version)
    found = findings(review_texts(questions, answers))
    for remark in _no_better(found.review):
        note(remark)
    _report(config, str(predictions), found, None, questions.notes)
    return {**scores, "rows": len(golds), "rows_missing": missing, "intervals": found.intervals}


def _report(
    config: EvaluateConfig, scored: str, found: Findings, examples: Examples | None, notes: Sequence[str]
) -> None:
    """The pages of --report, where they are asked for."""
    if config.report is None:
        return
    config.report.mkdir(parents=True, exist_ok=True)
    document = describe_scores(f"Scores of {scored}", f"on {config.data}", found, examples, origin(), notes)
    write_document(document, config.report)
    write_json(config.report / NUMBERS, numbers_of(found))


def main(config: EvaluateConfig) -> int:
    """Score a model and print its scores; return the exit code."""
    scores = evaluate(config)
    if config.json:
        write_json(config.json, scores)
        if str(config.json) == STDIN:
            return 0
    intervals, ways, baseline = scores.pop("intervals"), scores.pop("long_texts", {}), scores.pop("baseline", None)
    positive = scores.pop("positive_class", None)
    scores.pop("not_trained_on", None)  # a note has said it
    for name, value in scores.items():
        between = "  (95 % {:.4f} to {:.4f})".format(*intervals[name]) if name in intervals else ""
        head = f"{heading_of(name, positive):12}"
        say(f"{head} {value:.4f}{between}" if isinstance(value, float) else f"{head} {value}")
    if baseline:
        values = " ".join(f"{name} {baseline[name]:.4f}" for name in intervals if baseline.get(name) is not None)
        say(f"beside it: {baseline['answer']}: {values}")
    if ways:
        show_ways(ways, f"{config.model}: long texts read in several ways", "")
    return 0
