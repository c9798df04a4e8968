"""Learn a WordPiece vocabulary from texts."""

import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tokenizers import normalizers, pre_tokenizers

from bert_jax.errors import UserError
from bert_jax.text.training.pair_merging import join_pairs
from bert_jax.text.training.vocabulary_request import (
    VocabularyRequest,
    check_special_tokens,
    checked_user_tokens,
    matches_whole_words,
    normalizing_function,
    without_user_tokens,
)
from bert_jax.text.word_cache import replace_surrogates
from bert_jax.text.wordpiece import WordPieceTokenizer, split_words
from bert_jax.text.wordpiece_rules import AddedToken, WordPieceRules, bert_normalizer

MAX_ALPHABET = 1000  # characters; rarer ones become [UNK], as in Hugging Face's scripts


def train_wordpiece(texts: Iterable[str], request: VocabularyRequest, left_out: Counter[str]) -> WordPieceTokenizer:
    """Learn a WordPiece vocabulary of `request.size` entries, or fewer if the texts hold no more.

    The same texts give the same vocabulary, in any order, on any machine. Memory grows with the number of distinct
    words. Words that the vocabulary cannot represent are counted in `left_out`.
    """
    rules = WordPieceRules(lowercase=request.lowercase, strip_accents=request.strip_accents)
    check_special_tokens(request.special_tokens, rules.control_tokens)
    control = (*rules.control_tokens, *request.special_tokens)
    user_tokens = normalized_user_tokens(request.user_tokens, control, rules)
    first = (*control, *user_tokens)
    words = count_words(without_user_tokens(texts, request.user_tokens, lowercase=rules.lowercase), rules)
    left_out["words_too_long"] += sum(count for word, count in words.items() if len(word) > rules.max_word_chars)
    words = {word: count for word, count in words.items() if len(word) <= rules.max_word_chars}
    vocab = learn_vocabulary(words, size=request.size, first=first, prefix=rules.prefix, left_out=left_out)
    return WordPieceTokenizer(vocab, with_added(rules, user_tokens, len(control)))


def with_added(rules: WordPieceRules, tokens: Sequence[str], first_id: int) -> WordPieceRules:
    """Return the rules with normalized user tokens added, whose ids start at `first_id`."""
    added = [
        AddedToken(token, i, single_word=matches_whole_words(token), normalized=True)
        for i, token in enumerate(tokens, first_id)
    ]
    return rules.changed(added=(*rules.added, *added))


def normalized_user_tokens(tokens: Sequence[str], vocab: Iterable[str], rules: WordPieceRules) -> tuple[str, ...]:
    """Return the user tokens normalized by the rules. Raises UserError as `checked_user_tokens` does."""
    return checked_user_tokens(tokens, vocab, normalizing_function(_token_normalizer(rules)))


def _token_normalizer(rules: WordPieceRules) -> normalizers.Normalizer:
    """Return the normalizer of texts, but without blanks around ideographs: the library adds those itself."""
    return bert_normalizer(rules.changed(split_chinese=False))


def count_words(texts: Iterable[str], rules: WordPieceRules) -> dict[str, int]:
    """Count the words after BERT's normalization and splitting."""
    raw_counts: dict[str, int] = {}
    for text in texts:
        for word in split_words(text):
            raw_counts[word] = raw_counts.get(word, 0) + 1
    normalizer, splitter = bert_normalizer(rules), pre_tokenizers.BertPreTokenizer()
    words: dict[str, int] = {}
    for raw, count in raw_counts.items():
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(replace_surrogates(raw))):
            words[word] = words.get(word, 0) + count
    return words


def learn_vocabulary(
    words: Mapping[str, int], *, size: int, first: Sequence[str], prefix: str, left_out: Counter[str]
) -> list[str]:
    """Return at most `size` entries: `first`, then characters by code point, then pieces in the order learned."""
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
    """Return the most frequent characters; among equals, the lower code points come first."""

    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    return set(sorted(counts, key=lambda c: (-counts[c], c))[:MAX_ALPHABET])
