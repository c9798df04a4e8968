"""The control tokens and added tokens that the files of a tokenizer folder name."""

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from bert_jax.errors import UserError
from bert_jax.files import read_json_if_there
from bert_jax.text.folder_files import (
    ADDED_TOKEN_FLAGS,
    CONTROL_KEYS,
    EXTRA_SPECIAL,
    NEVER_FOUND,
    TOKENIZER_SETTINGS,
    token_text,
)
from bert_jax.text.tokenizer_json import Described, control_token

ADDED, OLD_NAMES = "added_tokens.json", "special_tokens_map.json"
DECODER = "added_tokens_decoder"
EXTRA_TOKEN_KEYS = ("extra_special_tokens", EXTRA_SPECIAL)  # transformers 5's name and the older one
OTHER_KEYS = ("bos_token", "eos_token")
# The usual spellings of control tokens, for folders that do not name them.
ROBERTA_SPELLINGS = {"pad": "<pad>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}
BERT_SPELLINGS = {field: f"[{field.upper()}]" for field in ROBERTA_SPELLINGS}


@dataclasses.dataclass(frozen=True)
class NamedTokens:
    """The tokens that the files of a folder name.

    control    texts of pad, unk, cls, sep and mask, without those that no file names and that have no usual spelling in
               the vocabulary
    hidden     texts that are never found as tokens in a text: control tokens, beginning and end tokens, and tokens that
               this package saved as such
    described  the tokenizer.json with all added tokens
    """

    control: dict[str, str]
    hidden: frozenset[str]
    described: Described


def read_named_tokens(
    folder: Path | None,
    settings: dict[str, Any],
    described: Described,
    *,
    spellings: tuple[Mapping[str, str], ...] = (ROBERTA_SPELLINGS, BERT_SPELLINGS),
    hidden: Collection[str] = (),
) -> NamedTokens:
    """Return the control and added tokens of a folder, as Hugging Face's classes read them.

    `described` is a tokenizer.json, or its model and added tokens only. Control tokens are named by
    special_tokens_map.json or the settings, or else have one of the `spellings`. Added tokens and their ids are listed
    in `added_tokens_decoder`, or in older folders in added_tokens.json; other special tokens have the id of their
    vocabulary entry or the next free one. `hidden` lists further texts that are never found as tokens. Without a folder
    only the settings are read. Raises UserError for tokens that cannot be read.
    """
    older = read_json_if_there(folder / OLD_NAMES) if folder else {}
    listed = list(_listed_tokens(folder, settings))
    ids = _vocabulary(described)
    added = {token["content"]: token for token in described.get("added_tokens") or ()}
    if DECODER in settings:  # the settings name the special tokens, too, and the older file may be stale
        names, extra = older | {key: value for key, value in settings.items() if value}, _extra_tokens(settings)
    else:
        names, extra = settings | older, _extra_tokens(settings, older)
    control = _control_names(names, {*ids, *added, *(token["content"] for token in listed)}, spellings)
    others = [text for key in OTHER_KEYS if (text := token_text(names.get(key)))]
    roles = {*control.values(), *others}
    if DECODER not in settings:
        special = roles | _extra_tokens(settings).keys()
        listed = [
            {**token, "special": token["content"] in special, "normalized": token["content"] not in special}
            for token in listed
            if token["content"] not in added
        ]
    for token in listed:
        other_id = added.setdefault(token["content"], token)["id"]
        if other_id != token["id"]:
            raise UserError(f"{folder}: added token {token['content']!r} has the ids {other_id} and {token['id']}")
        added[token["content"]] = token
    used_ids = [*ids.values(), *(token["id"] for token in added.values())]
    next_id = 1 + max((i for i in used_ids if type(i) is int), default=-1)
    # Beginning and end tokens without an entry take the first free ids, which moves the ids of the tokens after them.
    first = {text: control_token(-1, text) for text in others if text not in ids}
    new = {text: token for text, token in extra.items() if text not in added}
    for text, token in (first | new if new.keys() - ids.keys() else new).items():
        if text not in added:
            added[text] = {**token, "id": ids.get(text, next_id)}
            next_id = max(next_id, added[text]["id"] + 1)
    never_found = {*hidden, *settings.get(NEVER_FOUND, ())} - extra.keys()
    return NamedTokens(control, frozenset(roles | never_found), {**described, "added_tokens": list(added.values())})


def _vocabulary(described: Described) -> dict[str, int]:
    vocab = described["model"]["vocab"]
    return {entry[0]: i for i, entry in enumerate(vocab)} if isinstance(vocab, list) else vocab


def _control_names(
    names: Mapping[str, Any], texts: Collection[str], spellings: tuple[Mapping[str, str], ...]
) -> dict[str, str]:
    """Return the text of each control token: the named one, or the first spelling that is among `texts`."""
    control = {}
    for field, key in CONTROL_KEYS.items():
        usual = next((spelling[field] for spelling in spellings if spelling[field] in texts), "")
        if text := token_text(names.get(key)) or usual:
            control[field] = text
    return control


def _extra_tokens(*tables: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the special tokens other than control, beginning and end tokens, by text, in Hugging Face's order.

    Each is an added token of a tokenizer.json whose id is still -1.
    """
    by_key: list[Any] = []
    listed: list[Any] = []
    for table in tables:
        for key, token in table.items():
            has_text = isinstance(token, str) or (isinstance(token, dict) and "content" in token)
            if key.endswith("_token") and has_text and key not in (*CONTROL_KEYS.values(), *OTHER_KEYS):
                by_key.append(token)
        for tokens in (table.get(key) or () for key in EXTRA_TOKEN_KEYS):
            if isinstance(tokens, dict):
                by_key += tokens.values()
            else:
                listed += tokens
    return {token["content"]: token for token in map(_special, by_key + listed)}


def _special(token: str | dict[str, Any]) -> dict[str, Any]:
    text = token_text(token)
    if not isinstance(text, str) or not text:
        raise UserError(f"special token {token!r}: a text is expected")
    flags = {key: bool(token.get(key, False)) for key in ADDED_TOKEN_FLAGS} if isinstance(token, dict) else {}
    return control_token(-1, text) | flags


def _listed_tokens(folder: Path | None, settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the added tokens, with ids, of tokenizer_config.json, or in older folders of added_tokens.json."""
    source = (folder or Path()) / (TOKENIZER_SETTINGS if DECODER in settings else ADDED)
    try:
        if DECODER in settings:
            tokens = [{**token, "id": int(i)} for i, token in settings[DECODER].items()]
        else:
            tokens = [control_token(i, text) for text, i in (read_json_if_there(source) if folder else {}).items()]
        for token in sorted(tokens, key=lambda token: token["id"]):
            if not isinstance(token["content"], str) or type(token["id"]) is not int or token["id"] < 0:
                raise TypeError(token)
            flags = {key: bool(token.get(key, False)) for key in (*ADDED_TOKEN_FLAGS, "special")}
            yield {"id": token["id"], "content": token["content"], **flags}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{source}: its added tokens cannot be read ({error!r})") from None
