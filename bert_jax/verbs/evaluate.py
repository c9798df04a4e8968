"""bert-jax evaluate: score a fine-tuned model, given answers, or vectors on labelled data."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bert_jax.config import MOST_ANSWER_TOKENS, check_ranges
from bert_jax.data.encoded import Encoded
from bert_jax.data.formats.addresses import address_of, protocol_of
from bert_jax.data.labelled.glue_tasks import GLUE
from bert_jax.data.labelled.row_files import STDIN, file_options
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
from bert_jax.finetuning.task_data import Examples, ScoringRequest
from bert_jax.finetuning.trained_on import find_trained_on
from bert_jax.inference.loading import open_model
from bert_jax.inference.span_reader import DEFAULT_SPAN_LENGTH
from bert_jax.origin import origin
from bert_jax.output import check_folder, check_new_file
from bert_jax.pretrained import REGRESSION
from bert_jax.progress import Progress
from bert_jax.registry import HEADS
from bert_jax.settings.evaluate import EvaluateConfig
from bert_jax.tasks.squad_scores import squad_scores
from bert_jax.terminal import note, say
from bert_jax.train.memory import out_of_memory_reported
from bert_jax.train.run import is_run, resolve_checkpoint
from bert_jax.verbs.vector_scores import check_flags, score_vectors, show_poolings

MEMORY = "memory"  # protocol of rows that are passed from Python


@out_of_memory_reported("Use a smaller --batch-size")
def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Return the metrics of the model's task by name, the number of `rows` scored, and the 95 % `intervals` by metric.

    Further keys:

    baseline         the metrics of a constant answer, and the answer in words
    positive_class   the class that F1 is about, if there are two classes
    rows_trained_on  number of rows that the run was trained on; `not_trained_on` has the metrics of the others
    long_texts       metrics with each way to read long texts, if several are given
    poolings         metrics by pooling, if they are compared

    With a task, the scores are those of vectors, and the baseline is one without a model.
    """
    check_ranges(config, batch_size=(1, None), max_answer_length=(1, MOST_ANSWER_TOKENS))
    if config.json and str(config.json) != STDIN:
        check_new_file(config.json, flag="--json", overwrite=True)
    check_flags(config)
    if config.task is None and (config.model is None) == (config.predictions is None):
        raise UserError("give either --model, or --predictions to score")
    if config.report:
        check_folder(config.report, flag="--report")
    if config.task is not None:
        scores, result, notes = score_vectors(config)
        _report(config, str(config.model), result, None, notes)
        return {**scores, "baseline": numbers_of(result)["bag_of_words"], "intervals": result.intervals}
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
    fixed = about.task.name in GLUE  # the files of GLUE have fixed columns
    if protocol_of(address_of(config.data)) == MEMORY and (fixed or not HEADS[about.kind].columns):
        reason = f"was trained on {about.task.name}" if fixed else f"has a {about.kind} head"
        raise UserError(
            f"{model} {reason}: score it on a file of its format, such as {HEADS[about.kind].example_file}, not on "
            "rows in memory. Pass the path of the file as data"
        )
    columns = {**(about.task.columns or {}), **({"opening": None} if config.choices else {})}
    column_flags = {name: value for name in ("text", "pair", "label", "choices") if (value := getattr(config, name))}
    for name in column_flags.keys() - (set() if fixed else set(HEADS[about.kind].columns)):
        raise UserError(f"--{name} {column_flags[name]}: {config.model} reads no such column. Leave it out")
    _check_dialect(config, str(config.model), has_tables=bool(HEADS[about.kind].columns) and not fixed)
    if config.long_texts and about.kind != "sequence":
        raise UserError(f"--long-texts is for models of whole texts, {config.model} has a {about.kind} head")
    if set(config.long_texts) - {"cut"} and (about.task.pair or config.pair):
        raise UserError(
            f"--long-texts {config.long_texts[0]}: {config.model} reads pairs of texts, which can only be cut"
        )
    if config.max_answer_length and about.kind != "span":
        raise UserError(f"--max-answer-length is for models of spans, {config.model} has a {about.kind} head")
    way = config.long_texts[0] if config.long_texts else about.task.long_texts
    longest = DEFAULT_SPAN_LENGTH if about.kind == "span" else about.max_length
    request = ScoringRequest(
        data=config.data,
        record=about.task.changed(
            columns={**columns, **column_flags},
            long_texts=way,
            max_answer_length=config.max_answer_length or about.task.max_answer_length,
        ),
        labels=None if about.problem == REGRESSION and about.outputs == 1 else about.labels,
        problem=about.problem,
        tokenizer=about.require_tokenizer(),
        length=about.task.max_length or min(longest, about.max_length),
        reading=file_options(config),
    )
    with progress.doing_now("reading the rows"):
        examples = read_dev(about.kind, request)
    progress.total = examples.count
    for remark in examples.notes:
        note(remark)

    def run(encoded: Encoded) -> np.ndarray:
        return compute(encoded, config.batch_size)

    with progress.part(examples.count):
        outputs = run(examples.encoded)
    with progress.doing_now("scoring"):
        result = findings(examples.review(outputs))
    trained_on, remarks = _trained_on(model, config.data, examples, result.review)
    for remark in (*remarks, *_no_better(result.review)):
        note(remark)
    _report(config, str(config.model), result, examples, [*examples.notes, *remarks])
    scores = _without_main(examples.score(outputs))
    positive = {} if result.review.positive is None else {"positive_class": result.review.positive}
    report = {
        **scores,
        "rows": examples.count,
        "rows_cut": examples.encoded.truncated,
        **trained_on,
        **positive,
        "baseline": numbers_of(result)["baseline"],
        "intervals": result.intervals,
    }
    if len(config.long_texts) < 2:
        return report
    others = config.long_texts[1:]
    with progress.doing_now("scoring the other ways to read long texts"):
        ways = examples.in_ways(others, run) if examples.in_ways else dict.fromkeys(map(str, others), scores)  # all fit
    ways = {config.long_texts[0]: scores, **{way: _without_main(values) for way, values in ways.items()}}
    return {**report, "long_texts": ways}


def _trained_on(model: Path, data: Path, examples: Examples, review: Review) -> tuple[dict[str, Any], list[str]]:
    """Return the number of examples that the run was trained on and the scores of the others, if known, and remarks."""
    compared = find_trained_on(resolve_checkpoint(model)[0].path, examples) if is_run(model) else None
    if compared is None:
        return {}, []
    seen, complete = compared
    count = int(seen.sum())
    entries: dict[str, Any] = {"rows_trained_on": count}
    if not count:
        return entries, []
    least = "" if complete else "at least "
    if count == len(seen):
        remark = f"{data}: the model was trained on all {count} {review.unit}"
        return entries, [f"{remark}, so the scores show what it learned by heart, not what to expect on other data"]
    others = _without_main(review.resample(np.flatnonzero(~seen)))
    shown = " ".join(f"{heading_of(name, review.positive)} {value:.4f}" for name, value in others.items())
    remark = f"{data}: the model was trained on {least}{count} of {len(seen)} {review.unit}, so the scores are too good"
    return {**entries, "not_trained_on": others}, [f"{remark}. The other {len(seen) - count} alone: {shown}"]


def _no_better(review: Review) -> list[str]:
    """Return a remark if no main score is better than that of a constant answer."""
    scores, baseline = review.scores, review.baseline
    if baseline is None or any(scores[name] > baseline.scores[name] for name in review.main):
        return []
    return [
        f"{' and '.join(review.main)}: no better than {baseline.answer}; the model learned nothing about these data"
    ]


def _check_dialect(config: EvaluateConfig, scored: str, *, has_tables: bool) -> None:
    """Raise UserError if --dialect or --delimiter is given and the rows are not in tables."""
    flags = {"dialect": None if config.dialect == "auto" else config.dialect, "delimiter": config.delimiter}
    for name, value in flags.items():
        if value is not None and not has_tables:
            raise UserError(f"--{name} {value}: {scored} is scored on files that are no tables. Leave it out")


def _without_main(scores: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in scores.items() if name != "main"}


def _score_predictions(config: EvaluateConfig, predictions: Path) -> dict[str, Any]:
    """Return the official SQuAD scores, and the number of questions without an answer in the predictions."""
    questions = read_squad(config.data, options=file_options(config))
    for remark in questions.notes:
        note(remark)
    answers = read_predictions(predictions)
    golds = golds_of(questions)
    missing = sum(name not in answers for name in golds)
    scores = squad_scores(answers, golds, questions.version)
    result = findings(review_texts(questions, answers))
    for remark in _no_better(result.review):
        note(remark)
    _report(config, str(predictions), result, None, questions.notes)
    return {**scores, "rows": len(golds), "rows_missing": missing, "intervals": result.intervals}


def _report(
    config: EvaluateConfig, scored: str, result: Findings, examples: Examples | None, notes: Sequence[str]
) -> None:
    """Write the pages of --report, if given."""
    if config.report is None:
        return
    config.report.mkdir(parents=True, exist_ok=True)
    document = describe_scores(f"Scores of {scored}", f"on {config.data}", result, examples, origin(), notes)
    write_document(document, config.report)
    write_json(config.report / NUMBERS, numbers_of(result))


def main(config: EvaluateConfig) -> int:
    """Score a model, print its scores and return the exit code."""
    scores = evaluate(config)
    if config.json:
        write_json(config.json, scores)
        if str(config.json) == STDIN:
            return 0
    intervals, ways, baseline = scores.pop("intervals"), scores.pop("long_texts", {}), scores.pop("baseline", None)
    positive, poolings = scores.pop("positive_class", None), scores.pop("poolings", None)
    scores.pop("not_trained_on", None)  # a note has printed it
    for name, value in scores.items():
        between = "  (95 % {:.4f} to {:.4f})".format(*intervals[name]) if name in intervals else ""
        head = f"{heading_of(name, positive):12}"
        say(f"{head} {value:.4f}{between}" if isinstance(value, float) else f"{head} {value}")
    if baseline:
        values = " ".join(f"{name} {baseline[name]:.4f}" for name in intervals if baseline.get(name) is not None)
        say(f"baseline: {baseline['answer']}: {values}")
    if ways:
        show_ways(ways, f"{config.model}: ways to read long texts", "")
    if poolings:
        show_poolings(poolings, config.model)
    return 0
