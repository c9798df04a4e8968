"""Next-sentence pairs as create_instances_from_document of google-research/bert makes them, many at a time.

A and B are slices of one flat array of tokens, so that whole blocks of rows are filled at once. What differs:

- The random document is drawn among the others at once, not in ten tries. In a part of one document, B comes from
  another place of it; where there is no other place, the true next is taken, or nothing if there is none.
- A sentence of more than twice the length of a row is cut into sentences of that length beforehand, so that no more of
  it is lost than of others.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class TokenizedText:
    """Documents as one array of ids.

    tokens     all ids, in order
    sentences  where each sentence starts in `tokens`, and the end
    documents  where each document starts in `sentences`, and the end; no document is empty
    """

    tokens: np.ndarray
    sentences: np.ndarray
    documents: np.ndarray


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Slices of `TokenizedText.tokens`, cut to fit; `truncated` counts the tokens that were cut off."""

    a_start: np.ndarray
    a_length: np.ndarray
    b_start: np.ndarray
    b_length: np.ndarray
    random_next: np.ndarray
    one_sentence: np.ndarray  # there was no true next to choose
    same_document: np.ndarray  # a random next from the same document, for want of another
    truncated: int
    without_partner: int  # lone sentences with nothing to pair them with

    def __len__(self) -> int:
        return len(self.a_start)


def cut_long_sentences(sentences: np.ndarray, documents: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Sentence and document boundaries with none longer than 2 * `length` tokens, and how many were cut."""
    lengths = np.diff(sentences)
    pieces = np.where(lengths > 2 * length, -(-lengths // length), 1)
    if not (pieces > 1).any():
        return sentences, documents, 0
    first = np.concatenate([[0], np.cumsum(pieces)])  # the first piece of each sentence
    within = np.arange(first[-1]) - np.repeat(first[:-1], pieces)
    starts = np.repeat(sentences[:-1], pieces) + within * length
    return np.append(starts, sentences[-1]), first[documents], int((pieces > 1).sum())


def draw_pairs(text: TokenizedText, *, length: int, short_seq_prob: float, rng: np.random.Generator) -> Pairs:
    """The pairs of one pass over all documents, for rows of `length` tokens. Devlin et al. 2018, A.2."""
    room = length - 3
    cum, documents = text.sentences, text.documents
    count = len(documents) - 1
    target = np.where(rng.random(count) < short_seq_prob, rng.integers(2, room, count, endpoint=True), room)
    sizes = np.diff(documents)
    document = np.repeat(np.arange(count), sizes)  # of each sentence

    # For a chunk starting at each sentence: where it would end, where A would end, and which B it would have.
    starts = np.arange(len(document))
    ends = np.searchsorted(cum, cum[:-1] + target[document], side="left")
    ends = np.clip(ends, starts + 1, documents[document + 1])
    a_ends = starts + 1 + (rng.random(len(starts)) * (ends - starts - 1)).astype(np.int64)
    random_next = (ends - starts == 1) | (rng.random(len(starts)) < 0.5)
    alone = (count == 1) & (ends - starts == sizes[document])  # nothing to draw a random next from
    random_next &= ~alone
    following = np.where(random_next, a_ends, ends).tolist()  # sentences that were not used are put back

    # Only the chunks that are reached become pairs.
    reached, at, stop = [], 0, len(following)
    while at < stop:
        reached.append(at)
        at = following[at]
    chosen = np.array(reached, np.int64)
    lone = alone[chosen] & (ends[chosen] - chosen == 1)
    chosen = chosen[~lone]
    a_ends, ends, random_next = a_ends[chosen], ends[chosen], random_next[chosen]

    b_first, b_end = _random_segments(text, chosen, a_ends, ends, target, document, rng)
    b_first, b_end = np.where(random_next, b_first, a_ends), np.where(random_next, b_end, ends)
    a_start, a_length = cum[chosen], cum[a_ends] - cum[chosen]
    b_start, b_length = cum[b_first], cum[b_end] - cum[b_first]

    # Tokens leave the longer one first, each time at a random end.
    b_kept = np.minimum(b_length, np.maximum(room - a_length, room // 2))
    a_kept = np.minimum(a_length, room - b_kept)
    a_cut, b_cut = a_length - a_kept, b_length - b_kept
    return Pairs(
        a_start=a_start + rng.binomial(a_cut, 0.5),
        a_length=a_kept,
        b_start=b_start + rng.binomial(b_cut, 0.5),
        b_length=b_kept,
        random_next=random_next,
        one_sentence=ends - chosen == 1,
        same_document=random_next & (count == 1),
        truncated=int(a_cut.sum() + b_cut.sum()),
        without_partner=int(lone.sum()),
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
    """First sentence and end of a random B for each chunk, as long as the target leaves room for."""
    cum, documents = text.sentences, text.documents
    count = len(documents) - 1
    own = document[starts]
    draw = rng.random(len(starts))
    if count > 1:
        other = rng.integers(0, count - 1, len(starts))
        other += other >= own
        first = documents[other] + (draw * np.diff(documents)[other]).astype(np.int64)
    else:  # any sentence outside of the chunk
        other = own
        sentences = documents[-1]
        outside = np.maximum(sentences - (ends - starts), 1)
        first = (ends + (draw * outside).astype(np.int64)) % sentences
    wanted = target[own] - (cum[a_ends] - cum[starts])
    end = np.searchsorted(cum, cum[first] + wanted, side="left")
    return first, np.clip(end, first + 1, documents[other + 1])


def fill_rows(
    text: TokenizedText, pairs: Pairs, rows: slice, *, length: int, cls: int, sep: int, pad: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """tokens (N L), lengths (N) and segment_b (N) of some pairs: [CLS] A [SEP] B [SEP] [PAD] ..."""
    a_start, a_length = pairs.a_start[rows, None], pairs.a_length[rows, None]
    b_start, b_length = pairs.b_start[rows, None], pairs.b_length[rows, None]
    segment_b = a_length + 2  # N 1
    lengths = segment_b + b_length + 1
    columns = np.arange(length)
    source = columns + np.where(columns < segment_b, a_start - 1, b_start - segment_b)  # N L
    tokens = np.take(text.tokens, source, mode="clip")
    tokens[columns >= lengths] = pad
    row = np.arange(len(tokens))
    tokens[:, 0] = cls
    tokens[row, segment_b[:, 0] - 1] = sep
    tokens[row, lengths[:, 0] - 1] = sep
    return tokens, lengths[:, 0], segment_b[:, 0]
