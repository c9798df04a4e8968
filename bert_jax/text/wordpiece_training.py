"""Learns a WordPiece vocabulary from word counts: the most frequent pair of pieces is joined, again and again.

The `tokenizers` library learns the same way, but numbers characters in the order of a hash table: four runs on the same
text gave four different orders of ids, and ties fall with them. Here the outcome depends on the counts alone.
"""

import heapq
import itertools
import string
from collections import Counter
from collections.abc import Mapping, Sequence

from bert_jax.errors import UserError

MAX_ALPHABET = 1000  # characters; rarer ones become [UNK]. As the scripts of Hugging Face
MIN_COUNT = 2  # a pair seen once is not worth an entry

Pair = tuple[int, int]


def learn_vocabulary(words: Mapping[str, int], *, size: int, control_tokens: Sequence[str], prefix: str) -> list[str]:
    """At most `size` entries: control tokens, characters in code-point order, then pieces in the order learned."""
    alphabet = _alphabet(words)
    usable = sorted(word for word in words if alphabet.issuperset(word))
    characters = set(string.ascii_lowercase + string.digits).union(word[0] for word in usable)
    characters.update(prefix + c for c in string.ascii_lowercase + string.digits)
    characters.update(prefix + c for word in usable for c in word[1:])
    vocab = [*control_tokens, *sorted(characters - set(control_tokens), key=lambda c: (c.startswith(prefix), c))]
    if len(vocab) > size:
        raise UserError(f"size {size} does not hold the control tokens and the characters. Use {len(vocab)} or more")
    ids = {piece: i for i, piece in enumerate(vocab)}
    spelled = [[ids[word[0]], *(ids[prefix + c] for c in word[1:])] for word in usable]
    _join_pairs(spelled, [words[word] for word in usable], vocab, ids, size, prefix)
    return vocab


def _alphabet(words: Mapping[str, int]) -> set[str]:
    """The most frequent characters; of equals the lower code points."""
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    return set(sorted(counts, key=lambda c: (-counts[c], c))[:MAX_ALPHABET])


def _join_pairs(
    words: list[list[int]], counts: list[int], vocab: list[str], ids: dict[str, int], size: int, prefix: str
) -> None:
    """Extends `vocab` and `ids` to `size` entries. The words shrink in place as their pieces are joined."""
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
        if new == len(vocab):
            vocab.append(joined)
        grown: set[Pair] = set()
        for i in holders.pop(pair):
            words[i] = _join(words[i], pair, new, counts[i], pair_counts, holders, grown, i)
        pair_counts.pop(pair, None)
        for other in grown:
            heapq.heappush(queue, (-pair_counts[other], other))


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
