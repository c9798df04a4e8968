"""Read byte-level BPE and unigram tokenizers from a tokenizer.json or RoBERTa's and XLM-RoBERTa's older files."""

import os
from pathlib import Path
from typing import Any

from bert_jax.errors import UserError
from bert_jax.files import read_json, read_text
from bert_jax.text import tokenizer_json
from bert_jax.text.folder_files import CONTROL_KEYS, TOKENIZER, TOKENIZER_SETTINGS
from bert_jax.text.library_tokenizer import LibraryTokenizer
from bert_jax.text.named_tokens import BERT_SPELLINGS, ROBERTA_SPELLINGS, NamedTokens, read_named_tokens
from bert_jax.text.sentencepiece_files import read_pieces
from bert_jax.text.token_layout import Layout, model_segments, read_layout
from bert_jax.text.tokenizer_classes import MERGES, ROBERTA_CLASSES, named_class
from bert_jax.text.tokenizer_classes import VOCAB_JSON as VOCAB
from bert_jax.text.tokenizer_json import Described

# Settings of a tokenizer_config.json that are kept when the tokenizer is saved.
KEPT_SETTINGS = (
    "model_max_length",
    "model_input_names",
    "clean_up_tokenization_spaces",
    "padding_side",
    "bos_token",
    "eos_token",
)


def read_library_json(folder: Path, described: Described, settings: dict[str, Any]) -> LibraryTokenizer:
    """Return the tokenizer of a tokenizer.json: byte-level BPE, unigram, or WordPiece with two separators.

    The file decides everything except `add_prefix_space` of RoBERTa's class, which is taken from tokenizer_config.json
    and is off by default, as in Hugging Face.
    """
    path = folder / TOKENIZER
    source = str(path)
    class_name = named_class(folder, settings)
    model = described["model"]
    if model["type"] == "Unigram" and model.get("unk_id") is None:
        raise UserError(f"{path}: a unigram model without unk_id, so unknown characters have no id")
    if class_name in ROBERTA_CLASSES:
        described = _with_roberta_settings(described, settings)
    layout = read_layout(described.get("post_processor"), source)
    tokens = read_named_tokens(folder, settings, described, spellings=_spellings(described, layout))
    described = tokens.described
    if layout is None and class_name in (*ROBERTA_CLASSES, tokenizer_json.XLM_ROBERTA):
        described = {**described, "post_processor": _processor(described, tokens.control, class_name, settings, path)}
        layout = read_layout(described["post_processor"], source)
    library_class = tokenizer_json.library_class(described, layout.separators if layout else 1)
    if class_name is not None and class_name not in (*ROBERTA_CLASSES, tokenizer_json.XLM_ROBERTA):
        library_class = tokenizer_json.GENERAL
    segments = model_segments(layout, class_name, folder, settings)
    return _tokenizer(described, tokens, settings, library_class, source, segments)


def _spellings(described: Described, layout: Layout | None) -> tuple[dict[str, str], ...]:
    """Return the usual spellings of control tokens; those in the style of the layout's first token come first."""
    by_id = {token["id"]: token["content"] for token in described.get("added_tokens") or ()}
    bert_like = layout is not None and by_id.get(layout.cls, "").startswith("[")
    return (BERT_SPELLINGS, ROBERTA_SPELLINGS) if bert_like else (ROBERTA_SPELLINGS, BERT_SPELLINGS)


def _with_roberta_settings(described: Described, settings: dict[str, Any]) -> Described:
    """Return the tokenizer.json with `add_prefix_space` and `trim_offsets` of the settings."""
    prefixed, trimmed = bool(settings.get("add_prefix_space", False)), bool(settings.get("trim_offsets", True))
    changed = dict(described)
    if (described.get("pre_tokenizer") or {}).get("type") == "ByteLevel":
        changed["pre_tokenizer"] = {**described["pre_tokenizer"], "add_prefix_space": prefixed}
    if (described.get("post_processor") or {}).get("type") == "RobertaProcessing":
        flags = {"add_prefix_space": prefixed, "trim_offsets": trimmed}
        changed["post_processor"] = {**described["post_processor"], **flags}
    return changed


def read_byte_level(folder: Path, settings: dict[str, Any]) -> LibraryTokenizer:
    """Read the tokenizer of one of RoBERTa's older folders: vocab.json and merges.txt."""
    for name, other in ((VOCAB, MERGES), (MERGES, VOCAB)):
        if not os.path.lexists(folder / name):
            raise UserError(f"{folder}: no {name} beside {other}; byte-level BPE needs both")
    path = folder / VOCAB
    vocab = read_json(path)
    names = read_named_tokens(folder, settings, {"model": {"vocab": vocab}}).control
    for field, key in CONTROL_KEYS.items():
        if type(vocab.get(names.get(field, ""))) is not int:
            raise UserError(f"{path}: {key} {names.get(field, '')!r} has no id among {len(vocab)} entries")
    described = tokenizer_json.roberta(
        vocab,
        _read_merges(folder / MERGES),
        names,
        add_prefix_space=bool(settings.get("add_prefix_space", False)),
        trim_offsets=bool(settings.get("trim_offsets", True)),
    )
    tokens = read_named_tokens(folder, settings, described)
    return _tokenizer(tokens.described, tokens, settings, tokenizer_json.ROBERTA, str(path))


def read_sentencepiece(path: Path, settings: dict[str, Any]) -> LibraryTokenizer:
    """Read the tokenizer of an XLM-RoBERTa folder that has only the SentencePiece file `path`."""
    described = read_pieces(path)
    control = [token["content"] for token in described["added_tokens"] if token["special"]]
    tokens = read_named_tokens(path.parent, settings, described, hidden=control)
    return _tokenizer(tokens.described, tokens, settings, tokenizer_json.XLM_ROBERTA, str(path))


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
        raise UserError(f"{source}: no {', '.join(missing)}; name one of the vocabulary in {TOKENIZER_SETTINGS}")
    return LibraryTokenizer(
        described,
        {field: names[field] for field in ("pad", "unk", "mask")},
        hidden=tokens.hidden,
        library_class=library_class,
        segments=segments,
        settings={key: settings[key] for key in KEPT_SETTINGS if settings.get(key) is not None},
        source=source,
    )


def _processor(
    described: Described, names: dict[str, str], class_name: str, settings: dict[str, Any], path: Path
) -> dict[str, Any]:
    """Return the post-processor of a tokenizer class, for a tokenizer.json without one."""
    vocab = described["model"]["vocab"]
    ids = {entry[0]: i for i, entry in enumerate(vocab)} if isinstance(vocab, list) else dict(vocab)
    ids |= {token["content"]: token["id"] for token in described.get("added_tokens") or ()}
    for field in ("cls", "sep"):
        if names.get(field) not in ids:
            raise UserError(f"{path}: {CONTROL_KEYS[field]} {names.get(field)!r} has no id among {len(ids)} entries")
    cls, sep = ((names[field], ids[names[field]]) for field in ("cls", "sep"))
    if class_name == tokenizer_json.XLM_ROBERTA:
        return tokenizer_json.template_processor(cls, sep, separators=2)
    return tokenizer_json.roberta_processor(
        cls,
        sep,
        add_prefix_space=bool(settings.get("add_prefix_space", False)),
        trim_offsets=bool(settings.get("trim_offsets", True)),
    )


def _read_merges(path: Path) -> list[tuple[str, str]]:
    """Return the pairs of a merges.txt in order."""
    lines = read_text(path).split("\n")
    if lines[-1] == "":
        lines.pop()
    merges = []
    for number, line in enumerate(lines, 1):
        if line.startswith("#version"):
            continue
        pair = line.removesuffix("\r").split(" ")
        if len(pair) != 2:
            raise UserError(f"{path} line {number}: {line[:80]!r}; two pieces with a blank between them are expected")

        merges.append((pair[0], pair[1]))
    if not merges:
        raise UserError(f"{path}: no merges in it; byte-level BPE needs them")
    return merges
