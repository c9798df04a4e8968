"""Which control tokens and which other added tokens a tokenizer folder names, in all the places it may name them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bert_jax.errors import UserError
from bert_jax.files import read_json_if_there
from bert_jax.text.files import CONTROL_KEYS, FLAGS, SETTINGS, token_text
from bert_jax.text.layout import Layout
from bert_jax.text.recipes import Described, control_token

ADDED, OLD_NAMES = "added_tokens.json", "special_tokens_map.json"
# How they are spelled where nothing names them.
ROBERTAS = {"pad": "<pad>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}
BERTS = {field: f"[{field.upper()}]" for field in ROBERTAS}


def control_names(
    folder: Path, settings: dict[str, Any], described: Described, layout: Layout | None
) -> dict[str, str]:
    """The texts of the control tokens: as special_tokens_map.json or the settings say, else in their usual spelling.

    A field that nothing names and that has no usual spelling in the vocabulary is not there.
    """
    old = {} if "added_tokens_decoder" in settings else read_json_if_there(folder / OLD_NAMES)
    vocab, added = described["model"]["vocab"], described.get("added_tokens") or ()
    by_id = {token["id"]: token["content"] for token in added}
    texts = {entry[0] for entry in vocab} if isinstance(vocab, list) else set(vocab)
    texts.update(by_id.values())
    bert_like = layout is not None and by_id.get(layout.cls, "").startswith("[")
    names = {}
    for field, key in CONTROL_KEYS.items():
        usual = (BERTS[field], ROBERTAS[field]) if bert_like else (ROBERTAS[field], BERTS[field])
        name = token_text(old.get(key)) or token_text(settings.get(key))
        name = name or next((name for name in usual if name in texts), "")
        if name:
            names[field] = name
    return names


def with_added(described: Described, folder: Path, settings: dict[str, Any], names: Mapping[str, str]) -> Described:
    """With the added tokens that tokenizer_config.json tells of besides, or added_tokens.json in older folders."""
    added = list(described.get("added_tokens") or ())
    known = {token["content"] for token in added}
    in_settings = "added_tokens_decoder" in settings
    source = folder / (SETTINGS if in_settings else ADDED)
    try:
        if in_settings:
            told = [{"id": int(i), **token} for i, token in settings["added_tokens_decoder"].items()]
        else:
            told = [control_token(i, text) for text, i in read_json_if_there(source).items()]
            for token in told:
                token["special"] = token["content"] in names.values()
                token["normalized"] = not token["special"]
        for token in sorted(told, key=lambda token: token["id"]):
            if token["content"] not in known:
                flags = {key: bool(token.get(key, False)) for key in (*FLAGS, "special")}
                added.append({"id": token["id"], "content": token["content"], **flags})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{source}: its added tokens cannot be read ({error!r})") from None
    return {**described, "added_tokens": added}
