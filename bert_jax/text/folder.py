"""Read a tokenizer folder: find its kind and call the reader of that kind."""

import os
from pathlib import Path
from typing import Any

from bert_jax.errors import UserError
from bert_jax.files import read_json, read_json_if_there
from bert_jax.text import library_files, wordpiece_files
from bert_jax.text.folder_files import SIDE, TOKENIZER, TOKENIZER_SETTINGS
from bert_jax.text.token_layout import BERT_TOKENIZER, CLASS_LAYOUTS, Layout, model_segments, read_layout
from bert_jax.text.tokenizer import Side, Tokenizer
from bert_jax.text.tokenizer_classes import MERGES, VOCAB, VOCAB_JSON, check_class, named_class, vocabulary_file
from bert_jax.text.tokenizer_json import Described, pipeline_steps

PIPELINE = ("model", "normalizer", "pre_tokenizer")
# Pre-tokenizers that the library's WordPiece is read with.
WORDPIECE_PRE_TOKENIZERS = ("BertPreTokenizer", "Whitespace", "WhitespaceSplit", "Punctuation", "Digits")


def read_folder(folder: Path, *, lowercase: bool | None = None) -> Tokenizer:
    """Read the tokenizer of a folder with a tokenizer.json, or with the older files of BERT, RoBERTa or XLM-RoBERTa.

    Reads files only and executes nothing. Raises UserError for files of classes whose ids this package would not
    reproduce.
    """
    settings = read_json_if_there(folder / TOKENIZER_SETTINGS)
    try:
        tokenizer = _read(folder, settings, lowercase)
        tokenizer.truncation_side = _truncation_side(folder, settings)
        return tokenizer
    except (KeyError, IndexError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise UserError(f"{folder}: not a tokenizer folder, or a damaged one ({error!r})") from None


def read_vocab_file(path: Path, *, lowercase: bool | None = None) -> Tokenizer:
    """Read the tokenizer of a WordPiece vocabulary. A file named vocab.txt is read with the files beside it."""
    if path.name != VOCAB:
        return wordpiece_files.read_vocab(path, {}, lowercase=lowercase)
    folder = path.parent
    settings = read_json_if_there(folder / TOKENIZER_SETTINGS)
    try:
        class_name = named_class(folder, settings)
        if vocabulary_file(folder, class_name) != path:
            raise UserError(
                f"{path}: {class_name}, the tokenizer class of {folder}, reads another file. Give the folder"
            )
        return _read_vocab(path, settings, class_name, lowercase)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: its folder is damaged ({error!r})") from None


def _truncation_side(folder: Path, settings: dict[str, Any]) -> Side:
    """Return the end at which texts are cut: the settings decide, then the tokenizer.json."""
    side = settings.get(SIDE)
    if side not in (None, "left", "right"):
        raise UserError(f"{folder / TOKENIZER_SETTINGS}: {SIDE} is {side!r}; left or right is expected")
    return "left" if side == "left" else "right"


def _read(folder: Path, settings: dict[str, Any], lowercase: bool | None) -> Tokenizer:
    path, class_name = folder / TOKENIZER, named_class(folder, settings)
    if os.path.lexists(path):
        check_class(path, class_name)
        described = read_json(path)
        settings.setdefault(SIDE, str((described.get("truncation") or {}).get("direction", "right")).lower())
        if _is_wordpiece(path, described, settings, class_name):
            layout = _wordpiece_layout(path, described, class_name)
            if layout is None or layout.separators == 1:
                segments = model_segments(layout, class_name, folder, settings)
                return wordpiece_files.read_wordpiece_json(
                    path, described, settings, class_name, layout, segments=segments, lowercase=lowercase
                )
    else:
        vocabulary = vocabulary_file(folder, class_name)
        if vocabulary.name == VOCAB:
            return _read_vocab(vocabulary, settings, class_name, lowercase)
    if lowercase is not None:
        raise UserError(
            f"{folder}: lowercase={lowercase} was given, but only a WordPiece tokenizer takes it. Leave it out"
        )
    if os.path.lexists(path):
        return library_files.read_library_json(folder, described, settings)
    if vocabulary.name in (VOCAB_JSON, MERGES):
        return library_files.read_byte_level(folder, settings)
    return library_files.read_sentencepiece(vocabulary, settings)


def _read_vocab(path: Path, settings: dict[str, Any], class_name: str | None, lowercase: bool | None) -> Tokenizer:
    folder = path.parent
    segments = model_segments(None, class_name or BERT_TOKENIZER, folder, settings)
    return wordpiece_files.read_vocab(path, settings, lowercase=lowercase, folder=folder, segments=segments)


def _is_wordpiece(path: Path, described: Described, settings: dict[str, Any], class_name: str | None) -> bool:
    """Return whether a tokenizer.json is WordPiece with BERT's steps. Raises UserError for kinds that are not read.

    Adds the model's type to `described` if an early file leaves it out.
    """
    for name in PIPELINE:
        if not isinstance(described.setdefault(name, None), dict | None):
            raise UserError(f"{path}: its {name} is not a JSON object")
    model = described["model"] or {}
    if model.get("type") is None and (kind := _model_type(model)):
        described["model"] = model = {"type": kind, **model}
    kinds = [(described[name] or {}).get("type") for name in PIPELINE]
    pre_tokenizers = [step.get("type") for step in pipeline_steps(described["pre_tokenizer"])]
    if kinds[0] == "WordPiece":
        if wordpiece_files.bert_normalizer_of(described, settings, class_name) is not None:
            return True
        if pre_tokenizers and set(pre_tokenizers) <= set(WORDPIECE_PRE_TOKENIZERS):
            return False
    if (kinds[0] == "BPE" and "ByteLevel" in pre_tokenizers) or (
        kinds[0] == "Unigram" and "Metaspace" in pre_tokenizers
    ):
        return False
    raise UserError(
        f"{path}: {' / '.join(map(str, kinds))}, where BERT's WordPiece is expected, or BPE with ByteLevel, or Unigram "
        "with Metaspace"
    )


def _model_type(model: dict[str, Any]) -> str | None:
    """Return the type of a model in an early tokenizer.json, which does not name it."""
    if "merges" in model:
        return "BPE"
    if isinstance(model.get("vocab"), list):
        return "Unigram"
    return "WordPiece" if "vocab" in model and "continuing_subword_prefix" in model else None


def _wordpiece_layout(path: Path, described: Described, class_name: str | None) -> Layout | None:
    """Return the layout of a WordPiece file's post-processor; None if the tokenizer class decides it.

    A layout with two separators is MPNet's: BERT's pieces with RoBERTa's pairs.
    """
    layout = read_layout(described.get("post_processor"), str(path))
    class_layout = CLASS_LAYOUTS.get(class_name or "")
    if layout is None and (class_layout is None or class_layout.separators > 1):
        raise UserError(
            f"{path}: no post_processor, so no control tokens are put around a text. For BERT's control tokens, write "
            f'"tokenizer_class": "{BERT_TOKENIZER}" into {TOKENIZER_SETTINGS}'
        )
    return layout
