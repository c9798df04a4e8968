"""What both sides of a conversion are run on: random tokens, and texts as each side's own tokenizer encodes them."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from bert_jax.errors import UserError
from bert_jax.pretrained import Pretrained
from bert_jax.text.tokenizer import Tokenizer

PROOF_ROWS, PROOF_LENGTH = 3, 160  # longer than ModernBERT's local attention sees
TEXT_PAIRS = (
    ("A quick brown fox jumps over 12 lazy dogs.", "Does the dog (the one in São Paulo) mind?"),
    ("Where is it?", "東京は日本の首都です。 Привет, мир!"),
)
WORDS_PER_TEXT = 5  # of the vocabulary, in a text that is made of it
TextPair = tuple[str, str | None]  # a text, and its pair


@dataclasses.dataclass(frozen=True)
class ProofBatch:
    """Tokens in rows of unequal length. `mask` is True where there is one."""

    tokens: np.ndarray
    segments: np.ndarray
    mask: np.ndarray


@dataclasses.dataclass(frozen=True)
class EncodedText:
    """A row as a tokenizer encodes it: an id and a segment for each token."""

    ids: list[int]
    segments: list[int]


def random_batch(pretrained: Pretrained, rows: int = PROOF_ROWS, length: int = PROOF_LENGTH) -> ProofBatch:
    """Return random tokens, the same for the same model. The padding's id stands at padding only."""
    rng = np.random.default_rng(0)
    model = pretrained.model
    length = min(length, model.max_length)
    pad = _pad(pretrained)
    lengths = np.linspace(length, min(length, 2), rows).astype(int)
    mask = np.arange(length) < lengths[:, None]
    tokens = rng.integers(0, model.vocab_size - 1, (rows, length))
    tokens = np.where(mask, tokens + (tokens >= pad), pad).astype(np.int32)
    half = np.arange(length) >= lengths[:, None] // 2
    return ProofBatch(tokens, (half & mask & (model.segments > 1)).astype(np.int32), mask)


def proof_rows(pretrained: Pretrained) -> list[TextPair]:
    """Return texts and pairs that fit into a row of the model: of several scripts, and of words of its vocabulary.

    Empty where the model has no tokenizer.
    """
    tokenizer = pretrained.tokenizer
    if tokenizer is None:
        return []
    rng = np.random.default_rng(0)
    known = np.setdiff1d(np.arange(tokenizer.vocab_size), tokenizer.special.all())
    own = [tokenizer.decode(rng.choice(known, WORDS_PER_TEXT).tolist()) for _ in range(4)]
    pairs = [*TEXT_PAIRS, (own[0], own[1]), (own[2], own[3]), (tokenizer.decode(known[-1:].tolist()), "a")]
    rows: list[TextPair] = [row for a, b in pairs for row in ((a, None), (a, b))]
    longest = min(PROOF_LENGTH, pretrained.max_length, pretrained.model.max_length)
    return [
        row
        for row, encoded in zip(rows, encode_text_pairs(tokenizer, rows), strict=True)
        if len(encoded.ids) <= longest
    ]


def encode_text_pairs(tokenizer: Tokenizer, rows: Iterable[TextPair]) -> list[EncodedText]:
    """Return the rows, uncut, as a tokenizer of ours encodes them."""
    found = []
    for text, pair in rows:
        [encoding] = tokenizer.encode([text], None if pair is None else [pair], max_length=1 << 20)
        found.append(EncodedText(encoding.ids, encoding.segments))
    return found


def require_same_encodings(
    pretrained: Pretrained, rows: Sequence[TextPair], theirs: Sequence[EncodedText], where: str
) -> list[EncodedText]:
    """Return the rows as the model's own tokenizer encodes them.

    Raises UserError where those of `where` have other tokens, or other segments for a model that tells them apart.
    """
    assert pretrained.tokenizer is not None
    ours = encode_text_pairs(pretrained.tokenizer, rows)
    for row, one, other in zip(rows, ours, theirs, strict=True):
        told = " and ".join(repr(text) for text in row if text is not None)
        if one.ids != other.ids:
            raise UserError(
                f"{where}: its tokenizer makes {_clipped(other.ids)} of {told}, that of {pretrained.where} "
                f"{_clipped(one.ids)}. Nothing was left behind"
            )
        if one.segments != other.segments and pretrained.model.segments > 1:
            raise UserError(
                f"{where}: the segments of {told} are {_clipped(other.segments)} there, {_clipped(one.segments)} for "
                f"{pretrained.where}. Nothing was left behind"
            )
    return ours


def batch_of(pretrained: Pretrained, encoded: Sequence[EncodedText]) -> ProofBatch:
    """Return rows of unequal length as one batch."""
    lengths = np.array([len(row.ids) for row in encoded])
    mask = np.arange(lengths.max()) < lengths[:, None]
    tokens, segments = np.full(mask.shape, _pad(pretrained), np.int32), np.zeros(mask.shape, np.int32)
    tokens[mask] = np.concatenate([row.ids for row in encoded])
    segments[mask] = np.concatenate([row.segments for row in encoded])
    return ProofBatch(tokens, segments, mask)


def _pad(pretrained: Pretrained) -> int:
    return pretrained.tokenizer.special.pad if pretrained.tokenizer else max(pretrained.model.first_position - 1, 0)


def _clipped(numbers: Sequence[int], most: int = 12) -> str:
    return " ".join(map(str, numbers[:most])) + " ..." * (len(numbers) > most)
