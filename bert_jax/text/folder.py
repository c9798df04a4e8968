"""Which kind of tokenizer a folder holds."""

import os
from pathlib import Path
from typing import Any

from bert_jax.errors import UserError
from bert_jax.files import read_json, read_json_if_there
from bert_jax.text import library_files, wordpiece_files
from bert_jax.text.classes import MERGES, VOCAB, VOCAB_JSON, check_described, named_class, old_file
from bert_jax.text.folder_files import SETTINGS, SIDE, TOKENIZER
from bert_jax.text.layout import BERT, CLASSES, Layout, read_layout, segments_fed
from bert_jax.text.recipes import Described, flattened
from bert_jax.text.tokenizer import Side, Tokenizer

PARTS = ("model", "normalizer", "pre_tokenizer")
CUTTERS = ("BertPreTokenizer", "Whitespace", "WhitespaceSplit", "Punctuation", "Digits")  # that WordPiece may follow


def read_folder(folder: Path, *, lowercase: bool | None = None) -> Tokenizer:
    """The tokenizer of a folder with tokenizer.json, or with the older files of BERT, RoBERTa or XLM-RoBERTa.

    Reads files only: nothing that a folder holds is ever run. Raises UserError for the files of classes that make other
    ids of them than are made here.
    """
    settings = read_json_if_there(folder / SETTINGS)
    try:
        tokenizer = _read(folder, settings, lowercase)
        tokenizer.truncation_side = _truncation_side(folder, settings)
        return tokenizer
    except (KeyError, IndexError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise UserError(f"{folder}: not a tokenizer folder, or a damaged one ({error!r})") from None


def read_vocab_file(path: Path, *, lowercase: bool | None = None) -> Tokenizer:
    """Return the tokenizer of a WordPiece vocabulary; one named vocab.txt is read with the files beside it."""
    if path.name != VOCAB:
        return wordpiece_files.read_vocab(path, {}, lowercase=lowercase)
    folder = path.parent
    settings = read_json_if_there(folder / SETTINGS)
    try:
        named = named_class(folder, settings)
        if old_file(folder, named) != path:
            raise UserError(
                f"{path}: the class that {folder} names for its tokenizer reads another file. Give the folder"
            )
        return _read_vocab(path, settings, named, lowercase)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: its folder is damaged ({error!r})") from None


def _truncation_side(folder: Path, settings: dict[str, Any]) -> Side:
    """Return the end of a text that is cut off, as the settings say it, or for want of that the tokenizer.json."""
    side = settings.get(SIDE)
    if side not in (None, "left", "right"):
        raise UserError(f"{folder / SETTINGS}: {SIDE} is {side!r}; left or right is expected")
    return "left" if side == "left" else "right"


def _read(folder: Path, settings: dict[str, Any], lowercase: bool | None) -> Tokenizer:
    path, named = folder / TOKENIZER, named_class(folder, settings)
    if os.path.lexists(path):
        check_described(path, named)
        described = read_json(path)
        settings.setdefault(SIDE, str((described.get("truncation") or {}).get("direction", "right")).lower())
        if _is_wordpiece(path, described, settings, named):
            layout = _wordpiece_layout(path, described, named)
            if layout is None or layout.separators == 1:
                segments = segments_fed(layout, named, folder, settings)
                return wordpiece_files.read_described(
                    path, described, settings, named, layout, segments=segments, lowercase=lowercase
                )
    else:
        vocabulary = old_file(folder, named)
        if vocabulary.name == VOCAB:
            return _read_vocab(vocabulary, settings, named, lowercase)
    if lowercase is not None:
        raise UserError(f"{folder}: lowercase={lowercase} was asked for, which only a WordPiece tokenizer can be told")
    if os.path.lexists(path):
        return library_files.read_described(folder, described, settings)
    if vocabulary.name in (VOCAB_JSON, MERGES):
        return library_files.read_byte_level(folder, settings)
    return library_files.read_sentencepiece(vocabulary, settings)


def _read_vocab(path: Path, settings: dict[str, Any], named: str | None, lowercase: bool | None) -> Tokenizer:
    folder = path.parent
    segments = segments_fed(None, named or BERT, folder, settings)
    return wordpiece_files.read_vocab(path, settings, lowercase=lowercase, folder=folder, segments=segments)


def _is_wordpiece(path: Path, described: Described, settings: dict[str, Any], named: str | None) -> bool:
    """Whether a tokenizer.json is of our own WordPiece; raises UserError for kinds that nothing here opens.

    Says in `described` which model it is where an early file does not.
    """
    for name in PARTS:
        if not isinstance(described.setdefault(name, None), dict | None):
            raise UserError(f"{path}: its {name} is not a JSON object")
    model = described["model"] or {}
    if model.get("type") is None and (kind := _kind_of_early(model)):
        described["model"] = model = {"type": kind, **model}
    kinds = [(described[name] or {}).get("type") for name in PARTS]
    cutters = [step.get("type") for step in flattened(described["pre_tokenizer"])]
    if kinds[0] == "WordPiece":
        if wordpiece_files.bert_normalizer_of(described, settings, named) is not None:
            return True
        if cutters and set(cutters) <= set(CUTTERS):
            return False
    if (kinds[0] == "BPE" and "ByteLevel" in cutters) or (kinds[0] == "Unigram" and "Metaspace" in cutters):
        return False
    found = " / ".join(map(str, kinds))
    raise UserError(
        f"{path}: {found}, where BERT's WordPiece is expected, or BPE with ByteLevel, or Unigram with Metaspace"
    )


def _kind_of_early(model: dict[str, Any]) -> str | None:
    if "merges" in model:
        return "BPE"
    if isinstance(model.get("vocab"), list):
        return "Unigram"
    return "WordPiece" if "vocab" in model and "continuing_subword_prefix" in model else None


def _wordpiece_layout(path: Path, described: Described, named: str | None) -> Layout | None:
    """Return the layout of a WordPiece file's post-processor, None where it is left to the class that the folder names.

    With two separators it is as MPNet, whose pieces are BERT's and whose pairs are RoBERTa's.
    """
    layout = read_layout(described.get("post_processor"), str(path))
    of_class = CLASSES.get(named or "")
    if layout is None and (of_class is None or of_class.separators > 1):
        raise UserError(
            f"{path}: no post_processor, so that no control tokens stand around a text. If they are to "
            f'be BERT\'s, say so in {SETTINGS}: "tokenizer_class": "{BERT}"'
        )
    return layout
