"""Split text into sentences by a rule. benchmarks/sentence_splitting.py measures it."""

import re

_FULL_WIDTH = "。！？｡．"  # stops that need no blank after them
_OPENING = "\"'“‘«(\\[{*_¿¡–—-"
_CLOSING = "\"'”’»)\\]}*_」』）】》"
# A run of stops, closing marks, and a lookahead to the first letter after blanks. The possessive quantifiers take each
# run as a whole: with backtracking the search would be quadratic in a line of dots.
_STOP = re.compile(rf"[.!?…؟۔।॥{_FULL_WIDTH}]++[{_CLOSING}]*+(?:(?=\s++[{_OPENING}]*+(\S?)))?")
_FULL_WIDTH_END = re.compile(rf"[{_FULL_WIDTH}][{_CLOSING}]*+\Z")
_STARTER = re.compile(
    rf"\s+[{_OPENING}]*(?:The|A|An|In|On|At|It|Its|He|She|They|We|I|You|His|Her|Their|Our|My|This|That|These|Those|"
    r"There|But|And|Or|So|Then|If|When|While|As|For|From|To|By|With|After|Before|Since|What|Who|How|Why|Where|Which|"
    r"Not|No|Yes|Some|Many|All|One|Most|However|Also|Although|Because|During|Now|Here)\b(?!\.)"
)


def _words(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


# A name follows these, so they never end a sentence.
_TITLES = _words(
    "mr mrs ms mx messrs mme mlle dr drs prof rev hon st ste gen col maj brig capt cpt lt sgt cpl pvt adm cmdr gov sen",
    "sens rep reps pres supt insp bro mt ft vs cf viz e.g i.e eg ie approx vol vols pp fig figs eq eqs sec ch chap eds",
    "trans cit ibid dept univ assn ave blvd proc journ",
)
# These are short forms before a number, and ordinary words otherwise.
_BEFORE_NUMBER = _words("no nos art op p c ca jan feb mar apr jun jul aug sep sept oct nov dec ps")
# These end a sentence only before a word that often starts one.
_SHORT_FORMS = _words("u.s u.k u.n u.s.a e.u a.m p.m b.c a.d d.c ph.d m.d b.a m.a jr sr inc ltd corp co bros esq")
_MAY_GO_ON = _SHORT_FORMS | _TITLES | _words("etc cent degs hist encyclop transact append introd approx")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")  # the "J" of "J. K.", the "U.S" of "U.S."
_LONGEST = 10  # characters looked at before a stop; a longer word is not a short form


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text, in order, without surrounding blanks. A line end always ends a sentence."""
    sentences = []
    for line in text.split("\n"):
        start = 0
        for stop in _STOP.finditer(line):
            if _ends_sentence(line, stop):
                end = stop.end()
                sentences.append(line[start:end].strip())
                start = end
        sentences.append(line[start:].strip())
    return [sentence for sentence in sentences if sentence]


def split_into_lines(text: str) -> list[str]:
    """Return the lines of a text that are not blank, without surrounding blanks."""
    return [stripped for line in text.split("\n") if (stripped := line.strip())]


def blank_after(sentence: str) -> str:
    """Return the blank to put before the next sentence: "" after a full-width stop, else " "."""
    return "" if _FULL_WIDTH_END.search(sentence) else " "


def _ends_sentence(line: str, stop: re.Match[str]) -> bool:
    """Return True if the stop ends a sentence, judged by the text before and after it."""
    position, following = stop.start(), stop[1]  # `following` is the first letter after blanks
    mark = line[position]
    if mark != ".":
        return mark in _FULL_WIDTH or (following is not None and not following.islower())
    if following is None:
        return False
    if line[position + 1] == ".":  # an ellipsis
        return not following.islower()
    tail = line[max(0, position - _LONGEST) : position]
    word = tail[tail.rfind(" ") + 1 :].lstrip("\"'“‘«([{*_—–-")
    lowered = word.lower()
    if following.islower():  # an end only after a full word: "it broke. please help", not "approx. five" or "J. de"
        return stop.end() == position + 1 and len(word) > 3 and word.isalpha() and lowered not in _MAY_GO_ON
    if len(word) == _LONGEST:
        return True
    if lowered in _TITLES:
        return False
    if following.isdigit() and lowered in _BEFORE_NUMBER:
        return False
    if lowered in _SHORT_FORMS or _INITIALS.fullmatch(word):
        return _STARTER.match(line, stop.end()) is not None
    return True
