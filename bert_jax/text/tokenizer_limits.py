"""Limits on a tokenizer.json: bounded growth of text, time in proportion to the text, no damaged tables.

The library trusts its file: a malicious one uses up memory or time, and a damaged table makes it panic.
"""

import base64
import binascii
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from bert_jax.errors import UserError
from bert_jax.text.patterns import Unbounded, check_pattern
from bert_jax.text.tokenizer_json import Described, pipeline_steps

MAX_STEPS = 32  # in a normalizer, pre-tokenizer or decoder; published ones have up to eight
MAX_GROWTH = 64  # characters that one character may become by insertions of the file itself
MAX_WORD_CHARS = 500  # WordPiece's time grows with the cube of a word's length; BERT's limit is 100
MAX_ID = (1 << 31) - 1
MAX_AFFIX_CHARS = 64  # of ## and the like, which are joined to each piece that is looked up
BYTES_OF_CHARACTER = 4

NORMALIZERS = {
    *("BertNormalizer", "ByteLevel", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Precompiled", "Prepend"),
    *("Replace", "Strip", "StripAccents"),
}
PRE_TOKENIZERS = {
    *("BertPreTokenizer", "ByteLevel", "CharDelimiterSplit", "Digits", "Metaspace", "Punctuation", "Split"),
    *("UnicodeScripts", "Whitespace", "WhitespaceSplit"),
}
DECODERS = {
    *("BPEDecoder", "ByteFallback", "ByteLevel", "CTC", "Fuse", "Metaspace", "Replace", "Strip", "WordPiece"),
}
ALLOWED_STEPS = {"normalizer": NORMALIZERS, "pre_tokenizer": PRE_TOKENIZERS, "decoder": DECODERS}
AFFIXES = ("continuing_subword_prefix", "end_of_word_suffix")


def check_limits(described: Described, source: str) -> None:
    """Raise UserError, naming `source`, for a tokenizer.json that could exhaust memory or time or make Rust panic."""
    try:
        _check_steps(described, source)
        _check_model(described["model"], source)
        _check_ids(described, source)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise UserError(f"{source}: not a tokenizer file ({error!r})") from None


def _check_steps(described: Described, source: str) -> None:
    """Check the normalizer and the pre-tokenizer, whose growth multiplies, and the decoder."""
    growth = 1.0
    for part, allowed in ALLOWED_STEPS.items():
        steps = pipeline_steps(described.get(part))
        if len(steps) > MAX_STEPS:
            raise UserError(f"{source}: its {part} has {len(steps)} steps; {MAX_STEPS} are allowed")
        for step in steps:
            if step.get("type") not in allowed:
                raise UserError(f"{source}: its {part} has a step {step.get('type')!r}, which is not known here")
            _check_patterns(step, f"{source}: its {part}")
        part_growth = math.prod(_growth(step, source) for step in steps)
        growth = part_growth if part == "decoder" else growth * part_growth
        if growth > MAX_GROWTH:
            raise UserError(
                f"{source}: its {part} turns one character into up to {growth:,.0f}; {MAX_GROWTH} are allowed"
            )


def _check_patterns(step: dict[str, Any], where: str) -> None:
    for kind, pattern in _patterns(step):
        try:
            if kind == "Regex":
                check_pattern(pattern)
            elif not pattern:
                raise Unbounded("an empty pattern")
        except Unbounded as reason:
            raise UserError(
                f"{where} searches for {pattern[:80]!r}, which may take forever on some texts ({reason})"
            ) from None


def _patterns(step: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the kind ("String" or "Regex") and text of each pattern of a step. Raises TypeError for anything else."""
    pattern = step.get("pattern")
    if isinstance(pattern, dict):
        for kind, text in pattern.items():
            if kind not in ("String", "Regex") or not isinstance(text, str):
                raise TypeError(f"pattern {kind}")
            yield kind, text
    elif isinstance(pattern, str):
        yield "String", pattern


def _growth(step: dict[str, Any], source: str) -> float:
    """Return the largest number of characters that a step makes of one, apart from Unicode's own expansions."""
    match step.get("type"):
        case "Replace":
            shortest = min((len(text) if kind == "String" else 0 for kind, text in _patterns(step)), default=0)
            inserted = len(step["content"])
            return max(1.0, inserted / shortest) if shortest else 1.0 + inserted
        case "Prepend":
            return 1.0 + len(step["prepend"])
        case "ByteLevel":
            return BYTES_OF_CHARACTER
        case "Precompiled":
            return _check_charsmap(step, source)
    return 1.0


def _check_charsmap(step: dict[str, Any], source: str) -> float:
    """Return the growth factor of SentencePiece's character table: its longest text over Unicode's 18 characters.

    At least 1. Raises UserError for a table that points out of itself, which makes the library panic. The table is a
    double array of the darts-clone library (a trie whose nodes are 32-bit words), then the texts of its leaves.
    """
    try:
        table = base64.b64decode(step["precompiled_charsmap"], validate=True)
    except (KeyError, TypeError, binascii.Error) as error:
        raise UserError(f"{source}: its precompiled_charsmap is damaged ({error!r})") from None
    size = int.from_bytes(table[:4], "little")
    if size == 0 or size % 4 or size + 4 > len(table):
        raise UserError(f"{source}: its precompiled_charsmap is damaged ({len(table)} bytes)")
    units, texts = np.frombuffer(table, "<u4", size // 4, 4), table[4 + size :]
    inner = units >> 31 == 0
    target = np.arange(len(units)) ^ ((units >> 10) << ((units & (1 << 9)) >> 6)).astype(np.int64)
    leaf = target[inner & (units >> 8 & 1 == 1)]
    sound = bool((target[inner] | 255 < len(units)).all())
    if sound:
        places = (units[leaf] & 0x7FFFFFFF).astype(np.int64)
        starts = np.frombuffer(texts + b"\0", np.uint8)
        sound = bool((places <= len(texts)).all()) and bool((starts[places] & 0xC0 != 0x80).all())
    try:
        longest = max(map(len, texts.decode().split("\0")))
    except UnicodeDecodeError:
        sound = False
    if not sound:
        raise UserError(f"{source}: its precompiled_charsmap is damaged: it points out of itself")
    return max(1.0, longest / 18)


def _check_ids(described: Described, source: str) -> None:
    """Raise UserError for an id that is no whole number. Python's JSON reader accepts Infinity and NaN, too."""
    vocab, added = described["model"]["vocab"], described.get("added_tokens") or ()
    ids = itertools.chain(vocab.items() if isinstance(vocab, dict) else (), ((t["content"], t["id"]) for t in added))
    for text, i in ids:
        if type(i) is not int or not 0 <= i <= MAX_ID:
            raise UserError(f"{source}: entry {text!r} has id {i!r}, where a whole number from 0 on is expected")


def _check_model(model: dict[str, Any], source: str) -> None:
    word_chars = model.get("max_input_chars_per_word", 0)
    if not isinstance(word_chars, int) or not 0 <= word_chars <= MAX_WORD_CHARS:
        raise UserError(
            f"{source}: max_input_chars_per_word is {word_chars!r}; the time for a word grows with the cube of its "
            f"length, so at most {MAX_WORD_CHARS} are allowed. BERT has 100"
        )
    if model.get("dropout"):
        raise UserError(
            f"{source}: dropout {model['dropout']!r} splits the same text differently each time. Set it to null"
        )
    for name in AFFIXES:
        affix = model.get(name) or ""
        if not isinstance(affix, str) or len(affix) > MAX_AFFIX_CHARS:
            raise UserError(f"{source}: its {name} is not a string of at most {MAX_AFFIX_CHARS} characters")
