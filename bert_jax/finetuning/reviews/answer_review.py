"""Reviews of answers to questions: the predicted spans, their scores, and the right answers."""

import dataclasses

import numpy as np

from bert_jax.data.labelled.squad import Question, Questions
from bert_jax.data.windows import Windows
from bert_jax.finetuning.reviews.review import Baseline, Case, Certainty, Mark, Review, TextPart
from bert_jax.tasks.probabilities import softmax
from bert_jax.tasks.span_search import Candidate, read_spans
from bert_jax.tasks.squad_scores import best_threshold, mean_scores, scores_by_question, squad_scores

MOST_CONTEXT = 2_000  # characters of a context that is shown whole
AROUND = 600  # characters shown on each side of an answer in a longer context


@dataclasses.dataclass(frozen=True)
class QuestionAnswers:
    """The predicted span of each question (None for no answer) and its probability.

    threshold  on no answer; None if every question has an answer
    """

    spans: list[Candidate | None]
    confidence: np.ndarray
    threshold: float | None

    def by_id(self, questions: Questions) -> dict[str, str]:
        """Return the text of each answer by the id of its question, empty for no answer."""
        return {item.id: span.text if span else "" for item, span in zip(questions.items, self.spans, strict=True)}


def answer_questions(
    questions: Questions, windows: Windows, no_answer: bool, threshold: float | None, outputs: np.ndarray
) -> QuestionAnswers:
    """Return the best span of each question.

    no_answer  whether questions may have no answer
    threshold  above which no answer is predicted; None: the best threshold for these questions
    """
    items = questions.items
    candidates = read_spans(windows, outputs, [item.context for item in items])
    best = [spans[0] if spans else None for spans, _ in candidates]
    refused = np.array([none - spans[0].score if spans else np.inf for spans, none in candidates])
    if no_answer and threshold is None:
        ids, texts = [item.id for item in items], QuestionAnswers(best, refused, None).by_id(questions)
        margins = dict(zip(ids, refused.tolist(), strict=True))
        threshold, _ = best_threshold(margins, texts, golds_of(questions), questions.version)
    if not no_answer:
        threshold = None
    confidence = np.ones(len(items))
    for i, (spans, none) in enumerate(candidates):
        if spans:
            shares = softmax(np.array([*(span.score for span in spans), none], np.float64))
            withheld = threshold is not None and refused[i] > threshold
            confidence[i] = shares[-1] if withheld else shares[0]
            best[i] = None if withheld else best[i]
    return QuestionAnswers(best, confidence, threshold)


def golds_of(questions: Questions) -> dict[str, list[str]]:
    """Return the texts of the right answers by question id, as in the file."""
    return {item.id: list(item.golds) for item in questions.items}


def answer_scores(questions: Questions, answers: QuestionAnswers) -> dict[str, float]:
    """Return the official exact match and F1, the threshold if there is one, and "main"."""
    scores = squad_scores(answers.by_id(questions), golds_of(questions), questions.version)
    threshold = {} if answers.threshold is None else {"threshold": float(answers.threshold)}
    return {**scores, **threshold, "main": scores["f1"]}


def review_texts(questions: Questions, predicted: dict[str, str]) -> Review:
    """Return the review of answers by question id. Unanswered questions count as in the official script."""
    by_question = scores_by_question(predicted, golds_of(questions), questions.version)
    items = [item for item in questions.items if item.id in by_question]
    table = np.array([by_question[item.id] for item in items]).reshape(-1, 2)
    answered = dataclasses.replace(questions, items=items)
    return _review(answered, [predicted.get(item.id, "") for item in items], table, [None] * len(items), None)


def review_answers(questions: Questions, answers: QuestionAnswers) -> Review:
    """Return the review of the answers of a model."""
    predicted = answers.by_id(questions)
    by_question = scores_by_question(predicted, golds_of(questions), questions.version)
    table = np.array([by_question[item.id] for item in questions.items])
    return _review(questions, list(predicted.values()), table, answers.spans, answers.confidence)


def _review(
    questions: Questions,
    predicted: list[str],
    table: np.ndarray,
    spans: list[Candidate | None] | list[None],
    confidence: np.ndarray | None,
) -> Review:
    items, golds = questions.items, golds_of(questions)
    answered = np.array([bool(item.golds) for item in items])
    refused = np.array(list(scores_by_question(dict.fromkeys(golds, ""), golds, questions.version).values()))
    sure = np.ones(len(items)) if confidence is None else confidence

    def case(i: int) -> Case:
        item, span = items[i], spans[i]
        right = list(dict.fromkeys(filter(str.strip, item.golds)))
        return Case(
            item.id,
            (TextPart("question", item.question), _context(item, span)),
            " | ".join(right) or "(no answer)",
            predicted[i] or "(no answer)",
            None if confidence is None else float(confidence[i]),
        )

    return Review(
        unit="questions",
        main=("f1",),
        resample=lambda at: mean_scores(table[at], answered[at]),
        wrongness=np.where(table[:, 0] == 1, 0.0, (1 - table[:, 1]) * sure + 1e-9),
        case=case,
        scale=100.0,
        shares=("exact_match",),
        baseline=Baseline("never an answer", mean_scores(refused, answered)),
        certainty=None
        if confidence is None
        else Certainty(confidence, table[:, 0] == 1, "answers, right by exact match"),
        uncalibrated="" if confidence is not None else "The answers come without a probability.",
    )


def _context(item: Question, span: Candidate | None) -> TextPart:
    """Return the context with both answers marked; of a long context, the text around them."""
    marks = [Mark(place, place + len(text), "expected") for text, place in item.answers[:1] if place >= 0]
    marks += [] if span is None else [Mark(span.start, span.end, "given")]
    if len(item.context) <= MOST_CONTEXT:
        return TextPart("context", item.context, tuple(marks))
    text, shown, end = "", [], 0
    for mark in sorted(marks, key=lambda mark: mark.start) or [Mark(0, 0, "given")]:
        start = max(end, mark.start - AROUND)
        text += ("" if start == end else " \u2026 ") + item.context[start : max(end, mark.end + AROUND)]
        end = max(end, min(mark.end + AROUND, len(item.context)))
        moved = len(text) - end  # offset from the context to the excerpt
        shown.append(Mark(mark.start + moved, mark.end + moved, mark.kind))
    return TextPart("context (excerpt)", text + ("" if end == len(item.context) else " \u2026"), tuple(shown))
