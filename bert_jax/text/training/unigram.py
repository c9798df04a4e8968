"""Learns a unigram vocabulary with the SentencePiece library, in XLM-RoBERTa's layout."""

import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator

from bert_jax.errors import UserError
from bert_jax.text.library import LibraryTokenizer
from bert_jax.text.recipes import Described, control_token, flattened
from bert_jax.text.sentencepiece_files import described_pieces
from bert_jax.text.training.byte_level import CONTROL
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

COVERAGE = 0.9999  # share of the characters that get an entry; the library's own 0.9995 loses é in English
LINE_CHARACTERS = 4000  # a line is cut there, at a blank if there is one: the library leaves longer ones out
EXTRA = 2  # entries that XLM-RoBERTa has beside the library's own: <pad> and <mask>


def train_unigram(texts: Iterable[str], wanted: Wanted, left_out: Counter[str]) -> LibraryTokenizer:
    """A vocabulary of about `wanted.size` entries learned from the texts, or fewer where the texts hold no more.

    The same texts in the same order give the same vocabulary: the library runs in one thread and draws nothing. It
    holds the texts in memory several times over. What it will not know shows in `left_out`.
    """
    import sentencepiece

    check_special_tokens(wanted.special_tokens, CONTROL.values())
    normalizer = case_normalizer(wanted)
    control = (*CONTROL.values(), *wanted.special_tokens)
    user_tokens = checked_user_tokens(wanted.user_tokens, control, as_seen(normalizer))
    # A list, so that an error in reading is raised here and not inside the library.
    lines = list(_lines(without_user_tokens(texts, wanted.user_tokens, lowercase=wanted.lowercase), wanted))
    beyond = EXTRA + len(wanted.special_tokens) + len(user_tokens)
    room = wanted.size - beyond
    if room <= len(CONTROL) - EXTRA:
        least = beyond + len(CONTROL)
        raise UserError(f"size {wanted.size} does not hold the control tokens. Use well more than {least}")
    if not lines:
        raise UserError("nothing to learn for unigram: no text. Give some")
    written = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=written,
            model_type="unigram",
            vocab_size=room,
            hard_vocab_limit=False,
            character_coverage=COVERAGE,
            max_sentence_length=5 * LINE_CHARACTERS,
            input_sentence_size=0,
            shuffle_input_sentence=False,
            num_threads=1,
            minloglevel=3,
        )
    except (RuntimeError, OSError) as error:
        raise UserError(_told(str(error), wanted.size, beyond)) from None
    described = described_pieces(written.getvalue(), "vocabulary")
    # SentencePiece composes Hangul, the library's charsmap does not: stripped accents, and input that is decomposed,
    # would leave all of Korean unknown.
    steps = [{"type": "NFC"}, *flattened(described["normalizer"])]
    described["normalizer"] = {"type": "Sequence", "normalizers": steps}
    left_out["rare_characters"] += _count_unknown(lines, described)
    entries = len(described["model"]["vocab"])
    special = [control_token(i, name) for i, name in enumerate(wanted.special_tokens, entries)]
    described["added_tokens"] += special
    described = with_user_tokens(described, user_tokens, entries + len(special), lstrip=False)
    return cased_tokenizer(described, wanted, CONTROL, separators=2)


def _lines(texts: Iterable[str], wanted: Wanted) -> Iterator[str]:
    seen = as_seen(case_normalizer(wanted))
    for text in texts:
        for line in seen(replace_surrogates(text)).split("\n"):
            while len(line) > LINE_CHARACTERS:
                end = line.rfind(" ", 1, LINE_CHARACTERS)
                end = LINE_CHARACTERS if end < 0 else end
                yield line[:end]
                line = line[end:]
            if line and not line.isspace():
                yield line


def _count_unknown(lines: Iterable[str], described: Described) -> int:
    """How many characters of the lines are in no piece."""
    characters: Counter[str] = Counter()
    for line in lines:
        characters.update(line)
    known = {c for piece, _ in described["model"]["vocab"] for c in piece}
    return sum(
        count
        for c, count in characters.items()
        if not c.isspace() and not known.issuperset(unicodedata.normalize("NFKC", c).replace(" ", ""))
    )


def _told(error: str, size: int, extra: int) -> str:
    """The library's error in one line."""
    if found := re.search(r"required_chars\. \d+ vs (\d+)", error):
        return f"size {size} does not hold the control tokens and the characters. Use {int(found[1]) + extra} or more"
    return f"SentencePiece learned nothing of this text ({' '.join(error.split())[-160:]}). Give more text"
