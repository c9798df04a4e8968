"""Write a WordPiece tokenizer as a folder that Hugging Face opens."""

import json
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, processors

from bert_jax.text.folder_files import CONTROL_KEYS, EXTRA_SPECIAL, SIDE, TOKENIZER, TOKENIZER_SETTINGS, write_files
from bert_jax.text.tokenizer import Side
from bert_jax.text.tokenizer_classes import VOCAB
from bert_jax.text.wordpiece_rules import WordPieceRules, fill_missing_ids, make_backend


def write_tokenizer(
    vocab: tuple[str, ...], rules: WordPieceRules, folder: Path, *, truncation_side: Side = "right"
) -> None:
    """Write vocab.txt, tokenizer.json and tokenizer_config.json into the folder.

    A new folder appears with all files at once. In an existing folder each file is replaced atomically, and other files
    stay.
    """
    settings = {**_settings(rules), **({} if truncation_side == "right" else {SIDE: truncation_side})}
    contents = {
        VOCAB: "".join(entry + "\n" for entry in vocab),
        TOKENIZER_SETTINGS: json.dumps(settings, indent=2, ensure_ascii=False) + "\n",
        TOKENIZER: _tokenizer_json(vocab, rules),
    }
    write_files(folder, contents)


def _settings(rules: WordPieceRules) -> dict[str, Any]:
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


def _tokenizer_json(vocab: tuple[str, ...], rules: WordPieceRules) -> str:
    ids = {entry: i for i, entry in enumerate(vocab)}
    # The library numbers added tokens by counting entries, so ids without an entry must be filled before them.
    added_at_end = any(token.id >= len(vocab) for token in rules.added)
    backend = make_backend(fill_missing_ids(ids, len(vocab)) if added_at_end else ids, rules)
    backend.decoder = decoders.WordPiece(prefix=rules.prefix)
    backend.post_processor = processors.BertProcessing((rules.sep, ids[rules.sep]), (rules.cls, ids[rules.cls]))
    backend.add_special_tokens([tokenizers.AddedToken(name, normalized=False) for name in rules.control_tokens])
    return backend.to_str(pretty=True) + "\n"
