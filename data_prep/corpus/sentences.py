"""Where sentences end: a rule, measured by benchmarks/sentences.py."""

import re

_FULL_WIDTH = "。！？｡．"  # need no blank after them
_OPENING = "\"'“‘«(\\[{*_¿¡–—-"
_CLOSING = "\"'”’»)\\]}*_」』）】》"
# A stop, the marks that close what it ends, and a look at the first letter after blanks. It takes in each run of stops
# whole, whatever follows: a search that gave up on one would be quadratic in a line of dots.
_STOP = re.compile(rf"[.!?…؟۔।॥{_FULL_WIDTH}]++[{_CLOSING}]*+(?:(?=\s++[{_OPENING}]*+(\S?)))?")
_FULL_WIDTH_END = re.compile(rf"[{_FULL_WIDTH}][{_CLOSING}]*+\Z")
_STARTER = re.compile(
    rf"\s+[{_OPENING}]*(?:The|A|An|In|On|At|It|Its|He|She|They|We|I|You|His|Her|Their|Our|My|This|That|These|Those|"
    r"There|But|And|Or|So|Then|If|When|While|As|For|From|To|By|With|After|Before|Since|What|Who|How|Why|Where|Which|"
    r"Not|No|Yes|Some|Many|All|One|Most|However|Also|Although|Because|During|Now|Here)\b(?!\.)"
)


def _words(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


# A name follows these: never an end.
_TITLES = _words(
    "mr mrs ms mx messrs mme mlle dr drs prof rev hon st ste gen col maj brig capt cpt lt sgt cpl pvt adm cmdr gov sen",
    "sens rep reps pres supt insp bro mt ft vs cf viz e.g i.e eg ie approx vol vols pp fig figs eq eqs sec ch chap eds",
    "trans cit ibid dept univ assn ave blvd proc journ",
)
# A number follows these, or they are words like others.
_BEFORE_NUMBER = _words("no nos art op p c ca jan feb mar apr jun jul aug sep sept oct nov dec ps")
# What follows decides: a small letter goes on, and so does a capital that seldom starts a sentence.
_SHORT_FORMS = _words("u.s u.k u.n u.s.a e.u a.m p.m b.c a.d d.c ph.d m.d b.a m.a jr sr inc ltd corp co bros esq")
_MAY_GO_ON = _SHORT_FORMS | _TITLES | _words("etc cent degs hist encyclop transact append introd approx")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")  # the "J" of "J. K.", the "U.S" of "U.S."
_LONGEST = 10  # characters of a short form; a longer word is none


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, in order, without the blanks around them. A line end always ends one."""
    sentences = []
    for line in text.split("\n"):
        start = 0
        for found in _STOP.finditer(line):
            if _ends_here(line, found):
                end = found.end()
                sentences.append(line[start:end].strip())
                start = end
        sentences.append(line[start:].strip())
    return [sentence for sentence in sentences if sentence]


def split_lines(text: str) -> list[str]:
    """The lines of a text that hold something."""
    return [stripped for line in text.split("\n") if (stripped := line.strip())]


def blank_after(sentence: str) -> str:
    """What stands between the sentence and the next of its document: nothing after a full-width stop."""
    return "" if _FULL_WIDTH_END.search(sentence) else " "


def _ends_here(line: str, found: re.Match[str]) -> bool:
    """Whether the stop ends a sentence, by what stands before and after it."""
    stop, following = found.start(), found[1]
    mark = line[stop]
    if mark != ".":
        return mark in _FULL_WIDTH or (following is not None and not following.islower())
    if following is None:
        return False
    if line[stop + 1] == ".":  # an ellipsis
        return not following.islower()
    tail = line[max(0, stop - _LONGEST) : stop]
    word = tail[tail.rfind(" ") + 1 :].lstrip("\"'“‘«([{*_—–-")
    lowered = word.lower()
    if following.islower():  # an end only after a plain word: "it broke. please help", not "approx. five" nor "J. de"
        return found.end() == stop + 1 and len(word) > 3 and word.isalpha() and lowered not in _MAY_GO_ON
    if len(word) == _LONGEST:
        return True
    if lowered in _TITLES:
        return False
    if following.isdigit() and lowered in _BEFORE_NUMBER:
        return False
    if lowered in _SHORT_FORMS or _INITIALS.fullmatch(word):
        return _STARTER.match(line, found.end()) is not None
    return True
