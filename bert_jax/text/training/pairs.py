"""The most frequent pair of neighbouring pieces is joined, again and again: WordPiece and byte-level BPE learn so.

The `tokenizers` library learns the same way, but numbers characters in the order of a hash table: four runs on the same
text gave four different orders of ids, and ties fall with them. Here the outcome depends on the counts alone.
"""

import heapq
import itertools

MIN_COUNT = 2  # a pair seen once is not worth an entry

Pair = tuple[int, int]


def join_pairs(
    words: list[list[int]], counts: list[int], vocab: list[str], ids: dict[str, int], size: int, prefix: str
) -> list[Pair]:
    """Extends `vocab` and `ids` to `size` entries; the pairs that were joined, in order.

    `words` are the pieces of each word by id and shrink in place, `counts` how often each word is there. What is joined
    to a piece loses its `prefix`.
    """
    merges: list[Pair] = []
    pair_counts: dict[Pair, int] = {}
    holders: dict[Pair, set[int]] = {}  # the words a pair may be found in
    for i, pieces in enumerate(words):
        for pair in itertools.pairwise(pieces):
            pair_counts[pair] = pair_counts.get(pair, 0) + counts[i]
            holders.setdefault(pair, set()).add(i)
    queue = [(-count, pair) for pair, count in pair_counts.items()]
    heapq.heapify(queue)
    while queue and len(vocab) < size:
        known, pair = heapq.heappop(queue)
        count = pair_counts.get(pair, 0)
        if count < MIN_COUNT:
            continue
        if count != -known:  # it has become rarer since: back in line
            heapq.heappush(queue, (-count, pair))
            continue
        joined = vocab[pair[0]] + vocab[pair[1]].removeprefix(prefix)
        new = ids.setdefault(joined, len(vocab))
        merges.append(pair)
        if new == len(vocab):
            vocab.append(joined)
        grown: set[Pair] = set()
        for i in holders.pop(pair):
            words[i] = _join(words[i], pair, new, counts[i], pair_counts, holders, grown, i)
        pair_counts.pop(pair, None)
        for other in grown:
            heapq.heappush(queue, (-pair_counts[other], other))
    return merges


def _join(
    pieces: list[int],
    pair: Pair,
    new: int,
    count: int,
    pair_counts: dict[Pair, int],
    holders: dict[Pair, set[int]],
    grown: set[Pair],
    word: int,
) -> list[int]:
    """The word with each occurrence of the pair joined; brings the counts of its other pairs up to date."""
    joined: list[int] = []
    i, last = 0, len(pieces) - 1
    while i <= last:
        if i == last or (pieces[i], pieces[i + 1]) != pair:
            joined.append(pieces[i])
            i += 1
            continue
        changes = []
        if joined:
            changes.append(((joined[-1], pair[0]), (joined[-1], new)))
        if i + 2 <= last:
            changes.append(((pair[1], pieces[i + 2]), (new, pieces[i + 2])))
        for gone, come in changes:
            pair_counts[gone] -= count
            pair_counts[come] = pair_counts.get(come, 0) + count
            holders.setdefault(come, set()).add(word)
            grown.add(come)
        joined.append(new)
        i += 2
    return joined
