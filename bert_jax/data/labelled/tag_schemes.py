"""Tagging schemes (IOB2, BILOU ...): how tags spell a place in an entity and a type, and detection of a file's scheme.

To add a scheme, add it to `SCHEMES`.
"""

import dataclasses
import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping

from bert_jax.data.labelled.entities import Span
from bert_jax.errors import UserError

OUTSIDE = "O"
NAMELESS = "ENTITY"  # the type of entities whose tags have no type
# The place of a word that a letter stands for: it begins an entity, is inside, ends one, or is a single word. IOB and
# IOE have B, I and E; IOBES, BMES and BMEWO have I or M inside and S or W for one word; BILOU has L for E and U for S.
PLACES = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S", "W": "S"}
MAX_TAGS_SHOWN = 6  # tags in a message

Tag = tuple[str, str | None]  # the place O, B, I, E or S, and the type; None outside of entities


@dataclasses.dataclass(frozen=True)
class Scheme:
    """A tagging scheme.

    form      the tag of the first word of a person
    pattern   has the groups `place` and `type`, or one of them
    outside   the tags of words outside of entities
    """

    form: str
    pattern: re.Pattern[str]
    outside: frozenset[str] = frozenset(OUTSIDE)

    def fits(self, tag: str) -> bool:
        """Return whether `tag` follows this scheme."""
        return tag in self.outside or self.pattern.fullmatch(tag) is not None

    def split(self, tag: str) -> Tag:
        """Return the place and the type of `tag`. A tag that doesn't fit is a type."""
        if tag in self.outside:
            return OUTSIDE, None
        match = self.pattern.fullmatch(tag)
        if match is None:
            return "I", tag
        groups = match.groupdict()
        return PLACES[groups.get("place", "I").upper()], groups.get("type", NAMELESS)

    def letters(self, tags: Iterable[str]) -> set[str]:
        """Return the letters for places, in upper case, in the tags that fit."""
        return {match["place"].upper() for match in map(self.pattern.fullmatch, tags) if match}

    def spells(self, tags: Collection[str]) -> bool:
        """Return whether all tags fit, and one of their letters can begin an entity (as none in "e-mail" does)."""
        inner = [tag for tag in tags if tag not in self.outside]
        return all(map(self.fits, inner)) and (not inner or not self.letters(inner).isdisjoint("BISUW"))

    def tells_beginnings(self, tags: Collection[str]) -> bool:
        """Return whether the tags have letters both for the first word of an entity and for the others."""
        letters = self.letters(tags)
        return "B" in letters and not letters.isdisjoint("IMEL")


_LETTERS = "BIESLUMW"


def _scheme(form: str, mark: str = "[-_]", shown: str = "-", letters: str = _LETTERS) -> Scheme:
    """Return the scheme of tags like `form`, a template with `place`, `mark` and `type`."""
    upper = letters.isupper()
    pattern = form.format(place=f"(?P<place>[{letters}])", mark=mark, type="(?P<type>.+)")
    written = form.format(place="B" if upper else "b", mark=shown, type="PER")
    return Scheme(written, re.compile(pattern), frozenset("O" if upper else "Oo"))


_FIRST, _LAST = "{place}{mark}{type}", "{type}{mark}{place}"
UNTYPED, PREFIXED, SUFFIXED = map(_scheme, ("{place}", _FIRST, _LAST))
LOWER_UNTYPED, LOWER_PREFIXED, LOWER_SUFFIXED = (
    _scheme(form, letters=_LETTERS.lower()) for form in ("{place}", _FIRST, _LAST)
)
SCHEMES = (UNTYPED, PREFIXED, LOWER_UNTYPED, LOWER_PREFIXED, SUFFIXED, LOWER_SUFFIXED)
BARE = Scheme("PER", re.compile("(?P<type>.+)"))

_ANY_LETTER = f"(?P<place>[{_LETTERS}{_LETTERS.lower()}])"
_UNUSUAL = {
    _FIRST: re.compile(rf"{_ANY_LETTER}(?P<mark>[\W_]?)(?P<type>\w.*)"),
    _LAST: re.compile(rf"(?P<type>.*\w)(?P<mark>[\W_]?){_ANY_LETTER}"),
}
_WORD = r"(?:(?P<begin>beg|begin|beginning|start)|in|inside|inner|mid|middle|cont|continue)"
_IN_WORDS = (re.compile(rf"{_WORD}(?:[\W_](?P<type>.+))?", re.I), re.compile(rf"(?P<type>.+)[\W_]{_WORD}", re.I))
_NO_TAG = re.compile(r"[oO0]|[^\W_][-_].*|.*\*.*|\(.*")  # X-PER, and the brackets of CoNLL-2005 and OntoNotes: (PER*
_TWO_TAGS = re.compile(r".*[|,;/+][BIESLUMW][-_].+")
_CONTROL = re.compile(r"\[.*\]|<.*>")  # labels of control tokens in some models


def runs_of_tags(tags: Iterable[Tag]) -> Iterator[tuple[str, int, int]]:
    """Yield the type, first index and end of each entity, by the rules of conlleval.

    An entity begins at B and S, where the type changes, and after a tag outside of entities. It ends after E and S,
    and before the next one.
    """
    open_type: str | None = None
    first, before = 0, OUTSIDE
    for i, (place, kind) in enumerate(itertools.chain(tags, ((OUTSIDE, None),))):
        begins = kind is not None and (kind != open_type or place in "BS" or before in "ES")
        if open_type is not None and (begins or kind is None):
            yield open_type, first, i
            open_type = None
        if begins:
            open_type, first = kind, i
        before = place


def spans_of_tags(tags: Iterable[Tag]) -> list[Span]:
    """Return the entities of some tags (see `runs_of_tags`)."""
    return list(itertools.starmap(Span, runs_of_tags(tags)))


def scheme_of_labels(labels: Collection[str]) -> Scheme:
    """Return the scheme of a model's labels: B- and I- as prefixes if they follow none completely."""
    named = [label for label in labels if not _CONTROL.fullmatch(label)]
    candidates = (*SCHEMES, *_unusual(named))
    return next((scheme for scheme in candidates if scheme.spells(named)), PREFIXED)


def scheme_of_file(lines: Mapping[str, str]) -> Scheme:
    """Return the scheme of the tags of a file. Raises UserError with the line if they follow none, or several.

    lines  the first place of each tag in the file
    """
    tags = [tag for tag in lines if tag != OUTSIDE]
    if not tags:
        return PREFIXED
    unusual = _unusual(tags)
    fitting = [scheme for scheme in (*SCHEMES, *unusual) if scheme.spells(tags)]
    if not fitting:
        _check_bare(tags, lines, unusual)
        return BARE
    scheme = fitting[0]
    if not scheme.tells_beginnings(tags) and (other := next((o for o in fitting if o.tells_beginnings(tags)), None)):
        raise _no_tag(tags[0], lines, f"{some_tags(tags)} may be as {scheme.form} or as {other.form}")
    for tag in tags:
        if _TWO_TAGS.fullmatch(scheme.split(tag)[1] or ""):
            raise _no_tag(tag, lines, "it holds two")
    return scheme


def some_tags(tags: Collection[str]) -> str:
    """Return the first few tags for a message."""
    names = sorted(set(tags) - {OUTSIDE})
    return ", ".join(names[:MAX_TAGS_SHOWN]) + (", ..." if len(names) > MAX_TAGS_SHOWN else "")


def _unusual(tags: Collection[str]) -> list[Scheme]:
    """Return schemes with another mark or none, as BPER or B:PER, if a type has tags both to begin and to continue it.

    Without a mark, only the letters of such types stand for places: LOC beside BPER and IPER is a type.
    """
    schemes = []
    for form, pattern in _UNUSUAL.items():
        letters: dict[tuple[str, bool, str], set[str]] = {}
        for match in filter(None, map(pattern.fullmatch, tags)):
            key = match["mark"], match["place"].isupper(), match["type"]
            letters.setdefault(key, set()).add(match["place"])
        complete: dict[tuple[str, bool], set[str]] = {}  # letters of types that have both
        for (mark, upper, _), of_type in letters.items():
            places = {letter.upper() for letter in of_type}
            if "B" in places and not places.isdisjoint("IMEL" if mark else "IM"):  # CLUB and CLUE are no scheme
                complete.setdefault((mark, upper), set()).update(of_type)
        for (mark, upper), of_types in complete.items():
            usable = (_LETTERS if upper else _LETTERS.lower()) if mark else "".join(sorted(of_types))
            schemes.append(_scheme(form, re.escape(mark), mark, usable))
    return schemes


def _check_bare(tags: Collection[str], lines: Mapping[str, str], unusual: Collection[Scheme]) -> None:
    """Raise UserError if some of the tags belong to a scheme that the others don't follow: not all can be types."""
    for tag in tags:
        if _NO_TAG.fullmatch(tag) and not PREFIXED.fits(tag):
            raise _no_tag(tag, lines, "it has no form that is known")
    for scheme in (PREFIXED, LOWER_PREFIXED, *unusual, UNTYPED, LOWER_UNTYPED):
        fitting = [tag for tag in tags if scheme.fits(tag)]
        if scheme in (UNTYPED, LOWER_UNTYPED) and scheme.letters(fitting).isdisjoint("BI"):
            continue  # S beside N and V is a type, not a place
        if fitting:
            odd = next((tag for tag in tags if tag not in fitting), fitting[0])
            reason = "none begins an entity" if odd == fitting[0] else f"{fitting[0]!r} has a letter for a place"
            raise _no_tag(odd, lines, reason)
    for pattern in _IN_WORDS:
        of_type: dict[str | None, set[bool]] = {}
        for match in filter(None, map(pattern.fullmatch, tags)):
            places = of_type.setdefault(match["type"], set())
            places.add(match["begin"] is None)
            if len(places) == 2:
                raise _no_tag(match[0], lines, "places are spelled by a letter")


def _no_tag(tag: str, lines: Mapping[str, str], reason: str) -> UserError:
    return UserError(f"{lines[tag]}: {tag!r} is no tag: {reason}. The last column has O, B-PER, I-PER ...")
