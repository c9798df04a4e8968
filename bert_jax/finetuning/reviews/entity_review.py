"""Reviews of entities: their scores, and the missed and spurious ones of each sentence."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bert_jax.data.labelled.conll import Sentence, Sentences, tags_of
from bert_jax.data.labelled.entities import Span
from bert_jax.data.labelled.tagset import Tagset, mean_over
from bert_jax.finetuning.reviews.review import Baseline, Case, Certainty, ClassCounts, Mark, Review, TextPart
from bert_jax.tasks.probabilities import softmax
from bert_jax.tasks.scores import entity_counts, scores_of_entity_counts


def tag_counts(
    sentences: Sentences, tokens: Sequence[Sequence[int]], predicted: Sequence[Sequence[Span]]
) -> np.ndarray:
    """Return int64 (sentences, 5): entities right, predicted and expected (scores.entity_counts), words right, words.

    tokens  token of each word of each sentence, -1 for words without a token, which are not counted
    """
    counts = np.zeros((len(sentences), 5), np.int64)
    for i, (sentence, word_tokens, spans) in enumerate(zip(sentences.items, tokens, predicted, strict=True)):
        gold_tags, tags = (tags_of(entities, len(word_tokens)) for entities in (sentence.entities, spans))
        right = [gold == tag for gold, tag, token in zip(gold_tags, tags, word_tokens, strict=True) if token >= 0]
        counts[i] = (*entity_counts(sentence.entities, spans), sum(right), len(right))
    return counts


def tag_scores(counts: np.ndarray) -> dict[str, float]:
    """Return the metrics of `tag_counts` of some sentences, and "main"."""
    scores = scores_of_entity_counts(counts[:, :3])
    right, words = counts[:, 3:].sum(axis=0).tolist()
    return {**scores, "accuracy": right / max(1, words), "main": scores["f1"]}


def review_entities(
    sentences: Sentences, tokens: Sequence[Sequence[int]], tagset: Tagset, outputs: np.ndarray
) -> Review:
    """Return the review of the sentences with their missed and spurious entities. `tokens`: see `tag_counts`."""
    probabilities = softmax(outputs.astype(np.float64))
    classes, sure = probabilities.argmax(axis=-1).tolist(), probabilities.max(axis=-1).tolist()
    predicted = [tagset.entities(word_tokens, classes) for word_tokens in tokens]
    counts = tag_counts(sentences, tokens, predicted)
    nothing = tag_counts(sentences, tokens, [[] for _ in predicted])
    expected = [sentence.entities for sentence in sentences.items]

    def wrong(i: int) -> tuple[list[Span], list[Span]]:
        missed = [span for span in expected[i] if span not in predicted[i]]
        return missed, [span for span in predicted[i] if span not in expected[i]]

    def wrongness(i: int) -> float:
        return max((mean_over(span, tokens[i], sure) for spans in wrong(i) for span in spans), default=0.0)

    wrongnesses = np.array([wrongness(i) for i in range(len(predicted))])
    answers = [(i, span) for i, spans in enumerate(predicted) for span in spans]
    return Review(
        unit="sentences",
        main=("f1",),
        resample=lambda at: tag_scores(counts[at]),
        wrongness=wrongnesses,
        case=lambda i: _case(sentences, i, *wrong(i), float(wrongnesses[i])),
        baseline=Baseline("no entity anywhere", tag_scores(nothing)),
        classes=_by_type(expected, predicted),
        certainty=Certainty(
            np.array([mean_over(span, tokens[i], sure) for i, span in answers]),
            np.array([span in expected[i] for i, span in answers], bool),
            "entities found",
        ),
    )


def _by_type(expected: Sequence[Sequence[Span]], predicted: Sequence[Sequence[Span]]) -> tuple[ClassCounts, ...]:
    right, guessed, true = Counter[str](), Counter[str](), Counter[str]()
    for gold, spans in zip(expected, predicted, strict=True):
        right.update(span.label for span in set(gold) & set(spans))
        guessed.update(span.label for span in set(spans))
        true.update(span.label for span in set(gold))
    return tuple(
        ClassCounts(kind, right[kind], guessed[kind], true[kind]) for kind in sorted(guessed.keys() | true.keys())
    )


def _case(sentences: Sentences, i: int, missed: list[Span], spurious: list[Span], confidence: float) -> Case:
    sentence = sentences.items[i]

    def quote(spans: list[Span]) -> str:
        return "; ".join(f"{sentence.text[slice(*_ends(sentence, span))]} ({span.label})" for span in spans)

    marks = [Mark(*_ends(sentence, span), "expected") for span in missed]
    marks += [Mark(*_ends(sentence, span), "given") for span in spurious]
    return Case(
        f"{Path(sentences.source).name} line {sentence.line}",
        (TextPart("sentence", sentence.text, tuple(marks)),),
        f"missed: {quote(missed)}" if missed else "nothing missed",
        f"spurious: {quote(spurious)}" if spurious else "nothing spurious",
        confidence,
    )


def _ends(sentence: Sentence, span: Span) -> tuple[int, int]:
    return sentence.words[span.first][0], sentence.words[span.last - 1][1]
