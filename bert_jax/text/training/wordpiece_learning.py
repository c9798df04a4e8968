"""Learns a WordPiece vocabulary from texts."""

import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tokenizers import normalizers, pre_tokenizers

from bert_jax.errors import UserError
from bert_jax.text.training.pairs import join_pairs
from bert_jax.text.training.requests import (
    Wanted,
    as_seen,
    check_special_tokens,
    checked_user_tokens,
    stands_alone,
    without_user_tokens,
)
from bert_jax.text.word_cache import replace_surrogates
from bert_jax.text.wordpiece import WordPieceTokenizer, split_words
from bert_jax.text.wordpiece_rules import AddedToken, Rules, bert_normalizer

MAX_ALPHABET = 1000  # characters; rarer ones become [UNK]. As the scripts of Hugging Face


def train_wordpiece(texts: Iterable[str], wanted: Wanted, left_out: Counter[str]) -> WordPieceTokenizer:
    """A vocabulary of `wanted.size` entries learned from the texts, or fewer where the texts hold no more.

    The same texts give the same vocabulary, in any order, on any machine. Memory grows with the distinct words only.
    What the vocabulary will not know is counted in `left_out`.
    """
    rules = Rules(lowercase=wanted.lowercase, strip_accents=wanted.strip_accents)
    check_special_tokens(wanted.special_tokens, rules.control_tokens)
    control = (*rules.control_tokens, *wanted.special_tokens)
    user_tokens = seen_user_tokens(wanted.user_tokens, control, rules)
    first = (*control, *user_tokens)
    words = count_words(without_user_tokens(texts, wanted.user_tokens, lowercase=rules.lowercase), rules)
    left_out["words_too_long"] += sum(count for word, count in words.items() if len(word) > rules.max_word_chars)
    words = {word: count for word, count in words.items() if len(word) <= rules.max_word_chars}
    vocab = learn_vocabulary(words, size=wanted.size, first=first, prefix=rules.prefix, left_out=left_out)
    return WordPieceTokenizer(vocab, with_added(rules, user_tokens, len(control)))


def with_added(rules: Rules, tokens: Sequence[str], first_id: int) -> Rules:
    """The rules with tokens, as the vocabulary sees them, that are found in a text. Their ids start at `first_id`."""
    added = [
        AddedToken(token, i, single_word=stands_alone(token), normalized=True)
        for i, token in enumerate(tokens, first_id)
    ]
    return rules.changed(added=(*rules.added, *added))


def seen_user_tokens(tokens: Sequence[str], there: Iterable[str], rules: Rules) -> tuple[str, ...]:
    """User tokens as the rules see them, none of which is there; raises UserError for what cannot be one."""
    return checked_user_tokens(tokens, there, as_seen(_token_normalizer(rules)))


def _token_normalizer(rules: Rules) -> normalizers.Normalizer:
    """As for a text, but that ideographs are not set apart: the library does that to an added token itself."""
    return bert_normalizer(rules.changed(split_chinese=False))


def count_words(texts: Iterable[str], rules: Rules) -> dict[str, int]:
    """How often each word is there, cut and normalised as BERT does before it looks for pieces."""
    counts: dict[str, int] = {}
    for text in texts:
        for word in split_words(text):
            counts[word] = counts.get(word, 0) + 1
    normalizer, cutter = bert_normalizer(rules), pre_tokenizers.BertPreTokenizer()
    words: dict[str, int] = {}
    for raw, count in counts.items():
        for word, _ in cutter.pre_tokenize_str(normalizer.normalize_str(replace_surrogates(raw))):
            words[word] = words.get(word, 0) + count
    return words


def learn_vocabulary(
    words: Mapping[str, int], *, size: int, first: Sequence[str], prefix: str, left_out: Counter[str]
) -> list[str]:
    """At most `size` entries: those that come first, characters by code point, then pieces in the order learned."""
    alphabet = _alphabet(words)
    usable = sorted(word for word in words if alphabet.issuperset(word))
    left_out["words_of_rare_characters"] += sum(words.values()) - sum(words[word] for word in usable)
    characters = set(string.ascii_lowercase + string.digits).union(word[0] for word in usable)
    characters.update(prefix + c for c in string.ascii_lowercase + string.digits)
    characters.update(prefix + c for word in usable for c in word[1:])
    vocab = [*first, *sorted(characters - set(first), key=lambda c: (c.startswith(prefix), c))]
    if len(vocab) > size:
        raise UserError(f"size {size} does not hold the control tokens and the characters. Use {len(vocab)} or more")
    ids = {piece: i for i, piece in enumerate(vocab)}
    spelled = [[ids[word[0]], *(ids[prefix + c] for c in word[1:])] for word in usable]
    join_pairs(spelled, [words[word] for word in usable], vocab, ids, size, prefix)
    return vocab


def _alphabet(words: Mapping[str, int]) -> set[str]:
    """The most frequent characters; of equals the lower code points."""
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    return set(sorted(counts, key=lambda c: (-counts[c], c))[:MAX_ALPHABET])
