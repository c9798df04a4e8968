"""Write a WordPiece tokenizer as a folder that Hugging Face opens."""

import json
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, processors

from bert_jax.text.classes import VOCAB
from bert_jax.text.folder_files import CONTROL_KEYS, EXTRA_SPECIAL, SETTINGS, SIDE, TOKENIZER, write_whole
from bert_jax.text.tokenizer import Side
from bert_jax.text.wordpiece_rules import Rules, library_tokenizer, with_every_id


def write_tokenizer(vocab: tuple[str, ...], rules: Rules, folder: Path, *, truncation_side: Side = "right") -> None:
    """Leaves vocab.txt, tokenizer.json and tokenizer_config.json in the folder: a new one appears whole.

    In a folder that is there, each file is replaced at one stroke; others are left alone.
    """
    settings = {**_settings(rules), **({} if truncation_side == "right" else {SIDE: truncation_side})}
    contents = {
        VOCAB: "".join(entry + "\n" for entry in vocab),
        SETTINGS: json.dumps(settings, indent=2, ensure_ascii=False) + "\n",
        TOKENIZER: _described(vocab, rules),
    }
    write_whole(folder, contents)


def _settings(rules: Rules) -> dict[str, Any]:
    special = [token.content for token in rules.added if token.special]
    return {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": rules.lowercase,
        "strip_accents": rules.strip_accents,
        "tokenize_chinese_chars": rules.split_chinese,
        **{key: getattr(rules, field) for field, key in CONTROL_KEYS.items()},
        **({"model_input_names": ["input_ids", "attention_mask"]} if rules.segments == 1 else {}),
        **({EXTRA_SPECIAL: special} if special else {}),
    }


def _described(vocab: tuple[str, ...], rules: Rules) -> str:
    ids = {entry: i for i, entry in enumerate(vocab)}
    # Others count entries to number those that are added behind them.
    behind = any(token.id >= len(vocab) for token in rules.added)
    whole = library_tokenizer(with_every_id(ids, len(vocab)) if behind else ids, rules)
    whole.decoder = decoders.WordPiece(prefix=rules.prefix)
    whole.post_processor = processors.BertProcessing((rules.sep, ids[rules.sep]), (rules.cls, ids[rules.cls]))
    whole.add_special_tokens([tokenizers.AddedToken(name, normalized=False) for name in rules.control_tokens])
    return whole.to_str(pretty=True) + "\n"
