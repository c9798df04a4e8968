"""Read WordPiece tokenizers: a bare vocab.txt, our folder or a Hugging Face folder."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bert_jax.errors import UserError
from bert_jax.files import read_text
from bert_jax.terminal import note
from bert_jax.text.folder_files import (
    ADDED_TOKEN_FLAGS,
    CONTROL_KEYS,
    TOKENIZER,
    TOKENIZER_SETTINGS,
    read_flag,
)
from bert_jax.text.named_tokens import BERT_SPELLINGS, NamedTokens, read_named_tokens
from bert_jax.text.token_layout import Layout
from bert_jax.text.tokenizer_classes import BERT_CLASSES, GENERAL_CLASSES, VOCAB
from bert_jax.text.tokenizer_json import Described, pipeline_steps
from bert_jax.text.tokenizer_limits import check_limits
from bert_jax.text.vocabulary_case import guess_lowercase
from bert_jax.text.wordpiece import WordPieceTokenizer
from bert_jax.text.wordpiece_rules import AddedToken, WordPieceRules, filler
from bert_jax.wording import agreeing, counted

# Characters that the library strips from the end of a line of vocab.txt.
LINE_END_BLANKS = "".join(c for c in map(chr, range(0x3001)) if c.isspace() and not "\x1c" <= c <= "\x1f")
# BERT's steps in a tokenizer.json, and the normalizer of BERT's class, which ignores that file's.
NORMALIZER, PRE_TOKENIZER = "BertNormalizer", "BertPreTokenizer"
BERT_DEFAULTS = {"clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}


def read_vocab(
    path: Path,
    settings: dict[str, Any],
    *,
    lowercase: bool | None = None,
    folder: Path | None = None,
    segments: int = 2,
) -> WordPieceTokenizer:
    """Return the tokenizer of a vocab.txt, with the settings of a tokenizer_config.json and other files in `folder`.

    Whether texts are lower-cased is decided by `lowercase`, else by the settings, else guessed from the vocabulary,
    which prints a note.
    """
    vocab = _read_lines(path)
    ids = {entry: i for i, entry in enumerate(vocab)}
    _note_unused(vocab, ids, path)
    described: Described = {"model": {"vocab": ids}, "added_tokens": []}
    tokens = read_named_tokens(folder, settings, described, spellings=(BERT_SPELLINGS,))
    source = (folder or path.parent) / TOKENIZER_SETTINGS
    if lowercase is None:
        lowercase = read_flag(settings, "do_lower_case", source)
    if lowercase is None and _has_control_tokens(ids, tokens):
        lowercase = guess_lowercase(vocab, str(path))
    rules = WordPieceRules(
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
    return [line.rstrip(LINE_END_BLANKS) or line for line in lines]


def _note_unused(vocab: Sequence[str], ids: dict[str, int], path: Path) -> None:
    """Print a note about entries whose ids are never used: blank ones, and repeated ones except the last."""
    repeated = [i for i, entry in enumerate(vocab) if entry and ids[entry] != i]
    if repeated:
        i = repeated[0]
        note(
            f"{path}: {counted(len(repeated), 'entry')} {agreeing(len(repeated), 'is', 'are')} repeated, first "
            f"{vocab[i]!r} of line {i + 1} on line {ids[vocab[i]] + 1}. The last one has the id, as in Hugging Face"
        )
    if blank := [i for i, entry in enumerate(vocab) if not entry]:
        note(
            f"{path}: {counted(len(blank), 'blank entry')}, the first on line {blank[0] + 1}, whose ids are never used"
        )


def _has_control_tokens(ids: dict[str, int], tokens: NamedTokens) -> bool:
    """Return whether the vocabulary has [CLS] and [SEP]; no note is printed for a file that is refused anyway."""
    return all(tokens.control.get(field) in ids for field in ("cls", "sep"))


def _tokenizer(vocab: list[str], rules: WordPieceRules, tokens: NamedTokens, source: str) -> WordPieceTokenizer:
    """Return the tokenizer of a vocabulary and the tokens named beside it.

    Control tokens that are not in the vocabulary are appended to it, so they are not found in a text.
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
    added_tokens = tuple(
        AddedToken(token["content"], token["id"], **{flag: token[flag] for flag in (*ADDED_TOKEN_FLAGS, "special")})
        for token in added
        if token["content"] not in tokens.hidden
    )
    names: dict[str, Any] = {field: tokens.control.get(field, BERT_SPELLINGS[field]) for field in CONTROL_KEYS}
    return WordPieceTokenizer(vocab, rules.changed(added=added_tokens, **names), source=source)


def read_wordpiece_json(
    path: Path,
    described: Described,
    settings: dict[str, Any],
    class_name: str | None,
    layout: Layout | None,
    *,
    segments: int,
    lowercase: bool | None = None,
) -> WordPieceTokenizer:
    """Return the tokenizer of a tokenizer.json and the files beside it.

    For BERT's classes the settings override the tokenizer.json; the general classes ignore the settings.

    described   content of the tokenizer.json
    class_name  tokenizer class that the folder names
    layout      layout of the file's post-processor
    segments    segments of a pair

    Raises UserError if a vocab.txt in the folder holds another vocabulary, or if the control tokens differ from those
    of the post-processor.
    """
    check_limits(described, str(path))
    model, normalizer = described["model"], bert_normalizer_of(described, settings, class_name)
    class_settings = {} if class_name in GENERAL_CLASSES else settings
    try:
        assert normalizer is not None
        file_settings = {key: read_flag({key: normalizer[key]}, key, path) for key in BERT_DEFAULTS}
        source = path.parent / TOKENIZER_SETTINGS
        if lowercase is None:
            lowercase = bool(read_flag(class_settings, "do_lower_case", source, file_settings["lowercase"]))
            if lowercase != _lowercases(described):
                note(
                    f"{path}: texts are {'' if lowercase else 'not '}lower-cased, as do_lower_case of "
                    f"{TOKENIZER_SETTINGS} says. This file says otherwise, but "
                    f"{class_name or 'the BERT tokenizer class'} ignores it"
                )
        vocab = _vocabulary(path, {str(entry): int(i) for entry, i in model["vocab"].items()})
        rules = WordPieceRules(
            lowercase=lowercase,
            strip_accents=read_flag(
                class_settings if "strip_accents" in class_settings else file_settings, "strip_accents", source
            ),
            split_chinese=bool(
                read_flag(class_settings, "tokenize_chinese_chars", source, file_settings["handle_chinese_chars"])
            ),
            clean_text=bool(file_settings["clean_text"]),
            prefix=model["continuing_subword_prefix"],
            max_word_chars=model["max_input_chars_per_word"],
            segments=segments,
        )
        tokens = read_named_tokens(
            path.parent, {**settings, "unk_token": model["unk_token"]}, described, spellings=(BERT_SPELLINGS,)
        )
        tokenizer = _tokenizer(vocab, rules, tokens, str(path))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: not a tokenizer file ({error!r})") from None
    special = tokenizer.special
    if layout is not None and (layout.cls, layout.sep) != (special.cls, special.sep):
        cls, sep = tokenizer.rules.cls, tokenizer.rules.sep
        raise UserError(
            f"{path}: its post_processor puts the ids {layout.cls} and {layout.sep} around a text, but {cls} and {sep} "
            f"have the ids {special.cls} and {special.sep}. Name cls_token and sep_token in {TOKENIZER_SETTINGS}"
        )
    return tokenizer


def bert_normalizer_of(described: Described, settings: dict[str, Any], class_name: str | None) -> dict[str, Any] | None:
    """Return a BertNormalizer equal to what the tokenizer class makes of a tokenizer.json; None if there is none.

    Sentence-transformers puts a `Lowercase` before the normalizer. BERT's own classes follow the settings, whatever the
    file says.
    """
    steps = pipeline_steps(described["normalizer"])
    kinds = [step.get("type") for step in steps]
    if (described["pre_tokenizer"] or {}).get("type") == PRE_TOKENIZER and kinds[-1:] == [NORMALIZER]:
        normalizer = steps[-1]
        if len(kinds) == 1:
            return normalizer
        if set(kinds[:-1]) == {"Lowercase"}:
            accents = normalizer["strip_accents"]
            if accents is None and (class_name in GENERAL_CLASSES or "do_lower_case" not in settings):
                accents = normalizer["lowercase"]
            return {**normalizer, "lowercase": True, "strip_accents": accents}
    if class_name in BERT_CLASSES and "do_lower_case" in settings:
        return {**BERT_DEFAULTS, "lowercase": _lowercases(described)}
    return None


def _lowercases(described: Described) -> bool:
    """Return whether the normalizer steps of a tokenizer.json lower-case text."""
    return any(
        step.get("type") == "Lowercase" or (step.get("type") == NORMALIZER and step["lowercase"])
        for step in pipeline_steps(described["normalizer"])
    )


def _vocabulary(path: Path, ids: dict[str, int]) -> list[str]:
    """Return the entries in the order of their ids; those without text are taken from a vocab.txt beside the file.

    Raises UserError if that vocab.txt holds another vocabulary.
    """
    size = 1 + max(ids.values(), default=-1)
    texts = {i: "" if entry == filler(i) else entry for entry, i in ids.items()}
    if len(texts) < len(ids) or min(texts, default=0) < 0 or size > 2 * len(ids):
        raise UserError(f"{path}: the ids of its {counted(len(ids), 'entry')} are not 0 to {len(ids) - 1}, each once")
    beside = path.parent / VOCAB
    if os.path.lexists(beside):
        lines = _read_lines(beside)
        if len(lines) < size or any(entry and lines[i] != entry.rstrip(LINE_END_BLANKS) for i, entry in texts.items()):
            raise UserError(f"{path.parent}: {TOKENIZER} and {VOCAB} hold different vocabularies. Remove the stale one")
        texts = dict(enumerate(lines[:size])) | {i: entry for i, entry in texts.items() if entry}
    return [texts.get(i, "") for i in range(size)]
