"""WordPiece tokenizers on disk: a bare vocab.txt, our folder, a folder of Hugging Face."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bert_jax.errors import UserError
from bert_jax.files import read_text
from bert_jax.terminal import note
from bert_jax.text.casing import guess_lowercase
from bert_jax.text.classes import BERT_CLASSES, GENERAL_CLASSES, VOCAB
from bert_jax.text.control import BERTS, NamedTokens, read_named_tokens
from bert_jax.text.folder_files import (
    CONTROL_KEYS,
    FLAGS,
    SETTINGS,
    TOKENIZER,
    read_flag,
)
from bert_jax.text.layout import Layout
from bert_jax.text.limits import check_limits
from bert_jax.text.recipes import Described, flattened
from bert_jax.text.wordpiece import WordPieceTokenizer
from bert_jax.text.wordpiece_rules import AddedToken, Rules, filler
from bert_jax.wording import agreeing, counted

# What the library takes for blanks at the end of a line. They belong to no entry.
BLANKS = "".join(c for c in map(chr, range(0x3001)) if c.isspace() and not "\x1c" <= c <= "\x1f")
# The steps that a tokenizer.json of the kind may have, and what BERT's class does where it does not look at them.
NORMALIZER, PRE_TOKENIZER = "BertNormalizer", "BertPreTokenizer"
USUAL = {"clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}


def read_vocab(
    path: Path,
    settings: dict[str, Any],
    *,
    lowercase: bool | None = None,
    folder: Path | None = None,
    segments: int = 2,
) -> WordPieceTokenizer:
    """Return the tokenizer of a vocab.txt, with what a tokenizer_config.json and other files of its `folder` say.

    Texts are lower-cased where `lowercase` says so, else where the settings do, else where the vocabulary as a whole
    looks uncased, which a note tells.
    """
    vocab = _read_lines(path)
    ids = {entry: i for i, entry in enumerate(vocab)}
    _note_unused(vocab, ids, path)
    described: Described = {"model": {"vocab": ids}, "added_tokens": []}
    tokens = read_named_tokens(folder, settings, described, spellings=(BERTS,))
    source = (folder or path.parent) / SETTINGS
    if lowercase is None:
        lowercase = read_flag(settings, "do_lower_case", source)
    if lowercase is None and _may_serve(ids, tokens):
        lowercase = guess_lowercase(vocab, str(path))
    rules = Rules(
        lowercase=bool(lowercase),
        strip_accents=read_flag(settings, "strip_accents", source),
        split_chinese=bool(read_flag(settings, "tokenize_chinese_chars", source, True)),
        segments=segments,
    )
    return _tokenizer(vocab, rules, tokens, str(path))


def _read_lines(path: Path) -> list[str]:
    lines = read_text(path).split("\n")
    if lines[-1] == "":
        lines.pop()
    lines = [line.removesuffix("\r") for line in lines]
    return [line.rstrip(BLANKS) or line for line in lines]


def _note_unused(vocab: Sequence[str], ids: dict[str, int], path: Path) -> None:
    """Say which entries have no id of their own: blank ones, and all but the last of the same text."""
    doubled = [i for i, entry in enumerate(vocab) if entry and ids[entry] != i]
    if doubled:
        i = doubled[0]
        note(
            f"{path}: {counted(len(doubled), 'entry')} {agreeing(len(doubled), 'is', 'are')} there again further "
            f"down, line {i + 1} "
            f"{vocab[i]!r} on line {ids[vocab[i]] + 1}: the last one has the id, as Hugging Face reads it"
        )
    if blank := [i for i, entry in enumerate(vocab) if not entry]:
        note(
            f"{path}: {counted(len(blank), 'blank entry')}, the first on line {blank[0] + 1}, whose ids are never used"
        )


def _may_serve(ids: dict[str, int], tokens: NamedTokens) -> bool:
    """Return whether the vocabulary has the control tokens; nothing is guessed about any other file."""
    return all(tokens.control.get(field) in ids for field in ("cls", "sep"))


def _tokenizer(vocab: list[str], rules: Rules, tokens: NamedTokens, source: str) -> WordPieceTokenizer:
    """Return the tokenizer of a vocabulary and of what is named beside it.

    Control tokens that are named beside the vocabulary have a place in it: they are not found in a text.
    """
    added = sorted(tokens.described["added_tokens"], key=lambda token: token["id"])
    hidden = [token["id"] for token in added if token["content"] in tokens.hidden]
    for token in added:
        if len(vocab) <= token["id"] <= max(hidden, default=-1):
            if token["id"] != len(vocab):
                raise UserError(
                    f"{source}: no entry has id {len(vocab)}, though {token['content']!r} has {token['id']}"
                )
            vocab = [*vocab, token["content"]]
    found = tuple(
        AddedToken(token["content"], token["id"], **{flag: token[flag] for flag in (*FLAGS, "special")})
        for token in added
        if token["content"] not in tokens.hidden
    )
    names: dict[str, Any] = {field: tokens.control.get(field, BERTS[field]) for field in CONTROL_KEYS}
    return WordPieceTokenizer(vocab, rules.changed(added=found, **names), source=source)


def read_described(
    path: Path,
    described: Described,
    settings: dict[str, Any],
    named: str | None,
    layout: Layout | None,
    *,
    segments: int,
    lowercase: bool | None = None,
) -> WordPieceTokenizer:
    """Return the tokenizer of a tokenizer.json that was read, and of what the files beside it say.

    `named` is the class that the folder names. BERT's classes let their settings overrule the file, the general ones do
    not look at them. `layout` is that of its post-processor, `segments` those of a pair. Raises UserError where a
    vocab.txt in the folder says otherwise, and where the control tokens are not those that the post-processor puts
    around a text.
    """
    check_limits(described, str(path))
    model, normalizer = described["model"], bert_normalizer_of(described, settings, named)
    said = {} if named in GENERAL_CLASSES else settings
    try:
        assert normalizer is not None
        own = {key: read_flag({key: normalizer[key]}, key, path) for key in USUAL}
        source = path.parent / SETTINGS
        if lowercase is None:
            lowercase = bool(read_flag(said, "do_lower_case", source, own["lowercase"]))
            if lowercase != _lowercases(described):
                note(
                    f"{path}: texts are {'' if lowercase else 'not '}lower-cased, as do_lower_case of {SETTINGS} says; "
                    f"this file says otherwise, and {named or 'a class of BERT'} does not look at it"
                )
        vocab = _vocabulary(path, {str(entry): int(i) for entry, i in model["vocab"].items()})
        rules = Rules(
            lowercase=lowercase,
            strip_accents=read_flag(said if "strip_accents" in said else own, "strip_accents", source),
            split_chinese=bool(read_flag(said, "tokenize_chinese_chars", source, own["handle_chinese_chars"])),
            clean_text=bool(own["clean_text"]),
            prefix=model["continuing_subword_prefix"],
            max_word_chars=model["max_input_chars_per_word"],
            segments=segments,
        )
        tokens = read_named_tokens(
            path.parent, {**settings, "unk_token": model["unk_token"]}, described, spellings=(BERTS,)
        )
        tokenizer = _tokenizer(vocab, rules, tokens, str(path))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: not a tokenizer file ({error!r})") from None
    special = tokenizer.special
    if layout is not None and (layout.cls, layout.sep) != (special.cls, special.sep):
        cls, sep = tokenizer.rules.cls, tokenizer.rules.sep
        raise UserError(
            f"{path}: its post_processor puts the ids {layout.cls} and {layout.sep} around a text, {cls} and {sep} are "
            f"{special.cls} and {special.sep}. Name cls_token and sep_token in {SETTINGS}"
        )
    return tokenizer


def bert_normalizer_of(described: Described, settings: dict[str, Any], named: str | None) -> dict[str, Any] | None:
    """Return BERT's normaliser that does what the class makes of a tokenizer.json; None where it is of another kind.

    Sentence-transformers sets a `Lowercase` before the normaliser. BERT's own classes make theirs by the settings,
    whatever the file says.
    """
    steps = flattened(described["normalizer"])
    kinds = [step.get("type") for step in steps]
    if (described["pre_tokenizer"] or {}).get("type") == PRE_TOKENIZER and kinds[-1:] == [NORMALIZER]:
        normalizer = steps[-1]
        if len(kinds) == 1:
            return normalizer
        if set(kinds[:-1]) == {"Lowercase"}:
            accents = normalizer["strip_accents"]
            if accents is None and (named in GENERAL_CLASSES or "do_lower_case" not in settings):
                accents = normalizer["lowercase"]
            return {**normalizer, "lowercase": True, "strip_accents": accents}
    if named in BERT_CLASSES and "do_lower_case" in settings:
        return {**USUAL, "lowercase": _lowercases(described)}
    return None


def _lowercases(described: Described) -> bool:
    """Return whether the normalizer steps of a tokenizer.json lower-case text."""
    return any(
        step.get("type") == "Lowercase" or (step.get("type") == NORMALIZER and step["lowercase"])
        for step in flattened(described["normalizer"])
    )


def _vocabulary(path: Path, ids: dict[str, int]) -> list[str]:
    """Return the entries in the order of their ids, as a vocab.txt beside it has them where an id has no text.

    Raises UserError where that file holds another vocabulary.
    """
    size = 1 + max(ids.values(), default=-1)
    texts = {i: "" if entry == filler(i) else entry for entry, i in ids.items()}
    if len(texts) < len(ids) or min(texts, default=0) < 0 or size > 2 * len(ids):
        raise UserError(f"{path}: the ids of its {counted(len(ids), 'entry')} are not 0 to {len(ids) - 1}, each once")
    beside = path.parent / VOCAB
    if os.path.lexists(beside):
        lines = _read_lines(beside)
        if len(lines) < size or any(entry and lines[i] != entry.rstrip(BLANKS) for i, entry in texts.items()):
            raise UserError(
                f"{path.parent}: {TOKENIZER} and {VOCAB} hold different vocabularies. Take away the stale one"
            )
        texts = dict(enumerate(lines[:size])) | {i: entry for i, entry in texts.items() if entry}
    return [texts.get(i, "") for i in range(size)]
