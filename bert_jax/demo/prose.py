"""Extract the prose of docstrings and documentation files: whole paragraphs, without code and markup."""

import itertools
import re
from collections.abc import Iterator

FENCE = re.compile(r"\s*(```|~~~)")
DOCTEST = re.compile(r"\s*(>>>|\.\.\.(\s|$)|In \[\d+\]:)")
RULER = re.compile(r"\s*([-=~^*#_+.`'\":])\1{2,}\s*")
TABLE_LINE = re.compile(r"\s*(\+[-=+]{3,}|\|.*\|\s*$|[-=]{2,}(\s+[-=]{2,})+\s*$)")
DIRECTIVE = re.compile(r"\s*\.\.\s+(?:([\w:-]+)::)?")
TALKING_DIRECTIVE = re.compile(
    "note|warning|tip|hint|important|caution|attention|danger|admonition|deprecated|version(added|changed)|seealso|topic"
)
ITEM = re.compile(r"\s*(?:[-*+•]\s|\(?\d{1,2}[.)]\s|:[\w ,*.]+:(?=\s|$)|@\w+(?:\s+\w+:)?)\s*")
TYPE_FIELD = re.compile(r"\s*:(type|rtype|vartype|ivar|cvar|meta)\b")
ARGUMENT = re.compile(r"\s*\*{0,2}`{0,2}[\w.]+`{0,2}(?:\s*\([^()]*\))?:\s+(?=\S)")  # Google style, `name (type): text`
TERM = re.compile(r"\s*\S.*?\s:(\s.*)?|\s*[\w.*]+(, [\w.*]+)*")  # numpydoc style, `name : type` over its text
SECTION = re.compile(r"\s*(#+\s.*|[A-Z]\w*( \w+)?:{1,2}\s*)")
LITERATURE = frozenset(("references", "reference", "bibliography", "citation", "citations"))

INLINE = (  # (what a paragraph must contain, pattern, replacement): most paragraphs contain none of it
    ("<", re.compile(r"<!--.*?-->|</?\w[^<>]*>"), ""),
    ("![", re.compile(r"!\[[^\]]*\]\([^)]*\)"), ""),
    ("](", re.compile(r"\[([^\[\]]+)\]\([^()\s]*\)"), r"\1"),
    ("$", re.compile(r"\$[^$]{24,}\$|\$[^$\s][^$]*\\[^$]*\$"), "x"),
    (":math:", re.compile(r":math:`[^`]{24,}`|:math:`[^`]*\\[^`]*`"), "x"),
    ("`\\", re.compile(r"`\\(?=\w)"), "`"),
    ("`~", re.compile(r"(?::[\w:+-]+:)?`~(?:[\w.]*\.)?([^`]+)`"), r"\1"),
    (":`", re.compile(r":[\w:+-]+:`[.!]?([^`<>]+?)\s*(?:<[^`<>]*>)?`"), r"\1"),
    ("`", re.compile(r"`{1,2}[.!]?([^`]+?)\s*(?:<[^`<>]*>)?`{1,2}_{0,2}"), r"\1"),
    ("[", re.compile(r"\[(?:\d+|[A-Z]\w*\d+|#\w*)\]_?"), ""),
    ("*", re.compile(r"(?<![\w*])\*{1,2}([^\s*](?:[^*]*[^\s*])?)\*{1,2}(?![\w*])"), r"\1"),
    ("://", re.compile(r"<?\b(?:https?|ftp)://[^\s>]+>?"), ""),
    ("\\", re.compile(r"\\([*_|`\s])"), r"\1"),
    ("(", re.compile(r"\(\s*\)"), ""),
    ("[", re.compile(r"\[\s*\]"), ""),
    ("::", re.compile(r"::$"), ":"),
    ("  ", re.compile(r"\s+"), " "),
    (" .", re.compile(r" \.(?= |$)"), "."),
    (" ,", re.compile(r" ,(?= |$)"), ","),
)
ENGLISH_WORD = re.compile(r"[A-Za-z]+(?:['-][a-z]+)*")
FUNCTION_WORD = re.compile(
    r"\b(an?|the|of|to|in|on|for|from|with|by|as|at|is|are|be|was|were|will|can|may|must|and|or|not|if|when|that|this|which"
    r"|its?|into|than|then)\b",
    re.I,
)


def paragraphs(text: str) -> list[str]:
    """Return the paragraphs of prose in a dedented docstring or a .rst, .md or .txt file."""
    blocks: list[list[str]] = [[]]
    for line in _prose_lines(text.expandtabs(4).splitlines()):
        if line is None:
            blocks.append([])
        else:
            blocks[-1].append(line)
    clean = (tidy(" ".join(block)) for block in blocks if block)
    return [paragraph for paragraph in clean if is_prose(paragraph)]


def tidy(paragraph: str) -> str:
    """Return a paragraph in one line, without rst and markdown markup, footnotes and addresses."""
    for needed, pattern, replacement in INLINE:
        if needed in paragraph:
            paragraph = pattern.sub(replacement, paragraph)
    return paragraph.strip()


def is_prose(paragraph: str) -> bool:
    """Return whether a paragraph is prose: at least three words, mostly letters, with function words if it is long."""
    words = ENGLISH_WORD.findall(paragraph)
    if min(len(words), len(paragraph.split())) < 3 or sum(map(len, words)) < 0.75 * len(paragraph.replace(" ", "")):
        return False
    return len(words) < 8 or len(FUNCTION_WORD.findall(paragraph)) >= 0.1 * len(words)


def _prose_lines(lines: list[str]) -> Iterator[str | None]:
    """Yield lines of prose, and None at the end of each paragraph. Skips code, tables, headings, types, references."""
    indent = 0
    hidden_below: int | None = None  # the indent of the line that opened a literal block or a directive without prose
    in_fence = in_output = in_literature = in_paragraph = False
    for line, following in itertools.zip_longest(lines, lines[1:], fillvalue=""):
        depth, text = _indent(line), line.strip()
        was_in_paragraph, in_paragraph = in_paragraph, False
        if FENCE.match(line) and not RULER.fullmatch(line.replace("`", "")):
            in_fence = not in_fence
            yield None
        elif in_fence:
            continue
        elif not text:
            in_output = False
            yield None
        elif hidden_below is not None and depth > hidden_below:
            continue
        elif in_output or DOCTEST.match(line):
            hidden_below, in_output = None, True
            yield None
        elif _is_heading(line, following):
            hidden_below = depth if text.endswith("::") else None
            in_literature = text.strip(" #:").lower() in LITERATURE
            yield None
        elif in_literature or RULER.fullmatch(line) or TABLE_LINE.match(line) or TYPE_FIELD.match(line):
            hidden_below = None
            yield None
        elif directive := DIRECTIVE.match(line):
            hidden_below = None if TALKING_DIRECTIVE.fullmatch(directive[1] or "") else depth
            yield None
        elif (not was_in_paragraph or depth < indent) and TERM.fullmatch(line) and _indent(following) > depth:
            hidden_below = None
            yield None
        else:
            item = ITEM.match(line) or ARGUMENT.match(line)
            if item or depth < indent:
                yield None
            hidden_below = depth if text.endswith("::") else None
            yield line[item.end() :] if item else text
            if hidden_below is not None:
                yield None
            indent, in_paragraph = depth, True


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _is_heading(line: str, following: str) -> bool:
    if SECTION.fullmatch(line):
        return True
    is_underlined = RULER.fullmatch(following) and len(following.strip()) >= len(line.strip()) - 3
    return bool(is_underlined and not RULER.fullmatch(line))
