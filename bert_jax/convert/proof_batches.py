"""Batches for comparing both sides of a conversion: random tokens, and texts encoded by each side's tokenizer."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from bert_jax.errors import UserError
from bert_jax.pretrained import Pretrained
from bert_jax.text.tokenizer import Tokenizer

PROOF_ROWS, PROOF_LENGTH = 3, 160  # longer than ModernBERT's local attention window
TEXT_PAIRS = (
    ("A quick brown fox jumps over 12 lazy dogs.", "Does the dog (the one in São Paulo) mind?"),
    ("Where is it?", "東京は日本の首都です。 Привет, мир!"),
)
WORDS_PER_TEXT = 5  # entries of the vocabulary that a random text is made of
TextPair = tuple[str, str | None]  # a text, and the second text of a pair


@dataclasses.dataclass(frozen=True)
class ProofBatch:
    """Tokens and segments in rows of unequal length. `mask` is True where there is a token."""

    tokens: np.ndarray
    segments: np.ndarray
    mask: np.ndarray


@dataclasses.dataclass(frozen=True)
class EncodedText:
    """The ids and segments of the tokens of one row."""

    ids: list[int]
    segments: list[int]


def random_batch(pretrained: Pretrained, rows: int = PROOF_ROWS, length: int = PROOF_LENGTH) -> ProofBatch:
    """Return a batch of random tokens, the same for the same model. The id of padding occurs at padding only."""
    rng = np.random.default_rng(0)
    model = pretrained.model
    length = min(length, model.max_length)
    pad = _pad(pretrained)
    lengths = np.linspace(length, min(length, 2), rows).astype(int)
    mask = np.arange(length) < lengths[:, None]
    tokens = rng.integers(0, model.vocab_size - 1, (rows, length))
    tokens = np.where(mask, tokens + (tokens >= pad), pad).astype(np.int32)
    second_half = np.arange(length) >= lengths[:, None] // 2
    segments = (second_half & mask & (model.segments > 1)).astype(np.int32)
    return ProofBatch(tokens=tokens, segments=segments, mask=mask)


def proof_rows(pretrained: Pretrained) -> list[TextPair]:
    """Return texts and pairs that fit into a row of the model, in several scripts and in words of its vocabulary.

    Returns an empty list where the model has no tokenizer.
    """
    tokenizer = pretrained.tokenizer
    if tokenizer is None:
        return []
    rng = np.random.default_rng(0)
    ids = np.setdiff1d(np.arange(tokenizer.vocab_size), tokenizer.special.all())
    texts = [tokenizer.decode(rng.choice(ids, WORDS_PER_TEXT).tolist()) for _ in range(4)]
    pairs = [*TEXT_PAIRS, (texts[0], texts[1]), (texts[2], texts[3]), (tokenizer.decode(ids[-1:].tolist()), "a")]
    rows: list[TextPair] = [row for a, b in pairs for row in ((a, None), (a, b))]
    longest = min(PROOF_LENGTH, pretrained.max_length, pretrained.model.max_length)
    return [
        row
        for row, encoded in zip(rows, encode_text_pairs(tokenizer, rows), strict=True)
        if len(encoded.ids) <= longest
    ]


def encode_text_pairs(tokenizer: Tokenizer, rows: Iterable[TextPair]) -> list[EncodedText]:
    """Encode the rows, uncut, with one of our tokenizers."""
    encoded = []
    for text, pair in rows:
        [encoding] = tokenizer.encode([text], None if pair is None else [pair], max_length=1 << 20)
        encoded.append(EncodedText(encoding.ids, encoding.segments))
    return encoded


def require_same_encodings(
    pretrained: Pretrained, rows: Sequence[TextPair], theirs: Sequence[EncodedText], where: str
) -> list[EncodedText]:
    """Return the rows encoded by the model's own tokenizer.

    Raises UserError where `theirs`, encoded by the tokenizer of `where`, has other ids, or other segments for a model
    that has several.
    """
    assert pretrained.tokenizer is not None
    ours = encode_text_pairs(pretrained.tokenizer, rows)
    for row, our_row, their_row in zip(rows, ours, theirs, strict=True):
        texts = " and ".join(repr(text) for text in row if text is not None)
        if our_row.ids != their_row.ids:
            raise UserError(
                f"{where}: its tokenizer makes {_clipped(their_row.ids)} of {texts}, that of {pretrained.where} "
                f"{_clipped(our_row.ids)}. Nothing was left behind"
            )
        if our_row.segments != their_row.segments and pretrained.model.segments > 1:
            raise UserError(
                f"{where}: the segments of {texts} are {_clipped(their_row.segments)} there, "
                f"{_clipped(our_row.segments)} for {pretrained.where}. Nothing was left behind"
            )
    return ours


def batch_of(pretrained: Pretrained, encoded: Sequence[EncodedText]) -> ProofBatch:
    """Return the encoded rows as one padded batch."""
    lengths = np.array([len(row.ids) for row in encoded])
    mask = np.arange(lengths.max()) < lengths[:, None]
    tokens, segments = np.full(mask.shape, _pad(pretrained), np.int32), np.zeros(mask.shape, np.int32)
    tokens[mask] = np.concatenate([row.ids for row in encoded])
    segments[mask] = np.concatenate([row.segments for row in encoded])
    return ProofBatch(tokens=tokens, segments=segments, mask=mask)


def _pad(pretrained: Pretrained) -> int:
    return pretrained.tokenizer.special.pad if pretrained.tokenizer else max(pretrained.model.first_position - 1, 0)


def _clipped(numbers: Sequence[int], most: int = 12) -> str:
    return " ".join(map(str, numbers[:most])) + (" ..." if len(numbers) > most else "")
