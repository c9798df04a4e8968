"""Bytes of files as text: UTF-8, strictly or with replacements that are counted."""

import re
from collections import Counter
from collections.abc import Callable

from bert_jax.data.formats.encodings import UTF8, encoding_hint
from bert_jax.errors import UserError

BOM = b"\xef\xbb\xbf"
MARK = "\ufeff"
_RETURNS = re.compile(r"(?<!\r)\r++\n")

Place = Callable[[int], str]  # names the place in a file, by file and line or row, that holds a byte


def decode(data: bytes, offset: int, place: Place, errors: str, losses: Counter[str], encoding: str = UTF8) -> str:
    r"""Return the text of lines that start at `offset` of a file, without byte order marks at starts of lines.

    (They come to stand there when files are put together.) What is not UTF-8, and NUL, raises UserError where `errors`
    is strict; otherwise it is replaced by U+FFFD, or dropped, and counted in `losses`.

    encoding  of the file, whose bytes have become UTF-8 since (see encodings.decodable)
    """
    if offset == 0 and data.startswith(BOM):
        data, offset = data[len(BOM) :], len(BOM)
    strict = errors == "strict"
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        at = offset + error.start
        if strict and encoding != UTF8:
            raise UserError(
                f"{place(at)}: what stands here is not {encoding}. Pass another --encoding, or "
                "--encoding-errors replace"
            ) from None
        if strict:
            hint = encoding_hint(data, error.start)
            raise UserError(f"{place(at)}: not UTF-8 at byte {at} (0x{data[error.start]:02x}). {hint}") from None
        text = data.decode("utf-8", "replace")
        losses["characters_replaced"] += text.count("\ufffd") - data.count("\ufffd".encode())
    if "\0" in text:
        at = offset + data.index(b"\0")
        if strict:
            hint = encoding_hint(data, at - offset)
            raise UserError(f"{place(at)}: a NUL at byte {at}, so this is hardly text. {hint}")
        losses["nul_characters_dropped"] += text.count("\0")
        text = text.replace("\0", "")
    if MARK in text:
        text = text.removeprefix(MARK).replace(f"\n{MARK}", "\n").replace(f"\r{MARK}", "\r")
    return text


def lines_of(text: str) -> list[str]:
    r"""Return the lines of a text without their ends: \n, \r and \r\n, and carriage returns before those."""
    if "\r" in text:
        text = _RETURNS.sub("\n", text).replace("\r", "\n")
    lines = text.split("\n")  # str.splitlines cuts at more than these
    if not lines[-1]:
        lines.pop()
    return lines


def unix_line_ends(text: str) -> str:
    r"""Return the text with \n for \r\n and \r."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
