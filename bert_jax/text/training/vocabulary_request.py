"""The request for a new vocabulary of any kind, its checks, and its user tokens."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from tokenizers import normalizers

from bert_jax.errors import UserError

SPECIAL_TOKEN_FORM = re.compile(r"[\[<]\S*\w\S*[\]>]")
# Characters of scripts without blanks between words: Thai to Burmese, Khmer, kana, ideographs.
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


@dataclasses.dataclass(frozen=True)
class VocabularyRequest:
    """A request for a vocabulary to learn.

    size            number of entries, all tokens included
    strip_accents   None: same as `lowercase`
    special_tokens  further control tokens: in the vocabulary, never found in a text
    user_tokens     strings that become one token each, found in a text before it is split into words
    """

    size: int
    lowercase: bool
    strip_accents: bool | None = None
    special_tokens: tuple[str, ...] = ()
    user_tokens: tuple[str, ...] = ()


def check_special_tokens(tokens: Sequence[str], vocab: Iterable[str]) -> None:
    """Raise UserError for a special token that is already in `vocab`, or that could be a word of a text."""
    entries = set(vocab)
    for token in tokens:
        if not SPECIAL_TOKEN_FORM.fullmatch(token):
            raise UserError(f"special token {token!r}: write it as [NAME] or <NAME>, so that no word is taken for it")
        if token in entries:
            raise UserError(f"special token {token!r} is already in the vocabulary. Leave it out")
        entries.add(token)


def checked_user_tokens(
    tokens: Sequence[str], vocab: Iterable[str], normalize: Callable[[str], str]
) -> tuple[str, ...]:
    """Return the user tokens after normalization, for example in lower case.

    Raises UserError for a token that is already in `vocab`, is empty after normalization, or is not one line of text.
    """
    sources = dict.fromkeys(vocab, "")  # entry -> the user token that it comes from
    entries = []
    for token in tokens:
        if token != token.strip() or not token or len(token.splitlines()) > 1:
            raise UserError(f"user token {token!r}: one line of text without blanks at its ends is expected")
        entry = normalize(token).strip()
        if not entry:
            raise UserError(f"user token {token!r}: nothing of it is left when the text is cleaned. Leave it out")
        if entry in sources:
            source = f" as {sources[entry]!r}" if sources[entry] not in ("", token) else ""
            raise UserError(f"user token {token!r} is already in the vocabulary{source}. Leave it out")
        sources[entry] = token
        entries.append(entry)
    return tuple(entries)


def matches_whole_words(token: str) -> bool:
    """Return whether the token is found only between non-letters: GLP-1 is not found in GLP-10."""
    return not UNSPACED.search(token)


def without_user_tokens(texts: Iterable[str], tokens: Sequence[str], *, lowercase: bool) -> Iterator[str]:
    """Yield the stretches of text between user tokens, from which the other entries are learned."""
    if not tokens:
        yield from texts
        return
    longest_first = sorted(tokens, key=lambda token: (-len(token), token))
    pattern = re.compile(
        "|".join(
            rf"(?<!\w){re.escape(token)}(?!\w)" if matches_whole_words(token) else re.escape(token)
            for token in longest_first
        ),
        re.IGNORECASE if lowercase else 0,
    )
    for text in texts:
        yield from filter(None, pattern.split(text))


def case_normalizer(request: VocabularyRequest) -> normalizers.Normalizer | None:
    """Return BERT's normalizer for lower case and accents only; None if texts keep both."""
    if not request.lowercase and not request.strip_accents:
        return None
    return normalizers.BertNormalizer(
        clean_text=False,
        handle_chinese_chars=False,
        strip_accents=request.strip_accents,
        lowercase=request.lowercase,
    )


def normalizing_function(normalizer: normalizers.Normalizer | None) -> Callable[[str], str]:
    """Return the function that applies a normalizer to a text; the identity for None."""

    return normalizer.normalize_str if normalizer else str
