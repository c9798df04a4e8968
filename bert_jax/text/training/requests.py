"""What is asked of a new vocabulary of any kind, checked, and the tokens that are never cut."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from tokenizers import normalizers

from bert_jax.errors import UserError

CONTROL = re.compile(r"[\[<]\S*\w\S*[\]>]")
# Characters of scripts that set no blanks between words: Thai to Burmese, Khmer, kana, ideographs.
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A vocabulary that is to be learned.

    size            entries in all
    strip_accents   None: as `lowercase`
    special_tokens  control tokens beside the five: in the vocabulary, never found in a text
    user_tokens     strings that are found in a text before it is cut into words, as one token each
    """

    size: int
    lowercase: bool
    strip_accents: bool | None = None
    special_tokens: tuple[str, ...] = ()
    user_tokens: tuple[str, ...] = ()


def check_special_tokens(tokens: Sequence[str], there: Iterable[str]) -> None:
    """Raises UserError for a control token that is there already, or that a word of a text could be taken for."""
    known = set(there)
    for token in tokens:
        if not CONTROL.fullmatch(token):
            raise UserError(f"special token {token!r}: write it as [NAME] or <NAME>, so that no word is taken for it")
        if token in known:
            raise UserError(f"special token {token!r} is there already. Leave it out")
        known.add(token)


def checked_user_tokens(tokens: Sequence[str], there: Iterable[str], seen: Callable[[str], str]) -> tuple[str, ...]:
    """The tokens as the vocabulary sees them (`seen`: lower-cased, perhaps).

    Raises UserError for what cannot be one.
    """
    known = dict.fromkeys(there, "")
    made = []
    for token in tokens:
        if token != token.strip() or not token or len(token.splitlines()) > 1:
            raise UserError(f"user token {token!r}: one line of text without blanks at its ends is expected")
        entry = seen(token).strip()
        if not entry:
            raise UserError(f"user token {token!r}: nothing of it is left when the text is cleaned. Leave it out")
        if entry in known:
            same = f" as {known[entry]!r}" if known[entry] not in ("", token) else ""
            raise UserError(f"user token {token!r} is there already{same}. Leave it out")
        known[entry] = token
        made.append(entry)
    return tuple(made)


def stands_alone(token: str) -> bool:
    """Whether the token is to be found only where no letter or digit is beside it: not GLP-1 in GLP-10."""
    return not UNSPACED.search(token)


def without_user_tokens(texts: Iterable[str], tokens: Sequence[str], *, lowercase: bool) -> Iterator[str]:
    """What is left of the texts between the tokens: from them alone pieces are learned."""
    if not tokens:
        yield from texts
        return
    found = sorted(tokens, key=lambda token: (-len(token), token))
    pattern = re.compile(
        "|".join(rf"(?<!\w){re.escape(token)}(?!\w)" if stands_alone(token) else re.escape(token) for token in found),
        re.IGNORECASE if lowercase else 0,
    )
    for text in texts:
        yield from filter(None, pattern.split(text))


def case_normalizer(wanted: Wanted) -> normalizers.Normalizer | None:
    """Lower case and no accents as BERT has them, and nothing else of BERT; None where the text stays as it is."""
    if not wanted.lowercase and not wanted.strip_accents:
        return None
    return normalizers.BertNormalizer(
        clean_text=False,
        handle_chinese_chars=False,
        strip_accents=wanted.strip_accents,
        lowercase=wanted.lowercase,
    )


def as_seen(normalizer: normalizers.Normalizer | None) -> Callable[[str], str]:
    """What a normalizer makes of a text."""
    return normalizer.normalize_str if normalizer else str
