"""Learn a unigram vocabulary with the SentencePiece library, in XLM-RoBERTa's layout."""

import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator

from bert_jax.errors import UserError
from bert_jax.text.library_tokenizer import LibraryTokenizer
from bert_jax.text.sentencepiece_files import described_pieces
from bert_jax.text.tokenizer_json import Described, control_token, pipeline_steps
from bert_jax.text.training.byte_level import ROBERTA_CONTROL
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

COVERAGE = 0.9999  # share of the characters that get an entry; the library's default of 0.9995 loses é in English
LINE_CHARACTERS = 4000  # longer lines are split, at a blank if possible: the library skips them
EXTRA_ENTRIES = 2  # <pad> and <mask>, which XLM-RoBERTa has besides the library's control tokens


def train_unigram(texts: Iterable[str], request: VocabularyRequest, left_out: Counter[str]) -> LibraryTokenizer:
    """Learn a unigram vocabulary of about `request.size` entries, or fewer if the texts hold no more.

    The same texts in the same order give the same vocabulary: the library runs in one thread without randomness. It
    holds several copies of the texts in memory. Characters that get no entry are counted in `left_out`.
    """
    import sentencepiece

    check_special_tokens(request.special_tokens, ROBERTA_CONTROL.values())
    normalizer = case_normalizer(request)
    control = (*ROBERTA_CONTROL.values(), *request.special_tokens)
    user_tokens = checked_user_tokens(request.user_tokens, control, normalizing_function(normalizer))
    # A list, so that reading errors are raised here and not inside the library.
    lines = list(_lines(without_user_tokens(texts, request.user_tokens, lowercase=request.lowercase), request))
    added = EXTRA_ENTRIES + len(request.special_tokens) + len(user_tokens)
    room = request.size - added
    if room <= len(ROBERTA_CONTROL) - EXTRA_ENTRIES:
        least = added + len(ROBERTA_CONTROL)
        raise UserError(f"size {request.size} does not hold the control tokens. Use well more than {least}")
    if not lines:
        raise UserError("nothing to learn for unigram: no text. Give some")
    model_file = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model_file,
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
        raise UserError(_message(str(error), request.size, added)) from None
    described = described_pieces(model_file.getvalue(), "vocabulary")
    # SentencePiece composes Hangul, the library's charsmap does not: without NFC, Korean would be unknown in decomposed
    # texts and after accents are stripped.
    steps = [{"type": "NFC"}, *pipeline_steps(described["normalizer"])]
    described["normalizer"] = {"type": "Sequence", "normalizers": steps}
    left_out["rare_characters"] += _count_unknown(lines, described)
    entries = len(described["model"]["vocab"])
    special = [control_token(i, name) for i, name in enumerate(request.special_tokens, entries)]
    described["added_tokens"] += special
    described = with_user_tokens(described, user_tokens, entries + len(special), lstrip=False)
    return cased_tokenizer(described, request, ROBERTA_CONTROL, separators=2)


def _lines(texts: Iterable[str], request: VocabularyRequest) -> Iterator[str]:
    """Yield the normalized lines that are not blank, in stretches of at most LINE_CHARACTERS."""
    normalize = normalizing_function(case_normalizer(request))
    for text in texts:
        for line in normalize(replace_surrogates(text)).split("\n"):
            while len(line) > LINE_CHARACTERS:
                end = line.rfind(" ", 1, LINE_CHARACTERS)
                end = LINE_CHARACTERS if end < 0 else end
                yield line[:end]
                line = line[end:]
            if line and not line.isspace():
                yield line


def _count_unknown(lines: Iterable[str], described: Described) -> int:
    """Count the characters of the lines that are in no piece."""
    characters: Counter[str] = Counter()
    for line in lines:
        characters.update(line)
    piece_characters = {c for piece, _ in described["model"]["vocab"] for c in piece}
    return sum(
        count
        for c, count in characters.items()
        if not c.isspace() and not piece_characters.issuperset(unicodedata.normalize("NFKC", c).replace(" ", ""))
    )


def _message(error: str, size: int, added: int) -> str:
    """Return the library's error as one line that says what to change."""
    if required := re.search(r"required_chars\. \d+ vs (\d+)", error):
        least = int(required[1]) + added
        return f"size {size} does not hold the control tokens and the characters. Use {least} or more"
    return f"SentencePiece learned nothing from this text ({' '.join(error.split())[-160:]}). Give more text"
