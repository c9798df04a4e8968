"""Byte-level BPE and unigram tokenizers on disk, as tokenizer.json or in RoBERTa's and XLM-RoBERTa's older files."""

import os
from pathlib import Path
from typing import Any

from bert_jax.errors import UserError
from bert_jax.files import read_json, read_text
from bert_jax.text import recipes
from bert_jax.text.classes import MERGES, ROBERTA_CLASSES, named_class
from bert_jax.text.classes import VOCAB_JSON as VOCAB
from bert_jax.text.control import BERTS, ROBERTAS, NamedTokens, read_named_tokens
from bert_jax.text.folder_files import CONTROL_KEYS, SETTINGS, TOKENIZER
from bert_jax.text.layout import Layout, read_layout, segments_fed
from bert_jax.text.library import LibraryTokenizer
from bert_jax.text.recipes import Described
from bert_jax.text.sentencepiece_files import read_pieces

# What of a tokenizer_config.json a saved one says again.
CARRIED = (
    "model_max_length",
    "model_input_names",
    "clean_up_tokenization_spaces",
    "padding_side",
    "bos_token",
    "eos_token",
)


def read_described(folder: Path, described: Described, settings: dict[str, Any]) -> LibraryTokenizer:
    """The tokenizer of a tokenizer.json that was read, of byte-level BPE or unigram, or WordPiece with two separators.

    The file decides all but this: where RoBERTa's class is named, `add_prefix_space` is as tokenizer_config.json says,
    and off if it does not, as Hugging Face has it.
    """
    path = folder / TOKENIZER
    source = str(path)
    named = named_class(folder, settings)
    model = described["model"]
    if model["type"] == "Unigram" and model.get("unk_id") is None:
        raise UserError(f"{path}: a unigram model without unk_id, so that unknown characters have no id")
    if named in ROBERTA_CLASSES:
        described = _as_roberta_is_told(described, settings)
    layout = read_layout(described.get("post_processor"), source)
    tokens = read_named_tokens(folder, settings, described, spellings=_spellings(described, layout))
    described = tokens.described
    if layout is None and named in (*ROBERTA_CLASSES, recipes.XLM_ROBERTA):
        described = {**described, "post_processor": _processor(described, tokens.control, named, settings, path)}
        layout = read_layout(described["post_processor"], source)
    known = recipes.library_class(described, layout.separators if layout else 1)
    if named is not None and named not in (*ROBERTA_CLASSES, recipes.XLM_ROBERTA):
        known = recipes.GENERAL
    segments = segments_fed(layout, named, folder, settings)
    return _tokenizer(described, tokens, settings, known, source, segments)


def _spellings(described: Described, layout: Layout | None) -> tuple[dict[str, str], ...]:
    """Return the likely spellings of the control tokens, in the style of the token that the layout begins with."""
    by_id = {token["id"]: token["content"] for token in described.get("added_tokens") or ()}
    bert_like = layout is not None and by_id.get(layout.cls, "").startswith("[")
    return (BERTS, ROBERTAS) if bert_like else (ROBERTAS, BERTS)


def _as_roberta_is_told(described: Described, settings: dict[str, Any]) -> Described:
    prefixed, trimmed = bool(settings.get("add_prefix_space", False)), bool(settings.get("trim_offsets", True))
    told = dict(described)
    if (described.get("pre_tokenizer") or {}).get("type") == "ByteLevel":
        told["pre_tokenizer"] = {**described["pre_tokenizer"], "add_prefix_space": prefixed}
    if (described.get("post_processor") or {}).get("type") == "RobertaProcessing":
        flags = {"add_prefix_space": prefixed, "trim_offsets": trimmed}
        told["post_processor"] = {**described["post_processor"], **flags}
    return told


def read_byte_level(folder: Path, settings: dict[str, Any]) -> LibraryTokenizer:
    """The tokenizer of an old folder of RoBERTa's: vocab.json and merges.txt."""
    for name, other in ((VOCAB, MERGES), (MERGES, VOCAB)):
        if not os.path.lexists(folder / name):
            raise UserError(f"{folder}: no {name} beside {other}; byte-level BPE needs both")
    path = folder / VOCAB
    vocab = read_json(path)
    names = read_named_tokens(folder, settings, {"model": {"vocab": vocab}}).control
    for field, key in CONTROL_KEYS.items():
        if type(vocab.get(names.get(field, ""))) is not int:
            raise UserError(f"{path}: {key} {names.get(field, '')!r} has no id among {len(vocab)} entries")
    described = recipes.roberta(
        vocab,
        _read_merges(folder / MERGES),
        names,
        add_prefix_space=bool(settings.get("add_prefix_space", False)),
        trim_offsets=bool(settings.get("trim_offsets", True)),
    )
    tokens = read_named_tokens(folder, settings, described)
    return _tokenizer(tokens.described, tokens, settings, recipes.ROBERTA, str(path))


def read_sentencepiece(path: Path, settings: dict[str, Any]) -> LibraryTokenizer:
    """Return the tokenizer of a folder of XLM-RoBERTa's that has SentencePiece's file, `path`, alone."""
    described = read_pieces(path)
    control = [token["content"] for token in described["added_tokens"] if token["special"]]
    tokens = read_named_tokens(path.parent, settings, described, hidden=control)
    return _tokenizer(tokens.described, tokens, settings, recipes.XLM_ROBERTA, str(path))


def _tokenizer(
    described: Described,
    tokens: NamedTokens,
    settings: dict[str, Any],
    library_class: str,
    source: str,
    segments: int = 1,
) -> LibraryTokenizer:
    names = tokens.control
    missing = [CONTROL_KEYS[field] for field in ("pad", "unk", "mask") if field not in names]
    if missing:
        raise UserError(f"{source}: no {', '.join(missing)}; name one of the vocabulary in {SETTINGS}")
    return LibraryTokenizer(
        described,
        {field: names[field] for field in ("pad", "unk", "mask")},
        hidden=tokens.hidden,
        library_class=library_class,
        segments=segments,
        settings={key: settings[key] for key in CARRIED if settings.get(key) is not None},
        source=source,
    )


def _processor(
    described: Described, names: dict[str, str], named: str, settings: dict[str, Any], path: Path
) -> dict[str, Any]:
    """The post-processor of the class that the folder names, for a file that has none."""
    vocab = described["model"]["vocab"]
    ids = {entry[0]: i for i, entry in enumerate(vocab)} if isinstance(vocab, list) else dict(vocab)
    ids |= {token["content"]: token["id"] for token in described.get("added_tokens") or ()}
    for field in ("cls", "sep"):
        if names.get(field) not in ids:
            raise UserError(f"{path}: {CONTROL_KEYS[field]} {names.get(field)!r} has no id among {len(ids)} entries")
    cls, sep = ((names[field], ids[names[field]]) for field in ("cls", "sep"))
    if named == recipes.XLM_ROBERTA:
        return recipes.template_processor(cls, sep, separators=2)
    return recipes.roberta_processor(
        cls,
        sep,
        add_prefix_space=bool(settings.get("add_prefix_space", False)),
        trim_offsets=bool(settings.get("trim_offsets", True)),
    )


def _read_merges(path: Path) -> list[tuple[str, str]]:
    """The pairs of a merges.txt, in order."""
    lines = read_text(path).split("\n")
    if lines[-1] == "":
        lines.pop()
    merges = []
    for number, line in enumerate(lines, 1):
        if line.startswith("#version"):
            continue
        pair = line.removesuffix("\r").split(" ")
        if len(pair) != 2:
            raise UserError(f"{path} line {number}: {line[:80]!r}, where two pieces with a blank between are expected")
        merges.append((pair[0], pair[1]))
    if not merges:
        raise UserError(f"{path}: no merges in it; byte-level BPE needs them")
    return merges
