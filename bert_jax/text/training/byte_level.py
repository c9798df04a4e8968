"""Learn a byte-level BPE vocabulary from texts, in RoBERTa's layout."""

import re
from collections import Counter
from collections.abc import Iterable

from tokenizers import pre_tokenizers

from bert_jax.errors import UserError
from bert_jax.text.library_tokenizer import LibraryTokenizer
from bert_jax.text.tokenizer_json import control_token, roberta
from bert_jax.text.training.pair_merging import join_pairs
from bert_jax.text.training.user_tokens import cased_tokenizer, with_user_tokens
from bert_jax.text.training.vocabulary_request import (
    VocabularyRequest,
    case_normalizer,
    check_special_tokens,
    checked_user_tokens,
    normalizing_function,
    without_user_tokens,
)
from bert_jax.text.word_cache import replace_surrogates

ROBERTA_CONTROL = {
    "cls": "<s>",
    "pad": "<pad>",
    "sep": "</s>",
    "unk": "<unk>",
    "mask": "<mask>",
}  # ids from 0, as RoBERTa's
BLANK_CHARACTERS = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
# Splits only where GPT-2's pattern splits, too; that pattern never joins blanks to a word, except one before it.
GPT2_WORDS = re.compile(
    f" ?[^{BLANK_CHARACTERS}]+|[{BLANK_CHARACTERS}]+(?![^{BLANK_CHARACTERS}])|[{BLANK_CHARACTERS}]+"
)
MAX_WORD_BYTES = 256  # longer words are learned in pieces of this size: a gene without blanks would take hours


def train_byte_level(texts: Iterable[str], request: VocabularyRequest, left_out: Counter[str]) -> LibraryTokenizer:
    """Learn a byte-level BPE vocabulary of `request.size` entries, or fewer if the texts hold no more.

    The same texts give the same vocabulary, in any order, on any machine. Memory grows with the number of distinct
    words. `left_out` stays unchanged, because byte-level BPE can spell every text.
    """
    control = (*ROBERTA_CONTROL.values(), *request.special_tokens)
    check_special_tokens(request.special_tokens, ROBERTA_CONTROL.values())
    normalizer = case_normalizer(request)
    user_tokens = checked_user_tokens(request.user_tokens, control, normalizing_function(normalizer))
    words = _count_words(without_user_tokens(texts, request.user_tokens, lowercase=request.lowercase), request)
    vocab = [*control, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    room = request.size - len(user_tokens)
    if room < len(vocab):
        least = len(vocab) + len(user_tokens)
        raise UserError(f"size {request.size} does not hold the control tokens and the bytes. Use {least} or more")
    ids = {piece: i for i, piece in enumerate(vocab)}
    usable = sorted(words)
    merges = join_pairs([[ids[c] for c in w] for w in usable], [words[w] for w in usable], vocab, ids, room, "")
    if not merges:
        raise UserError(
            f"nothing to learn for byte-level BPE: size {request.size} has {room - len(control) - 256} entries for "
            "pieces, and a piece needs two letters side by side that occur twice. Give more text or a larger size"
        )
    described = roberta(
        ids, [(vocab[a], vocab[b]) for a, b in merges], ROBERTA_CONTROL, add_prefix_space=False, trim_offsets=True
    )
    described["added_tokens"] += [control_token(ids[name], name) for name in request.special_tokens]
    # lstrip as for <mask>: otherwise the blank before a user token would be a separate token.
    described = with_user_tokens(described, user_tokens, len(vocab), lstrip=True)
    return cased_tokenizer(described, request, ROBERTA_CONTROL, separators=2)


def _count_words(texts: Iterable[str], request: VocabularyRequest) -> dict[str, int]:
    """Count the words with the blank before them, spelled in the characters that stand for bytes."""
    chunks: Counter[str] = Counter()
    for text in texts:
        chunks.update(GPT2_WORDS.findall(text))
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    normalize = normalizing_function(case_normalizer(request))
    words: dict[str, int] = {}
    for chunk, count in chunks.items():
        for word, _ in splitter.pre_tokenize_str(normalize(replace_surrogates(chunk))):
            for start in range(0, len(word), MAX_WORD_BYTES):
                part = word[start : start + MAX_WORD_BYTES]
                words[part] = words.get(part, 0) + count
    return words
