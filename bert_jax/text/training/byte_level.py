"""Learns a byte-level BPE vocabulary from texts, in RoBERTa's layout."""

import re
from collections import Counter
from collections.abc import Iterable

from tokenizers import pre_tokenizers

from bert_jax.errors import UserError
from bert_jax.text.library import LibraryTokenizer
from bert_jax.text.recipes import control_token, roberta
from bert_jax.text.training.pairs import join_pairs
from bert_jax.text.training.requests import (
    Wanted,
    as_seen,
    case_normalizer,
    check_special_tokens,
    checked_user_tokens,
    without_user_tokens,
)
from bert_jax.text.training.user_tokens import cased_tokenizer, with_user_tokens
from bert_jax.text.word_cache import replace_surrogates

CONTROL = {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"}  # ids from 0, as RoBERTa's
BLANKS = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
# Where GPT-2's expression cuts too: it never takes a blank but the one before a word.
WORDS = re.compile(f" ?[^{BLANKS}]+|[{BLANKS}]+(?![^{BLANKS}])|[{BLANKS}]+")
LONGEST_WORD = 256  # bytes that are looked at in one piece: a gene without a blank must not take the day


def train_byte_level(texts: Iterable[str], wanted: Wanted, left_out: Counter[str]) -> LibraryTokenizer:
    """A vocabulary of `wanted.size` entries learned from the texts, or fewer where the texts hold no more.

    The same texts give the same vocabulary, in any order, on any machine. Memory grows with the distinct words only.
    Knows every text: `left_out` stays as it is.
    """
    control = (*CONTROL.values(), *wanted.special_tokens)
    check_special_tokens(wanted.special_tokens, CONTROL.values())
    normalizer = case_normalizer(wanted)
    user_tokens = checked_user_tokens(wanted.user_tokens, control, as_seen(normalizer))
    words = _count_words(without_user_tokens(texts, wanted.user_tokens, lowercase=wanted.lowercase), wanted)
    vocab = [*control, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    room = wanted.size - len(user_tokens)
    if room < len(vocab):
        least = len(vocab) + len(user_tokens)
        raise UserError(f"size {wanted.size} does not hold the control tokens and the bytes. Use {least} or more")
    ids = {piece: i for i, piece in enumerate(vocab)}
    usable = sorted(words)
    merges = join_pairs([[ids[c] for c in w] for w in usable], [words[w] for w in usable], vocab, ids, room, "")
    if not merges:
        raise UserError(
            f"nothing to learn for byte-level BPE: size {wanted.size} has {room - len(control) - 256} entries for "
            "pieces, and pieces come of letters that stand side by side twice. Give more text or a larger size"
        )
    described = roberta(
        ids, [(vocab[a], vocab[b]) for a, b in merges], CONTROL, add_prefix_space=False, trim_offsets=True
    )
    described["added_tokens"] += [control_token(ids[name], name) for name in wanted.special_tokens]
    # Their blank goes with them, as <mask>'s: else it would be a token of its own.
    described = with_user_tokens(described, user_tokens, len(vocab), lstrip=True)
    return cased_tokenizer(described, wanted, CONTROL, separators=2)


def _count_words(texts: Iterable[str], wanted: Wanted) -> dict[str, int]:
    """How often each word is there with the blank before it, spelled in the characters that stand for bytes."""
    raw: Counter[str] = Counter()
    for text in texts:
        raw.update(WORDS.findall(text))
    cutter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    seen = as_seen(case_normalizer(wanted))
    words: dict[str, int] = {}
    for chunk, count in raw.items():
        for word, _ in cutter.pre_tokenize_str(seen(replace_surrogates(chunk))):
            for start in range(0, len(word), LONGEST_WORD):
                part = word[start : start + LONGEST_WORD]
                words[part] = words.get(part, 0) + count
    return words
