"""Draw pairs of segments for next sentence prediction and for sentence order, many at a time.

A and B are slices of one flat array of tokens, so that blocks of rows are filled at once. Next sentence pairs follow
create_instances_from_document of google-research/bert, with these differences:

- The random document is drawn from the other documents directly, not in ten tries. In a part of one document, B comes
  from elsewhere in the document. If there is no elsewhere, B is the true next segment, and a lone sentence is dropped.
- A sentence of more than twice the length of a row is first cut into sentences of the length of a row, so that no more
  of it is lost than of other sentences.

Sentence order follows google-research/albert, except for a chunk of one sentence: there B comes from another document,
here the sentence is divided at a random token, so that all pairs are consecutive segments.
"""

import dataclasses

import numpy as np

from data_prep.examples.tokenized import Frame, TokenizedText, follow_chain


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Pairs of slices of `TokenizedText.tokens`, cut to fit into a row. `truncated` counts the tokens cut off."""

    a_start: np.ndarray
    a_length: np.ndarray
    b_start: np.ndarray
    b_length: np.ndarray
    label: np.ndarray  # True if B is a random next segment, or if A and B are swapped
    one_sentence: np.ndarray  # True if the chunk was one sentence
    same_document: np.ndarray  # True for a random next segment from the only document
    truncated: int
    without_partner: int  # lone sentences that no pair could be made of

    def __len__(self) -> int:
        return len(self.a_start)


@dataclasses.dataclass(frozen=True)
class _Chunks:
    """The chunk of sentences that would start at each sentence of a text."""

    target: np.ndarray  # number of tokens of a chunk, by document
    document: np.ndarray  # index of the document, by sentence
    ends: np.ndarray  # sentence after the chunk, by sentence
    a_ends: np.ndarray  # sentence after segment A, by sentence


def draw_pairs(text: TokenizedText, *, room: int, short_seq_prob: float, rng: np.random.Generator) -> Pairs:
    """Draw next sentence pairs of at most `room` tokens in one pass over all documents. Devlin et al. 2018, A.2."""
    cum, documents = text.sentences, text.documents
    chunks = _draw_chunks(text, room, short_seq_prob, rng)
    ends, a_ends, document = chunks.ends, chunks.a_ends, chunks.document
    starts = np.arange(len(document))
    random_next = (ends - starts == 1) | (rng.random(len(starts)) < 0.5)
    alone = (len(documents) == 2) & (ends - starts == np.diff(documents)[document])  # no text is left for B
    random_next &= ~alone
    chosen = follow_chain(np.where(random_next, a_ends, ends))  # the sentences after A are used again
    lone = alone[chosen] & (ends[chosen] - chosen == 1)
    chosen = chosen[~lone]
    a_ends, ends, random_next = a_ends[chosen], ends[chosen], random_next[chosen]

    b_first, b_end = _random_segments(text, chosen, a_ends, ends, chunks.target, document, rng)
    b_first, b_end = np.where(random_next, b_first, a_ends), np.where(random_next, b_end, ends)
    return _cut_to_fit(
        (cum[chosen], cum[a_ends] - cum[chosen]),
        (cum[b_first], cum[b_end] - cum[b_first]),
        room,
        rng,
        label=random_next,
        one_sentence=ends - chosen == 1,
        same_document=random_next & (len(documents) == 2),
        without_partner=int(lone.sum()),
    )


def draw_sentence_order(text: TokenizedText, *, room: int, short_seq_prob: float, rng: np.random.Generator) -> Pairs:
    """Draw consecutive segments in one pass over all documents, half of them swapped. Lan et al. 2019 (ALBERT), 3.1.

    A last sentence of one token that is a chunk by itself cannot be divided, and is counted in `without_partner`.
    """
    cum = text.sentences
    chunks = _draw_chunks(text, room, short_seq_prob, rng)
    chosen = follow_chain(chunks.ends)
    start, end, lone = cum[chosen], cum[chunks.ends[chosen]], chunks.ends[chosen] - chosen == 1
    inside = start + 1 + (rng.random(len(chosen)) * (end - start - 1)).astype(np.int64)
    middle = np.where(lone, inside, cum[chunks.a_ends[chosen]])
    swapped = rng.random(len(chosen)) < 0.5
    both = end - start > 1
    start, middle, end, lone, swapped = start[both], middle[both], end[both], lone[both], swapped[both]
    return _cut_to_fit(
        (np.where(swapped, middle, start), np.where(swapped, end - middle, middle - start)),
        (np.where(swapped, start, middle), np.where(swapped, middle - start, end - middle)),
        room,
        rng,
        label=swapped,
        one_sentence=lone,
        same_document=np.zeros(len(start), bool),
        without_partner=int((~both).sum()),
    )


def _draw_chunks(text: TokenizedText, room: int, short_seq_prob: float, rng: np.random.Generator) -> _Chunks:
    """Draw the length of the chunks of each document, and the boundary between A and B of each possible chunk."""
    cum, documents = text.sentences, text.documents
    count = len(documents) - 1
    target = np.where(rng.random(count) < short_seq_prob, rng.integers(2, room, count, endpoint=True), room)
    document = np.repeat(np.arange(count), np.diff(documents))
    starts = np.arange(len(document))
    ends = np.searchsorted(cum, cum[:-1] + target[document], side="left")
    ends = np.clip(ends, starts + 1, documents[document + 1])
    a_ends = starts + 1 + (rng.random(len(starts)) * (ends - starts - 1)).astype(np.int64)
    return _Chunks(target, document, ends, a_ends)


def _cut_to_fit(
    a: tuple[np.ndarray, np.ndarray],
    b: tuple[np.ndarray, np.ndarray],
    room: int,
    rng: np.random.Generator,
    *,
    label: np.ndarray,
    one_sentence: np.ndarray,
    same_document: np.ndarray,
    without_partner: int,
) -> Pairs:
    """Remove tokens, from the longer segment first and each at a random end, until a pair has `room` tokens.

    `a` and `b` are (starts, lengths).
    """
    (a_start, a_length), (b_start, b_length) = a, b
    b_kept = np.minimum(b_length, np.maximum(room - a_length, room // 2))
    a_kept = np.minimum(a_length, room - b_kept)
    a_cut, b_cut = a_length - a_kept, b_length - b_kept
    return Pairs(
        a_start=a_start + rng.binomial(a_cut, 0.5),
        a_length=a_kept,
        b_start=b_start + rng.binomial(b_cut, 0.5),
        b_length=b_kept,
        label=label,
        one_sentence=one_sentence,
        same_document=same_document,
        truncated=int(a_cut.sum() + b_cut.sum()),
        without_partner=without_partner,
    )


def _random_segments(
    text: TokenizedText,
    starts: np.ndarray,
    a_ends: np.ndarray,
    ends: np.ndarray,
    target: np.ndarray,
    document: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the first sentence and the end of a random B for each chunk, as long as A leaves room for."""
    cum, documents = text.sentences, text.documents
    count = len(documents) - 1
    chunk_document = document[starts]
    draw = rng.random(len(starts))
    if count > 1:
        other = rng.integers(0, count - 1, len(starts))
        other += other >= chunk_document
        first = documents[other] + (draw * np.diff(documents)[other]).astype(np.int64)
    else:  # any sentence outside the chunk
        other = chunk_document
        sentences = documents[-1]
        outside = np.maximum(sentences - (ends - starts), 1)
        first = (ends + (draw * outside).astype(np.int64)) % sentences
    length = target[chunk_document] - (cum[a_ends] - cum[starts])
    end = np.searchsorted(cum, cum[first] + length, side="left")
    return first, np.clip(end, first + 1, documents[other + 1])


def fill_pairs(text: TokenizedText, pairs: Pairs, rows: slice, frame: Frame) -> dict[str, np.ndarray]:
    """Return the fields of some pairs: [CLS] A [SEP] B [SEP] [PAD] ..., with `frame.separators` between A and B."""
    a_start, a_length = pairs.a_start[rows, None], pairs.a_length[rows, None]
    b_start, b_length = pairs.b_start[rows, None], pairs.b_length[rows, None]
    segment_b = a_length + 1 + frame.separators  # N 1
    lengths = segment_b + b_length + 1
    columns = np.arange(frame.length)
    source = columns + np.where(columns < segment_b, a_start - 1, b_start - segment_b)  # N L
    tokens = np.take(text.tokens, source, mode="clip")
    tokens[columns >= lengths] = frame.pad
    row = np.arange(len(tokens))
    tokens[:, 0] = frame.cls
    for separator in range(frame.separators):
        tokens[row, segment_b[:, 0] - 1 - separator] = frame.sep
    tokens[row, lengths[:, 0] - 1] = frame.sep
    return {"tokens": tokens, "length": lengths[:, 0], "segment_b": segment_b[:, 0], "next_label": pairs.label[rows]}
