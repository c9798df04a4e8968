"""Which kind of tokenizer a folder holds."""

from pathlib import Path
from typing import Any

from bert_jax.errors import UserError
from bert_jax.files import read_json, read_json_if_there
from bert_jax.text import library_files, wordpiece_files
from bert_jax.text.files import SETTINGS, TOKENIZER
from bert_jax.text.layout import BERT, CLASSES, Layout, class_of, read_layout, segments_fed
from bert_jax.text.library_files import MERGES, PIECES
from bert_jax.text.recipes import Described, flattened
from bert_jax.text.tokenizer import Tokenizer

PARTS = ("model", "normalizer", "pre_tokenizer")


def read_folder(folder: Path, *, lowercase: bool | None = None) -> Tokenizer:
    """The tokenizer of a folder with tokenizer.json, or with the older files of BERT, RoBERTa or XLM-RoBERTa.

    Reads files only: nothing that a folder holds is ever run.
    """
    settings = read_json_if_there(folder / SETTINGS)
    try:
        return _read(folder, settings, lowercase)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{folder}: not a tokenizer folder, or a damaged one ({error!r})") from None


def _read(folder: Path, settings: dict[str, Any], lowercase: bool | None) -> Tokenizer:
    path = folder / TOKENIZER
    if path.is_file():
        described = read_json(path)
        if _is_wordpiece(path, described):
            layout = _wordpiece_layout(folder, described, settings)
            if layout is None or layout.separators == 1:
                segments = segments_fed(layout, class_of(folder, settings), folder, settings)
                return wordpiece_files.read_described(
                    path, described, settings, layout, segments=segments, lowercase=lowercase
                )
    elif (folder / wordpiece_files.VOCAB).is_file():
        segments = segments_fed(None, class_of(folder, settings) or BERT, folder, settings)
        return wordpiece_files.read_vocab(
            folder / wordpiece_files.VOCAB, lowercase=lowercase, settings=settings, segments=segments
        )
    if lowercase is not None:
        raise UserError(f"{folder}: lowercase={lowercase} was asked for, which only a WordPiece tokenizer can be told")
    if path.is_file():
        return library_files.read_described(folder, described, settings)
    if any((folder / name).is_file() for name in (library_files.VOCAB, MERGES)):
        return library_files.read_byte_level(folder, settings)
    if (folder / PIECES).is_file():
        return library_files.read_sentencepiece(folder, settings)
    raise UserError(
        f"{folder}: no {TOKENIZER} and no {wordpiece_files.VOCAB}, {library_files.VOCAB} with {MERGES} or {PIECES}; "
        "not a tokenizer folder"
    )


def _is_wordpiece(path: Path, described: Described) -> bool:
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
    if kinds == ["WordPiece", "BertNormalizer", "BertPreTokenizer"]:
        return True
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


def _wordpiece_layout(folder: Path, described: Described, settings: dict[str, Any]) -> Layout | None:
    """Return the layout of a WordPiece file's post-processor, None where it is left to the class that the folder names.

    With two separators it is as MPNet, whose pieces are BERT's and whose pairs are RoBERTa's.
    """
    layout = read_layout(described.get("post_processor"), str(folder / TOKENIZER))
    of_class = CLASSES.get(class_of(folder, settings) or "")
    if layout is None and (of_class is None or of_class.separators > 1):
        raise UserError(
            f"{folder / TOKENIZER}: no post_processor, so that no control tokens stand around a text. If they are to "
            f'be BERT\'s, say so in {SETTINGS}: "tokenizer_class": "{BERT}"'
        )
    return layout
