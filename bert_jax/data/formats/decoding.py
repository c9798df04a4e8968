"""Decoding of bytes as UTF-8, strictly or with counted replacements; lines of text."""

import re
from collections import Counter
from collections.abc import Callable

from bert_jax.data.formats.encodings import UTF8, encoding_hint
from bert_jax.errors import UserError

BOM_BYTES = b"\xef\xbb\xbf"
BOM_CHARACTER = "\ufeff"
_RETURNS = re.compile(r"(?<!\r)\r++\n")

PlaceName = Callable[[int], str]  # takes the offset of a byte; returns its file and line (or row), for messages


def decode_utf8(
    data: bytes, offset: int, place: PlaceName, errors: str, losses: Counter[str], encoding: str = UTF8
) -> str:
    r"""Return the text of lines that start at `offset` of a file, without byte order marks at the starts of lines.

    (Concatenating files leaves such marks.) Raises UserError for bytes that are not UTF-8 and for NUL if `errors` is
    "strict". If it is "replace", such bytes become U+FFFD, NUL is dropped, and both are counted in `losses`.

    encoding  encoding of the file, from which `data` was converted to UTF-8 (see encodings.utf8_stream)
    """
    if offset == 0 and data.startswith(BOM_BYTES):
        data, offset = data[len(BOM_BYTES) :], len(BOM_BYTES)
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
    if BOM_CHARACTER in text:
        text = text.removeprefix(BOM_CHARACTER).replace(f"\n{BOM_CHARACTER}", "\n").replace(f"\r{BOM_CHARACTER}", "\r")
    return text


def text_lines(text: str) -> list[str]:
    r"""Return the lines of a text without their ends: \n, \r and \r\n, and any carriage returns before \r\n."""
    if "\r" in text:
        text = _RETURNS.sub("\n", text).replace("\r", "\n")
    lines = text.split("\n")  # str.splitlines splits at other characters, too
    if not lines[-1]:
        lines.pop()
    return lines


def unix_line_ends(text: str) -> str:
    r"""Return the text with \r\n and \r replaced by \n."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
