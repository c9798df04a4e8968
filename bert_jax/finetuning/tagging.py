"""Entities: sentences in windows, the first piece of each word labelled, whole entities scored."""

import dataclasses
import functools
import itertools

import numpy as np

from bert_jax.convert.pretrained import SINGLE_LABEL
from bert_jax.data.conll import SUFFIXES, Sentences, read_sentences, tags_of, words_like
from bert_jax.data.encoded import NO_LABEL
from bert_jax.data.entities import WRITTEN, first_pieces, split_tag
from bert_jax.data.files import find_split_files, read_splits
from bert_jax.data.windows import windows_of_texts
from bert_jax.errors import UserError
from bert_jax.finetuning.config import FinetuneConfig
from bert_jax.finetuning.data import Asked, Examples, TaskData
from bert_jax.finetuning.entity_review import found_entities, review_entities, tag_counts, tag_scores
from bert_jax.text.tokenizer import Tokenizer


def read_tagging(config: FinetuneConfig, tokenizer: Tokenizer) -> TaskData:
    words = words_like(find_split_files(config.data, SUFFIXES)[0])
    read = functools.partial(read_sentences, words=words, encoding_errors=config.encoding_errors)
    train, dev, notes = read_splits(config.data, SUFFIXES, read, config.dev_share, seed=config.split_seed)
    if not train.kinds:
        raise UserError(f"{train.source}: no entities to learn, every tag is O")
    labels = ("O", *(f"{prefix}-{kind}" for kind in train.kinds for prefix in "BI"))
    record = {"name": "ner", "columns": {"text": "text"}, "overlap": config.overlap, "words": words}
    return TaskData(
        "token",
        labels,
        SINGLE_LABEL,
        _examples(train, tokenizer, config.length, config.overlap, labels),
        _examples(dev, tokenizer, config.length, config.overlap, labels),
        record,
        notes,
    )


def read_tagging_dev(asked: Asked) -> Examples:
    """Sentences to score a model on: a file, or a folder's dev file."""
    train, dev = find_split_files(asked.data, SUFFIXES)
    words = asked.record.get("words", WRITTEN)
    sentences = read_sentences(dev or train, words=words, encoding_errors=asked.encoding_errors)
    return _examples(sentences, asked.tokenizer, asked.length, asked.record.get("overlap"), asked.labels or ())


def _examples(
    sentences: Sentences, tokenizer: Tokenizer, length: int, overlap: int | None, labels: tuple[str, ...]
) -> Examples:
    known = {split_tag(name)[1] or name for name in labels}
    for sentence in sentences.items:
        for span in sentence.entities:
            if span.label not in known:
                raise UserError(
                    f"{sentences.source} line {sentence.line}: type {span.label!r} is not among "
                    f"{', '.join(sorted(known - {'O'}))} (seen in training)"
                )
    windows = windows_of_texts(tokenizer, [sentence.text for sentence in sentences.items], length, overlap)
    places = windows.places()
    at: list[np.ndarray] = []  # of the first piece of each word: its place in the encoded tokens, -1 where it has none
    ids = {label: i for i, label in enumerate(labels)}
    token_labels = np.full(len(windows.encoded.tokens), NO_LABEL, np.int32)
    for sentence, (start, end) in zip(sentences.items, itertools.pairwise(windows.pieces.bounds.tolist()), strict=True):
        token = first_pieces(windows.pieces.spans[start:end], sentence.words)
        own = np.where(token < 0, -1, places[start:end][token]) if end > start else token
        tags = np.array([_id(ids, tag) for tag in tags_of(sentence.entities, len(sentence.words))], np.int32)
        # Of two words that one piece shows, the first has its label.
        shown, first = np.unique(own, return_index=True)
        token_labels[shown[shown >= 0]] = tags[first[shown >= 0]]
        at.append(own)
    encoded = dataclasses.replace(windows.encoded, token_labels=token_labels)
    return Examples(
        encoded,
        len(sentences),
        functools.partial(_score, sentences, at, labels),
        functools.partial(review_entities, sentences, at, labels),
        windows.owner,
        notes=sentences.notes,
    )


def _id(ids: dict[str, int], tag: str) -> int:
    """The class of a tag; that of the bare type where a model from elsewhere has no prefixes."""
    return ids[tag] if tag in ids else ids.get(f"I-{tag[2:]}", ids.get(tag[2:], 0))


def _score(
    sentences: Sentences, at: list[np.ndarray], labels: tuple[str, ...], outputs: np.ndarray
) -> dict[str, float]:
    """Entity-level precision, recall and F1, and the share of words with the right tag."""
    found = found_entities(at, labels, outputs.argmax(axis=-1))
    return tag_scores(tag_counts(sentences, found))
