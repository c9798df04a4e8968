"""Encodings of text files: UTF-8, what a byte order mark names, or the one that is asked for. All become UTF-8."""

import codecs
import difflib
import io
import re
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

from bert_jax.errors import UserError

UTF8 = "UTF-8"
CHUNK = 1 << 16  # bytes decoded at a time
SAMPLE = 1 << 16  # bytes that a guess is made from
SHOWN = 12  # characters to either side of the one that is shown of a guess
BROKEN = b"\xff"  # stands in the UTF-8 for what could not be decoded, and is found there as any broken byte is
# The longer marks first: that of UTF-32-LE begins with that of UTF-16-LE.
MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
OTHER_FORMATS = {
    b"\x1f\x8b": "a gzip file (.gz)",
    b"\x28\xb5\x2f\xfd": "a zstd file (.zst)",
    b"BZh": "a bzip2 file (.bz2)",
    b"PK\x03\x04": "a .zip or .xlsx",
    b"\xd0\xcf\x11\xe0": "an .xls or .doc",
    b"PAR1": "a .parquet",
    b"%PDF": "a .pdf",
}
COMMON = ("cp1252", "utf-16", "latin-1", "cp1250", "cp1251", "shift_jis", "gb18030", "big5", "euc_kr", "utf-8")
_NO_CHARSETS = {"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "utf-7", "mbcs", "oem"}
_HANDLER = "bert_jax.broken"
_FEW = 0.1  # share of characters that look wrong, of a right guess
_WESTERN = 0.3  # most that a text in a western European language has of letters beyond ASCII
_MARKS_OF_TEXT = frozenset("‘’‚“”„‹›«»–—…€£§°•™©®·´¿¡\xa0½¼¾²³ºª†‰")


class Decodable(NamedTuple):
    """Bytes to read as UTF-8, and the encoding that they have in the file."""

    stream: io.BufferedReader
    encoding: str


def find_encoding(name: str) -> str:
    """Return an encoding by its usual name, as Python spells it; UTF8 with or without a mark is `UTF8`."""
    try:
        found = codecs.lookup(name)
        known = found._is_text_encoding and found.name not in _NO_CHARSETS
    except (LookupError, ValueError):
        known = False
    if not known:
        close = difflib.get_close_matches(name.lower(), COMMON, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"such are {', '.join(COMMON[:8])}"
        raise UserError(f"--encoding {name}: no such encoding; {hint}")
    return UTF8 if found.name in ("utf-8", "utf-8-sig") else found.name


def marked_encoding(head: bytes) -> str:
    """Return the encoding that the first bytes of a file name by their mark, `UTF8` where there is none."""
    return next((name for mark, name in MARKS.items() if head.startswith(mark)), UTF8)


def decodable(
    stream: BinaryIO, name: str, asked: str | None, tell: Callable[[str], None] = lambda remark: None
) -> Decodable:
    """Return a stream of the same text in UTF-8: of the encoding asked for, otherwise of the one that its mark names.

    tell  is called with what its bytes decided, and where they speak against what is asked for
    Bytes that the encoding does not have become `BROKEN`.
    """
    raw: Any = stream
    buffered: io.BufferedReader = raw if hasattr(raw, "peek") else io.BufferedReader(raw)
    head = buffered.peek(4)[:4]
    marked = marked_encoding(head)
    if asked is None:
        if marked != UTF8:
            tell(f"{name}: read as {marked}, as its byte order mark says")
        encoding = marked
    else:
        encoding = find_encoding(asked)
        has_mark = marked != UTF8 or head.startswith(codecs.BOM_UTF8)
        if has_mark and encoding != UTF8 and not encoding.startswith("utf"):
            raise UserError(f"{name}: not {asked}: it begins with the mark of {marked}. Leave --encoding out")
    if encoding == UTF8:
        return Decodable(buffered, UTF8)
    return Decodable(io.BufferedReader(_Transcoded(buffered, encoding, name, tell), CHUNK), encoding)


class _Transcoded(io.RawIOBase):
    """The text of a stream, as UTF-8."""

    def __init__(self, stream: io.BufferedReader, encoding: str, name: str, tell: Callable[[str], None]) -> None:
        self.stream = stream
        self.decoder = codecs.getincrementaldecoder(encoding)(_HANDLER)
        self.ready = memoryview(b"")
        self.ended = False
        self.name, self.encoding, self.remark = name, encoding, tell
        self.looked = encoding.startswith(("utf", "UTF"))  # whether it is known to be no UTF-8

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        while not self.ready and not self.ended:
            data = self.stream.read1(CHUNK)
            self.ended = not data
            if not self.looked:
                self._look(data)
            text = self.decoder.decode(data, self.ended)
            self.ready = memoryview(text.encode("utf-8", _HANDLER))
        count = min(len(view), len(self.ready))
        view[:count] = self.ready[:count]
        self.ready = self.ready[count:]
        return count

    def _look(self, data: bytes) -> None:
        """Say once where the first bytes beyond ASCII are UTF-8: in another encoding that is hardly a text."""
        if data.isascii():
            return
        self.looked = True
        try:
            text = codecs.getincrementaldecoder("utf-8")().decode(data)  # the end may be half a character
        except UnicodeDecodeError:
            return
        if not text.isascii():
            self.remark(f"{self.name}: is valid UTF-8, but read as {self.encoding}, as --encoding says")

    def close(self) -> None:
        self.stream.close()
        super().close()


def likely_encoding(data: bytes, at: int) -> str:
    """Return what the bytes around a place that is not UTF-8 look like, nothing where that is not known. A guess."""
    sample = data[max(0, at - SAMPLE // 2) : at + SAMPLE // 2]
    if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    if nuls := sample.count(0):
        if nuls < len(sample) / 4:
            return ""
        odd = sum(not byte for byte in data[1 : 1 + SAMPLE : 2])
        even = sum(not byte for byte in data[:SAMPLE:2])
        return "utf-16-le" if odd > even else "utf-16-be"
    if _looks_western(sample):
        return "cp1252"
    if _looks_cyrillic(sample):
        return "cp1251"
    try:
        import charset_normalizer
    except ImportError:
        return ""
    best = charset_normalizer.from_bytes(sample).best()
    return "" if best is None or best.encoding in ("ascii", "utf_8") else best.encoding


def encoding_hint(data: bytes, at: int) -> str:
    """Say what to do about bytes that are not UTF-8 at `at`, and how they read in the encoding that is likely."""
    if other := next((format for start, format in OTHER_FORMATS.items() if data.startswith(start)), ""):
        return f"It begins as {other}: give the file the name of that"
    likely = likely_encoding(data, at)
    if not likely:
        return "Pass --encoding with the name of its encoding, or --encoding-errors replace"
    step = 4 if likely.startswith("utf-16") else 1
    start = max(0, at - SHOWN * step) // 2 * 2 if step > 1 else max(0, at - SHOWN)
    shown = data[start : at + SHOWN * step].decode(likely, "ignore").splitlines()
    line = next((part for part in shown if not part.isascii()), shown[0] if shown else "").strip("\ufeff ")
    return f"It looks like {likely} ({line!r}): pass --encoding {likely} if it is, or --encoding-errors replace"


def _looks_western(sample: bytes) -> bool:
    """Return whether the bytes make sense as cp1252: letters with accents among others, and marks between words."""
    try:
        text = sample.decode("cp1252")
    except UnicodeDecodeError:
        return False
    beyond = re.findall(r"[^\x00-\x7f]", text)
    letters = sum(map(str.isalpha, text))
    if sum(map(str.isalpha, beyond)) > _WESTERN * letters:
        return False
    wrong = sum(not mark.isalpha() and mark not in _MARKS_OF_TEXT for mark in beyond)
    wrong += len(re.findall(r"(?<=[A-Za-z])[¿¡³²ª£§°½¼¾](?=[a-zà-ÿ])", text))
    return wrong <= _FEW * len(beyond)


def _looks_cyrillic(sample: bytes) -> bool:
    """Return whether the bytes are Cyrillic words in cp1251; in other encodings their letters change case at random."""
    text = sample.decode("cp1251", "replace")
    beyond = re.findall(r"[^\x00-\x7f]", text)
    letters = len(re.findall(r"[А-яЁёІіЇїЄєЎў]", text))
    changes = len(re.findall(r"[а-яё][А-ЯЁ]", text)) + len(re.findall(r"(?<=[А-ЯЁ])[А-ЯЁ]", text))
    return letters >= (1 - _FEW) * len(beyond) and changes <= _FEW * letters


def _broken(error: UnicodeError) -> tuple[str | bytes, int]:
    """Put `BROKEN` for what an encoding does not have: half a surrogate on the way in, its byte on the way out."""
    if isinstance(error, UnicodeDecodeError):
        return "\udcff", error.end
    if isinstance(error, UnicodeEncodeError):
        return BROKEN * (error.end - error.start), error.end
    raise error


codecs.register_error(_HANDLER, _broken)
