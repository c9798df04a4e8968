"""WordPiece tokenizers on disk: a bare vocab.txt, our folder, a folder of Hugging Face."""

import json
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, processors

from bert_jax.errors import UserError
from bert_jax.files import read_text
from bert_jax.text.files import CONTROL_KEYS, FLAGS, SETTINGS, TOKENIZER, token_text, write_whole
from bert_jax.text.layout import Layout
from bert_jax.text.wordpiece import AddedToken, Rules, WordPieceTokenizer, library_tokenizer

VOCAB = "vocab.txt"
GENERAL_CLASSES = ("PreTrainedTokenizer", "TokenizersBackend")


def read_vocab(
    path: Path, *, lowercase: bool | None = None, settings: dict[str, Any] | None = None, segments: int = 2
) -> WordPieceTokenizer:
    """The tokenizer of a vocab.txt, cased where an entry has a capital letter, unless told."""
    lines = read_text(path).split("\n")
    if lines[-1] == "":
        lines.pop()
    vocab = [line.removesuffix("\r") for line in lines]
    settings = settings or {}
    names: dict[str, Any] = {
        field: token_text(settings[key]) for field, key in CONTROL_KEYS.items() if settings.get(key)
    }
    if lowercase is None:
        lowercase = settings.get("do_lower_case")
    if lowercase is None:
        lowercase = not any(entry.lower() != entry for entry in vocab if entry[:1] != "[" or entry[-1:] != "]")
    rules = Rules(
        lowercase=lowercase,
        strip_accents=settings.get("strip_accents"),
        split_chinese=settings.get("tokenize_chinese_chars", True),
        segments=segments,
        **names,
    )
    return WordPieceTokenizer(vocab, rules, source=str(path))


def read_described(
    path: Path,
    described: dict[str, Any],
    settings: dict[str, Any],
    layout: Layout | None,
    *,
    segments: int,
    lowercase: bool | None = None,
) -> WordPieceTokenizer:
    """The tokenizer of a tokenizer.json that was read, and of what tokenizer_config.json says beside it.

    `layout` is that of its post-processor, `segments` those of a pair. Raises UserError where a vocab.txt in the folder
    says otherwise, and where the control tokens are not those that the post-processor puts around a text.
    """
    tokenizer = _from_json(path, described, settings, segments, lowercase)
    special = tokenizer.special
    if layout is not None and (layout.cls, layout.sep) != (special.cls, special.sep):
        cls, sep = tokenizer.rules.cls, tokenizer.rules.sep
        raise UserError(
            f"{path}: its post_processor puts the ids {layout.cls} and {layout.sep} around a text, {cls} and {sep} are "
            f"{special.cls} and {special.sep}. Name cls_token and sep_token in {SETTINGS}"
        )
    folder = path.parent
    if (folder / VOCAB).is_file():
        beside = tuple(line.removesuffix("\r") for line in read_text(folder / VOCAB).removesuffix("\n").split("\n"))
        if beside[: len(tokenizer.vocab)] != tokenizer.vocab[: len(beside)] or len(beside) < len(tokenizer.vocab):
            raise UserError(f"{folder}: {TOKENIZER} and {VOCAB} hold different vocabularies. Take away the stale one")
    return tokenizer


def _from_json(
    path: Path, described: dict[str, Any], settings: dict[str, Any], segments: int, lowercase: bool | None
) -> WordPieceTokenizer:
    model, normalizer = described["model"], described["normalizer"]
    # BERT's classes let their settings overrule the file, the general one does not look at them.
    said = settings if str(settings.get("tokenizer_class", "")).removesuffix("Fast") not in GENERAL_CLASSES else {}
    try:
        if lowercase is None:
            lowercase = bool(said.get("do_lower_case", normalizer["lowercase"]))
        ids = {str(entry): int(i) for entry, i in model["vocab"].items()}
        vocab = sorted(ids, key=ids.__getitem__)
        if [ids[entry] for entry in vocab] != list(range(len(vocab))):
            raise UserError(f"{path}: the ids of its {len(vocab)} entries are not 0 to {len(vocab) - 1}, each once")
        names: dict[str, Any] = {
            field: token_text(settings.get(key)) or f"[{field.upper()}]" for field, key in CONTROL_KEYS.items()
        }
        names["unk"] = model["unk_token"]
        added = [
            AddedToken(token["content"], token["id"], **{flag: token[flag] for flag in FLAGS})
            for token in described.get("added_tokens") or ()
            if token["content"] not in names.values()
        ]
        rules = Rules(
            lowercase=lowercase,
            strip_accents=said.get("strip_accents", normalizer["strip_accents"]),
            split_chinese=said.get("tokenize_chinese_chars", normalizer["handle_chinese_chars"]),
            clean_text=normalizer["clean_text"],
            prefix=model["continuing_subword_prefix"],
            max_word_chars=model["max_input_chars_per_word"],
            added=tuple(sorted(added, key=lambda token: token.id)),
            segments=segments,
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
    write_whole(folder, contents)


def _settings(rules: Rules) -> dict[str, Any]:
    return {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": rules.lowercase,
        "strip_accents": rules.strip_accents,
        "tokenize_chinese_chars": rules.split_chinese,
        **{key: getattr(rules, field) for field, key in CONTROL_KEYS.items()},
        **({"model_input_names": ["input_ids", "attention_mask"]} if rules.segments == 1 else {}),
    }


def _described(vocab: tuple[str, ...], rules: Rules) -> str:
    ids = {entry: i for i, entry in enumerate(vocab)}
    whole = library_tokenizer(ids, rules)
    whole.decoder = decoders.WordPiece(prefix=rules.prefix)
    whole.post_processor = processors.BertProcessing((rules.sep, ids[rules.sep]), (rules.cls, ids[rules.cls]))
    whole.add_special_tokens([tokenizers.AddedToken(name, normalized=False) for name in rules.control_tokens])
    return whole.to_str(pretty=True) + "\n"
