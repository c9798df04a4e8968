"""Named entities: sentences in windows. The first piece of each word has its label; whole entities are scored."""

import dataclasses
import functools
import itertools
from collections.abc import Sequence

import numpy as np

from bert_jax.data.encoded import NO_LABEL
from bert_jax.data.labelled.conll import TAGGED_SUFFIXES, Sentence, Sentences, read_sentences, word_rule_like
from bert_jax.data.labelled.entities import AS_WRITTEN, first_pieces
from bert_jax.data.labelled.row_files import file_options
from bert_jax.data.labelled.split_files import file_to_score, find_split_files, read_splits
from bert_jax.data.labelled.tagset import Tagset, shown_part
from bert_jax.data.windows import windows_of_texts
from bert_jax.errors import UserError
from bert_jax.finetuning.reviews.entity_review import review_entities, tag_counts, tag_scores
from bert_jax.finetuning.task_data import Examples, ScoringRequest, TaskData
from bert_jax.pretrained import SINGLE_LABEL
from bert_jax.settings.finetune import FinetuneConfig
from bert_jax.task_record import TaskRecord
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.wording import agreeing, counted, none_has


def read_tagging(config: FinetuneConfig, tokenizer: Tokenizer) -> TaskData:
    """Read training and dev sentences; the labels are O, and B- and I- of each type in the training file."""
    words = word_rule_like(find_split_files(config.data, TAGGED_SUFFIXES)[0])
    read = functools.partial(read_sentences, words=words, options=file_options(config))
    train, dev, notes = read_splits(config.data, TAGGED_SUFFIXES, read, config.dev_share, seed=config.split_seed)
    if not train.entity_types:
        raise UserError(f"{train.source}: no entities to learn, every tag is O")
    labels = ("O", *(f"{prefix}-{kind}" for kind in train.entity_types for prefix in "BI"))
    record = TaskRecord.of(name="ner", columns={"text": "text"}, overlap=config.overlap, words=words)
    examples, dev_examples = (
        _examples(sentences, tokenizer, config.length, config.overlap, labels) for sentences in (train, dev)
    )
    remarks = [note for note in (*examples.notes, *dev_examples.notes) if note not in notes]
    return TaskData(
        "token", labels, SINGLE_LABEL, examples, dev_examples, record, [*notes, *remarks, *_no_entity_notes(dev, "dev")]
    )


def read_tagging_dev(request: ScoringRequest) -> Examples:
    """Read sentences to score a model on: a file, or the dev file of a folder."""
    notes: list[str] = []
    path = file_to_score(request.data, TAGGED_SUFFIXES, notes.append)
    words = request.record.words or AS_WRITTEN
    sentences = read_sentences(path, words=words, options=request.reading)
    examples = _examples(sentences, request.tokenizer, request.length, request.record.overlap, request.labels or ())
    return dataclasses.replace(examples, notes=[*notes, *examples.notes, *_no_entity_notes(sentences, "scored")])


def _no_entity_notes(sentences: Sentences, use: str) -> list[str]:
    """Return a remark if no sentence has an entity."""
    if any(sentence.entities for sentence in sentences.items):
        return []
    return [f"{sentences.source}: {none_has(len(sentences), f'{use} sentence', 'entity')}, so F1 can only be 0"]


def _examples(
    sentences: Sentences, tokenizer: Tokenizer, length: int, overlap: int | None, labels: tuple[str, ...]
) -> Examples:
    tagset = Tagset(labels)
    for sentence in sentences.items:
        for span in sentence.entities:
            if span.label not in tagset.types:
                raise UserError(
                    f"{sentences.source} line {sentence.line}: type {span.label!r} is not among "
                    f"{', '.join(tagset.types)} (seen in training)"
                )
    windows = windows_of_texts(tokenizer, [sentence.text for sentence in sentences.items], length, overlap)
    places = windows.best_positions()
    tokens: list[list[int]] = []  # for each word, the index of its first piece in the encoded tokens, or -1
    for sentence, (start, end) in zip(sentences.items, itertools.pairwise(windows.tokens.bounds.tolist()), strict=True):
        piece = first_pieces(windows.tokens.spans[start:end], sentence.words)
        tokens.append((np.where(piece < 0, -1, places[start:end][piece]) if end > start else piece).tolist())
    sentences = _trim_hidden(sentences, tokens)
    token_labels = np.full(len(windows.encoded.tokens), NO_LABEL, np.int32)
    for sentence, word_tokens in zip(sentences.items, tokens, strict=True):
        classes = tagset.classes(sentence.entities, len(sentence.words))
        # If two words share a piece, it has the label of the first.
        shown, first = np.unique(np.array(word_tokens, np.int64), return_index=True)
        token_labels[shown[shown >= 0]] = classes[first[shown >= 0]]
    encoded = dataclasses.replace(windows.encoded, token_labels=token_labels)
    return Examples(
        encoded,
        len(sentences),
        functools.partial(_score, sentences, tokens, tagset),
        functools.partial(review_entities, sentences, tokens, tagset),
        windows.owner,
        notes=sentences.notes,
    )


def _trim_hidden(sentences: Sentences, tokens: Sequence[Sequence[int]]) -> Sentences:
    """Return the sentences with each entity trimmed to its first and last word that has a token.

    Words without a token (WordPiece drops zero-width and replacement characters) can be neither learned nor predicted:
    entities of such words alone are left out, and counted in a note. Raises UserError if no entity is left.
    """
    items: list[Sentence] = []
    hidden: list[tuple[int, str]] = []
    for sentence, word_tokens in zip(sentences.items, tokens, strict=True):
        parts = [(span, shown_part(span, word_tokens)) for span in sentence.entities]
        hidden += [(sentence.line, span.label) for span, part in parts if part is None]
        items.append(dataclasses.replace(sentence, entities=[part for _, part in parts if part is not None]))
    if not hidden:
        return dataclasses.replace(sentences, items=items)
    line, label = hidden[0]
    where = (
        f"{sentences.source}: {counted(len(hidden), 'entity')}, the first ({label}) after line {line}, "
        f"{agreeing(len(hidden), 'is', 'are')} of characters that"
    )
    if not any(sentence.entities for sentence in items):
        raise UserError(f"{where} the tokenizer drops, and no entity is left. Use another tokenizer, or other rows")
    note = f"{where} the tokenizer drops: they are left out"
    return dataclasses.replace(sentences, items=items, notes=[*sentences.notes, note])


def _score(
    sentences: Sentences, tokens: Sequence[Sequence[int]], tagset: Tagset, outputs: np.ndarray
) -> dict[str, float]:
    """Return precision, recall and F1 of entities, and the accuracy of words."""
    classes = outputs.argmax(axis=-1).tolist()
    predicted = [tagset.entities(word_tokens, classes) for word_tokens in tokens]
    return tag_scores(tag_counts(sentences, tokens, predicted))
