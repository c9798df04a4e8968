"""Encodings of text files: UTF-8, that of a byte order mark, or that of `--encoding`. All are converted to UTF-8."""

import codecs
import io
import re
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

from bert_jax.errors import UserError, did_you_mean

UTF8 = "UTF-8"
DECODED_BYTES = 1 << 16  # bytes decoded at a time
SAMPLE_BYTES = 1 << 16  # bytes from which an encoding is guessed
CONTEXT_CHARACTERS = 12  # characters on both sides of the undecodable byte that a message shows
BROKEN_BYTE = b"\xff"  # stands for undecodable bytes in the converted UTF-8, where it is an error like any other
# Longer marks first: that of UTF-32-LE begins with that of UTF-16-LE.
BYTE_ORDER_MARKS = {
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
_FEW = 0.1  # largest share of characters that may look wrong in a right guess
_WESTERN = 0.3  # largest share of letters beyond ASCII in a text of a western European language
_MARKS_OF_TEXT = frozenset("‘’‚“”„‹›«»–—…€£§°•™©®·´¿¡\xa0½¼¾²³ºª†‰")


class Utf8Stream(NamedTuple):
    """A stream of UTF-8 and the encoding of the file that it was converted from."""

    stream: io.BufferedReader
    encoding: str


def find_encoding(name: str) -> str:
    """Return Python's name of an encoding; `UTF8` for UTF-8 with or without a byte order mark."""
    try:
        codec = codecs.lookup(name)
        is_charset = codec._is_text_encoding and codec.name not in _NO_CHARSETS
    except (LookupError, ValueError):
        is_charset = False
    if not is_charset:
        hint = did_you_mean(name.lower(), COMMON, f"such are {', '.join(COMMON[:8])}")
        raise UserError(f"--encoding {name}: no such encoding; {hint}")
    return UTF8 if codec.name in ("utf-8", "utf-8-sig") else codec.name


def marked_encoding(head: bytes) -> str:
    """Return the encoding of the byte order mark that a file begins with, `UTF8` if there is none."""
    return next((name for mark, name in BYTE_ORDER_MARKS.items() if head.startswith(mark)), UTF8)


def utf8_stream(
    stream: BinaryIO, name: str, requested: str | None, tell: Callable[[str], None] = lambda remark: None
) -> Utf8Stream:
    """Return a stream converted to UTF-8, from the `requested` encoding, by default from that of its byte order mark.

    Bytes that are not valid in the encoding become `BROKEN_BYTE`.

    tell  called with a note if a mark decided, or if the bytes look like another encoding than the requested one
    """
    raw: Any = stream
    buffered: io.BufferedReader = raw if hasattr(raw, "peek") else io.BufferedReader(raw)
    head = buffered.peek(4)[:4]
    marked = marked_encoding(head)
    if requested is None:
        if marked != UTF8:
            tell(f"{name}: read as {marked}, as its byte order mark says")
        encoding = marked
    else:
        encoding = find_encoding(requested)
        has_mark = marked != UTF8 or head.startswith(codecs.BOM_UTF8)
        if has_mark and encoding != UTF8 and not encoding.startswith("utf"):
            raise UserError(f"{name}: not {requested}: it begins with the mark of {marked}. Leave --encoding out")
    if encoding == UTF8:
        return Utf8Stream(buffered, UTF8)
    return Utf8Stream(io.BufferedReader(_Transcoded(buffered, encoding, name, tell), DECODED_BYTES), encoding)


class _Transcoded(io.RawIOBase):
    """A raw stream that converts another one to UTF-8."""

    def __init__(self, stream: io.BufferedReader, encoding: str, name: str, tell: Callable[[str], None]) -> None:
        self.stream = stream
        self.decoder = codecs.getincrementaldecoder(encoding)(_HANDLER)
        self.ready = memoryview(b"")
        self.ended = False
        self.name, self.encoding, self.remark = name, encoding, tell
        self.checked = encoding.startswith(("utf", "UTF"))  # whether the check for UTF-8 is done

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        while not self.ready and not self.ended:
            data = self.stream.read1(DECODED_BYTES)
            self.ended = not data
            if not self.checked:
                self._check_for_utf8(data)
            text = self.decoder.decode(data, self.ended)
            self.ready = memoryview(text.encode("utf-8", _HANDLER))
        count = min(len(view), len(self.ready))
        view[:count] = self.ready[:count]
        self.ready = self.ready[count:]
        return count

    def _check_for_utf8(self, data: bytes) -> None:
        """Note once if the first bytes beyond ASCII are valid UTF-8, which text in another encoding hardly ever is."""
        if data.isascii():
            return
        self.checked = True
        try:
            text = codecs.getincrementaldecoder("utf-8")().decode(data)  # may end within a character
        except UnicodeDecodeError:
            return
        if not text.isascii():
            self.remark(f"{self.name}: is valid UTF-8, but read as {self.encoding}, as --encoding says")

    def close(self) -> None:
        self.stream.close()
        super().close()


def likely_encoding(data: bytes, at: int) -> str:
    """Guess the encoding of the bytes around `at`, which are not UTF-8. Returns an empty string without a guess."""
    sample = data[max(0, at - SAMPLE_BYTES // 2) : at + SAMPLE_BYTES // 2]
    if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    if nuls := sample.count(0):
        if nuls < len(sample) / 4:
            return ""
        odd = sum(not byte for byte in data[1 : 1 + SAMPLE_BYTES : 2])
        even = sum(not byte for byte in data[:SAMPLE_BYTES:2])
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
    """Return what to do about the bytes at `at`, which are not UTF-8, and their text in the likely encoding."""
    if other := next((format for start, format in OTHER_FORMATS.items() if data.startswith(start)), ""):
        return f"It begins as {other}: give the file the name of that"
    likely = likely_encoding(data, at)
    if not likely:
        return "Pass --encoding with the name of its encoding, or --encoding-errors replace"
    step = 4 if likely.startswith("utf-16") else 1
    start = max(0, at - CONTEXT_CHARACTERS * step) // 2 * 2 if step > 1 else max(0, at - CONTEXT_CHARACTERS)
    shown = data[start : at + CONTEXT_CHARACTERS * step].decode(likely, "ignore").splitlines()
    line = next((part for part in shown if not part.isascii()), shown[0] if shown else "").strip("\ufeff ")
    return f"It looks like {likely} ({line!r}): pass --encoding {likely} if it is, or --encoding-errors replace"


def _looks_western(sample: bytes) -> bool:
    """Return whether the bytes make sense as cp1252: accented letters among others, and punctuation between words."""
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
    """Return whether the bytes are Cyrillic words in cp1251. Decoded wrongly, letters would change case at random."""
    text = sample.decode("cp1251", "replace")
    beyond = re.findall(r"[^\x00-\x7f]", text)
    letters = len(re.findall(r"[А-яЁёІіЇїЄєЎў]", text))
    changes = len(re.findall(r"[а-яё][А-ЯЁ]", text)) + len(re.findall(r"(?<=[А-ЯЁ])[А-ЯЁ]", text))
    return letters >= (1 - _FEW) * len(beyond) and changes <= _FEW * letters


def _broken(error: UnicodeError) -> tuple[str | bytes, int]:
    """Replace what an encoding doesn't have: by an unpaired surrogate at decoding, by `BROKEN_BYTE` at encoding."""
    if isinstance(error, UnicodeDecodeError):
        return "\udcff", error.end
    if isinstance(error, UnicodeEncodeError):
        return BROKEN_BYTE * (error.end - error.start), error.end
    raise error


codecs.register_error(_HANDLER, _broken)
