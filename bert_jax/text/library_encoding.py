"""Encoding with a `tokenizers.Tokenizer`: ids in one array, control tokens around texts."""

import itertools
from collections.abc import Sequence

import numpy as np
import tokenizers

from bert_jax.text.rust_errors import as_user_errors
from bert_jax.text.token_spans import extend_spans
from bert_jax.text.tokenizer import Encoding, Side, SpecialIds, Tokenizer
from bert_jax.text.truncation import check_max_length, truncated_lengths
from bert_jax.text.word_cache import replace_surrogates

TEXTS_PER_CALL = 1 << 12  # the library's encodings take a hundred times the memory of the ids
TEXTS_WITH_OFFSETS_PER_CALL = 1 << 10


def flat_ids(backend: tokenizers.Tokenizer, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids of all texts in one int32 array, without control tokens, and int64 offsets.

    Text i is `flat[offsets[i]:offsets[i + 1]]`.
    """
    chunks, counts = [np.zeros(0, np.int32)], [0]
    for first in range(0, len(texts), TEXTS_PER_CALL):
        chunk = list(map(replace_surrogates, texts[first : first + TEXTS_PER_CALL]))
        with as_user_errors():
            ids_of_texts = [encoding.ids for encoding in backend.encode_batch_fast(chunk, add_special_tokens=False)]
        lengths = [len(ids) for ids in ids_of_texts]
        chunks.append(np.fromiter(itertools.chain.from_iterable(ids_of_texts), np.int32, sum(lengths)))
        counts += lengths
    return np.concatenate(chunks), np.cumsum(counts, dtype=np.int64)


def flat_spans(backend: tokenizers.Tokenizer, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (ids, spans, offsets): as `flat_ids`, with each token's start and end in characters of its text.

    The spans are int32 (tokens, 2).
    """
    ids, spans, counts = [np.zeros(0, np.int32)], [np.zeros((0, 2), np.int32)], [0]
    for first in range(0, len(texts), TEXTS_WITH_OFFSETS_PER_CALL):
        chunk = list(map(replace_surrogates, texts[first : first + TEXTS_WITH_OFFSETS_PER_CALL]))
        with as_user_errors():
            encodings = backend.encode_batch(chunk, add_special_tokens=False)
        for text, encoding in zip(chunk, encodings, strict=True):
            ids.append(np.array(encoding.ids, np.int32))
            spans.append(extend_spans(text, token_offsets(backend, text, encoding)))
            counts.append(len(encoding))
    return np.concatenate(ids), np.concatenate(spans), np.cumsum(counts, dtype=np.int64)


def token_offsets(backend: tokenizers.Tokenizer, text: str, encoding: tokenizers.Encoding) -> np.ndarray:
    """Return the start and end of each token in characters of `text`: int32 (tokens, 2).

    The library's Precompiled step counts control characters that it deletes at the start of a text twice, so such a
    text is encoded again without them.
    """
    offsets = np.array(encoding.offsets, np.int32).reshape(-1, 2)
    if text[:1].isprintable() or backend.normalizer is None:
        return offsets
    with as_user_errors():
        normalizer = backend.normalizer
        deleted = itertools.takewhile(lambda c: not c.isprintable() and not normalizer.normalize_str(c), text)
        start = sum(1 for _ in deleted)
        again = backend.encode(text[start:], add_special_tokens=False) if start else encoding
    same_ids = again.ids == encoding.ids
    return np.array(again.offsets, np.int32).reshape(-1, 2) + np.int32(start) if same_ids else offsets


def encode_with_control_tokens(
    tokenizer: Tokenizer,
    backend: tokenizers.Tokenizer,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    *,
    max_length: int,
) -> list[Encoding]:
    """Encode each text (with its pair) between the control tokens of `tokenizer`.

    It is cut to `max_length` at the tokenizer's truncation side, the longer text first.
    """
    special, separators, side = tokenizer.special, tokenizer.separators, tokenizer.truncation_side
    check_max_length(max_length, pair=pairs is not None, separators=separators)
    with as_user_errors():
        first = backend.encode_batch(list(map(replace_surrogates, texts)), add_special_tokens=False)
    if pairs is None:
        return [_single(a, special, max_length, side) for a in first]
    with as_user_errors():
        second = backend.encode_batch(list(map(replace_surrogates, pairs)), add_special_tokens=False)
    segments = tokenizer.segments
    return [_pair(a, b, special, separators, segments, max_length, side) for a, b in zip(first, second, strict=True)]


def _single(a: tokenizers.Encoding, special: SpecialIds, max_length: int, side: Side) -> Encoding:
    length = min(len(a), max_length - 2)
    kept = _kept(len(a), length, side)
    ids = [special.cls, *a.ids[kept], special.sep]
    return Encoding(ids, [0] * len(ids), [(0, 0), *a.offsets[kept], (0, 0)], len(a) - length)


def _pair(
    a: tokenizers.Encoding,
    b: tokenizers.Encoding,
    special: SpecialIds,
    separators: int,
    segments: int,
    max_length: int,
    side: Side,
) -> Encoding:
    length_a, length_b = (int(n) for n in truncated_lengths(len(a), len(b), max_length - 2 - separators))
    kept_a, kept_b = _kept(len(a), length_a, side), _kept(len(b), length_b, side)
    none = (0, 0)
    return Encoding(
        ids=[special.cls, *a.ids[kept_a], *[special.sep] * separators, *b.ids[kept_b], special.sep],
        segments=[0] * (length_a + 1 + separators) + [segments - 1] * (length_b + 1),
        offsets=[none, *a.offsets[kept_a], *[none] * separators, *b.offsets[kept_b], none],
        dropped=len(a) + len(b) - length_a - length_b,
    )


def _kept(tokens: int, length: int, side: Side) -> slice:
    """Return the slice that keeps `length` of `tokens` tokens, cutting at `side`."""
    return slice(tokens - length, tokens) if side == "left" else slice(length)
