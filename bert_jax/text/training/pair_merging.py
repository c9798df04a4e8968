"""Learn pieces by merging the most frequent pair of neighbours again and again, for WordPiece and byte-level BPE.

The `tokenizers` library does the same, but numbers characters in the order of a hash table: four runs on the same text
gave four orders of ids, and so four ways to break ties. Here the outcome depends on the counts alone.
"""

import heapq
import itertools

MIN_PAIR_COUNT = 2  # a pair that occurs once gets no entry

Pair = tuple[int, int]


def join_pairs(
    words: list[list[int]], counts: list[int], vocab: list[str], ids: dict[str, int], size: int, prefix: str
) -> list[Pair]:
    """Extend `vocab` and `ids` in place to `size` entries; return the merged pairs in order.

    words   ids of the pieces of each word; pieces are merged in place
    counts  number of occurrences of each word
    prefix  mark of a continuing piece, which the second piece of a pair loses
    """
    merges: list[Pair] = []
    pair_counts: dict[Pair, int] = {}
    holders: dict[Pair, set[int]] = {}  # words that may contain a pair
    for i, pieces in enumerate(words):
        for pair in itertools.pairwise(pieces):
            pair_counts[pair] = pair_counts.get(pair, 0) + counts[i]
            holders.setdefault(pair, set()).add(i)
    queue = [(-count, pair) for pair, count in pair_counts.items()]
    heapq.heapify(queue)
    while queue and len(vocab) < size:
        queued_count, pair = heapq.heappop(queue)
        count = pair_counts.get(pair, 0)
        if count < MIN_PAIR_COUNT:
            continue
        if count != -queued_count:  # the pair has become rarer since it was queued
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
        for grown_pair in grown:
            heapq.heappush(queue, (-pair_counts[grown_pair], grown_pair))
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
    """Return the word with each occurrence of the pair merged, and update the counts of its other pairs."""
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
        for old_pair, new_pair in changes:
            pair_counts[old_pair] -= count
            pair_counts[new_pair] = pair_counts.get(new_pair, 0) + count
            holders.setdefault(new_pair, set()).add(word)
            grown.add(new_pair)

        joined.append(new)
        i += 2
    return joined
