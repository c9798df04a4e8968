"""WordPiece tokenizers on disk: a bare vocab.txt, our folder, a folder of Hugging Face."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, processors

from bert_jax.errors import UserError
from bert_jax.text.wordpiece import AddedToken, Rules, WordPieceTokenizer, library_tokenizer

VOCAB, TOKENIZER, SETTINGS = "vocab.txt", "tokenizer.json", "tokenizer_config.json"
CONTROL_KEYS = {"pad": "pad_token", "unk": "unk_token", "cls": "cls_token", "sep": "sep_token", "mask": "mask_token"}
FLAGS = ("single_word", "lstrip", "rstrip", "normalized")


def read_vocab(
    path: Path, *, lowercase: bool | None = None, settings: dict[str, Any] | None = None
) -> WordPieceTokenizer:
    """The tokenizer of a vocab.txt, cased where an entry has a capital letter, unless told."""
    lines = _read(path).split("\n")
    if lines[-1] == "":
        lines.pop()
    vocab = [line.removesuffix("\r") for line in lines]
    settings = settings or {}
    names: dict[str, Any] = {field: _content(settings[key]) for field, key in CONTROL_KEYS.items() if settings.get(key)}
    if lowercase is None:
        lowercase = settings.get("do_lower_case")
    if lowercase is None:
        lowercase = not any(entry.lower() != entry for entry in vocab if entry[:1] != "[" or entry[-1:] != "]")
    rules = Rules(
        lowercase=lowercase,
        strip_accents=settings.get("strip_accents"),
        split_chinese=settings.get("tokenize_chinese_chars", True),
        **names,
    )
    return WordPieceTokenizer(vocab, rules, source=str(path))


def read_folder(folder: Path, *, lowercase: bool | None = None) -> WordPieceTokenizer:
    """The tokenizer of a folder with tokenizer.json, or with vocab.txt and perhaps tokenizer_config.json."""
    settings = _read_json(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}
    if not (folder / TOKENIZER).is_file():
        if not (folder / VOCAB).is_file():
            raise UserError(f"{folder}: no {TOKENIZER} and no {VOCAB}; not a tokenizer folder")
        return read_vocab(folder / VOCAB, lowercase=lowercase, settings=settings)
    path = folder / TOKENIZER
    tokenizer = _from_json(path, _read_json(path), settings, lowercase)
    if (folder / VOCAB).is_file():
        beside = tuple(line.removesuffix("\r") for line in _read(folder / VOCAB).removesuffix("\n").split("\n"))
        if beside[: len(tokenizer.vocab)] != tokenizer.vocab[: len(beside)] or len(beside) < len(tokenizer.vocab):
            raise UserError(f"{folder}: {TOKENIZER} and {VOCAB} hold different vocabularies. Take away the stale one")
    return tokenizer


def _from_json(
    path: Path, described: dict[str, Any], settings: dict[str, Any], lowercase: bool | None
) -> WordPieceTokenizer:
    model, normalizer, cutter = (described.get(part) or {} for part in ("model", "normalizer", "pre_tokenizer"))
    kinds = [part.get("type") for part in (model, normalizer, cutter)]
    if kinds[0] is None and "vocab" in model and "continuing_subword_prefix" in model:
        kinds[0] = "WordPiece"  # early files do not say
    if kinds != ["WordPiece", "BertNormalizer", "BertPreTokenizer"]:
        raise UserError(f"{path}: {' / '.join(map(str, kinds))}, where BERT's WordPiece is expected")
    try:
        ids = {str(entry): int(i) for entry, i in model["vocab"].items()}
        vocab = sorted(ids, key=ids.__getitem__)
        if [ids[entry] for entry in vocab] != list(range(len(vocab))):
            raise UserError(f"{path}: the ids of its {len(vocab)} entries are not 0 to {len(vocab) - 1}, each once")
        names: dict[str, Any] = {
            field: _content(settings.get(key)) or f"[{field.upper()}]" for field, key in CONTROL_KEYS.items()
        }
        names["unk"] = model["unk_token"]
        added = [
            AddedToken(token["content"], token["id"], **{flag: token[flag] for flag in FLAGS})
            for token in described.get("added_tokens") or ()
            if token["content"] not in names.values()
        ]
        rules = Rules(
            lowercase=normalizer["lowercase"] if lowercase is None else lowercase,
            strip_accents=normalizer["strip_accents"],
            split_chinese=normalizer["handle_chinese_chars"],
            clean_text=normalizer["clean_text"],
            prefix=model["continuing_subword_prefix"],
            max_word_chars=model["max_input_chars_per_word"],
            added=tuple(sorted(added, key=lambda token: token.id)),
            **names,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: not a tokenizer file ({error!r})") from None
    return WordPieceTokenizer(vocab, rules, source=str(path))


def write_tokenizer(vocab: tuple[str, ...], rules: Rules, folder: Path) -> None:
    """Leaves vocab.txt, tokenizer.json and tokenizer_config.json in the folder: a new one appears whole.

    In a folder that is there, each file is replaced at one stroke; others are left alone.
    """
    contents = {
        VOCAB: "".join(entry + "\n" for entry in vocab),
        SETTINGS: json.dumps(_settings(rules), indent=2, ensure_ascii=False) + "\n",
        TOKENIZER: _described(vocab, rules),
    }
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        temporary.chmod(0o777 & ~_umask())
        for name, content in contents.items():
            (temporary / name).write_text(content, encoding="utf-8", newline="\n")
        if folder.is_dir():
            for name in contents:
                (temporary / name).replace(folder / name)
        else:
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _settings(rules: Rules) -> dict[str, Any]:
    return {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": rules.lowercase,
        "strip_accents": rules.strip_accents,
        "tokenize_chinese_chars": rules.split_chinese,
        **{key: getattr(rules, field) for field, key in CONTROL_KEYS.items()},
    }


def _described(vocab: tuple[str, ...], rules: Rules) -> str:
    ids = {entry: i for i, entry in enumerate(vocab)}
    whole = library_tokenizer(ids, rules)
    whole.decoder = decoders.WordPiece(prefix=rules.prefix)
    whole.post_processor = processors.BertProcessing((rules.sep, ids[rules.sep]), (rules.cls, ids[rules.cls]))
    whole.add_special_tokens([tokenizers.AddedToken(name, normalized=False) for name in rules.control_tokens])
    return whole.to_str(pretty=True) + "\n"


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _content(token: str | dict[str, Any] | None) -> str:
    """The text of a special token, which Hugging Face writes as a string or as a table."""
    return token["content"] if isinstance(token, dict) else token or ""


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}") from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(_read(path))
    except ValueError as error:
        raise UserError(f"{path}: not JSON: {error}") from None
    if not isinstance(table, dict):
        raise UserError(f"{path}: a JSON object is expected")
    return table
