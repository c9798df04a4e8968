"""What a tokenizer.json may ask of the library: text that grows by a bounded factor, in time that grows with the text.

The library trusts its file: it goes on until memory or patience ends, and where a table is damaged it panics.
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
from bert_jax.text.recipes import Described, flattened

MOST_STEPS = 32  # of a normalizer, pre-tokenizer or decoder; published ones have up to eight
MOST_GROWTH = 64  # characters that one may become by what the file itself inserts
LONGEST_WORD = 500  # characters of a word that WordPiece cuts, in a time of their cube; BERT has 100
HIGHEST_ID = (1 << 31) - 1
LONGEST_AFFIX = 64  # characters of ## and the like, which are put before each piece that is looked for
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
KNOWN = {"normalizer": NORMALIZERS, "pre_tokenizer": PRE_TOKENIZERS, "decoder": DECODERS}
SHORT = ("continuing_subword_prefix", "end_of_word_suffix")


def check_limits(described: Described, source: str) -> None:
    """Raise UserError, naming `source`, where a tokenizer.json asks for what the library cannot be trusted with."""
    try:
        _check_steps(described, source)
        _check_model(described["model"], source)
        _check_ids(described, source)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise UserError(f"{source}: not a tokenizer file ({error!r})") from None


def _check_steps(described: Described, source: str) -> None:
    """Check the normalizer and the pre-tokenizer, which work on the same text one after the other, and the decoder."""
    growth = 1.0
    for part, known in KNOWN.items():
        steps = flattened(described.get(part))
        if len(steps) > MOST_STEPS:
            raise UserError(f"{source}: its {part} has {len(steps)} steps; {MOST_STEPS} are allowed")
        for step in steps:
            if step.get("type") not in known:
                raise UserError(f"{source}: its {part} has a step {step.get('type')!r}, which is not known here")
            _check_patterns(step, f"{source}: its {part}")
        of_part = math.prod(_growth(step, source) for step in steps)
        growth = of_part if part == "decoder" else growth * of_part
        if growth > MOST_GROWTH:
            raise UserError(
                f"{source}: its {part} makes of one character up to {growth:,.0f}; {MOST_GROWTH} are allowed"
            )


def _check_patterns(step: dict[str, Any], where: str) -> None:
    for kind, pattern in _patterns(step):
        try:
            if kind == "Regex":
                check_pattern(pattern)
            elif not pattern:
                raise Unbounded("nothing to look for")
        except Unbounded as reason:
            raise UserError(
                f"{where} looks for {pattern[:80]!r}, which may take for ever on some text ({reason})"
            ) from None


def _patterns(step: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The kind and the text of what a step looks for. Raises TypeError for what is no pattern."""
    pattern = step.get("pattern")
    if isinstance(pattern, dict):
        for kind, text in pattern.items():
            if kind not in ("String", "Regex") or not isinstance(text, str):
                raise TypeError(f"pattern {kind}")
            yield kind, text
    elif isinstance(pattern, str):
        yield "String", pattern


def _growth(step: dict[str, Any], source: str) -> float:
    """Return the most characters that one character becomes in a step, beyond what Unicode's own tables make of it."""
    match step.get("type"):
        case "Replace":
            found = min((len(text) if kind == "String" else 0 for kind, text in _patterns(step)), default=0)
            inserted = len(step["content"])
            return max(1.0, inserted / found) if found else 1.0 + inserted
        case "Prepend":
            return 1.0 + len(step["prepend"])
        case "ByteLevel":
            return BYTES_OF_CHARACTER
        case "Precompiled":
            return _check_charsmap(step, source)
    return 1.0


def _check_charsmap(step: dict[str, Any], source: str) -> float:
    """Return the characters of the longest text in a table of SentencePiece's, at least 1; 18 are Unicode's most.

    Raises UserError where following the table would lead out of it: the library would panic. It is a double array of
    the darts-clone library (a trie whose nodes are 32-bit words) and the texts that its leaves point to.
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
    """Raises UserError where an id is no whole number: JSON as Python reads it has Infinity and NaN, too."""
    vocab, added = described["model"]["vocab"], described.get("added_tokens") or ()
    ids = itertools.chain(vocab.items() if isinstance(vocab, dict) else (), ((t["content"], t["id"]) for t in added))
    for text, i in ids:
        if type(i) is not int or not 0 <= i <= HIGHEST_ID:
            raise UserError(f"{source}: entry {text!r} has id {i!r}, where a whole number from 0 on is expected")


def _check_model(model: dict[str, Any], source: str) -> None:
    longest = model.get("max_input_chars_per_word", 0)
    if not isinstance(longest, int) or not 0 <= longest <= LONGEST_WORD:
        raise UserError(
            f"{source}: max_input_chars_per_word {longest!r}; the time for a word grows with its cube, and at most "
            f"{LONGEST_WORD} are allowed. BERT has 100"
        )
    if model.get("dropout"):
        raise UserError(
            f"{source}: dropout {model['dropout']!r} cuts the same text in another way each time. Set it to null there"
        )
    for name in SHORT:
        affix = model.get(name) or ""
        if not isinstance(affix, str) or len(affix) > LONGEST_AFFIX:
            raise UserError(f"{source}: its {name} is no text of at most {LONGEST_AFFIX} characters")
