"""Which control tokens and which other added tokens a tokenizer folder names, in all the places it may name them."""

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from bert_jax.errors import UserError
from bert_jax.files import read_json_if_there
from bert_jax.text.folder_files import CONTROL_KEYS, EXTRA_SPECIAL, FLAGS, NEVER_FOUND, SETTINGS, token_text
from bert_jax.text.recipes import Described, control_token

ADDED, OLD_NAMES = "added_tokens.json", "special_tokens_map.json"
DECODER = "added_tokens_decoder"
EXTRA = ("extra_special_tokens", EXTRA_SPECIAL)  # the name of today and that of before
OTHER_KEYS = ("bos_token", "eos_token")
# How they are spelled where nothing names them.
ROBERTAS = {"pad": "<pad>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}
BERTS = {field: f"[{field.upper()}]" for field in ROBERTAS}


@dataclasses.dataclass(frozen=True)
class NamedTokens:
    """The tokens that the files of a folder name.

    control    the texts of pad, unk, cls, sep and mask; one that nothing names and that has no usual spelling in the
               vocabulary is not there
    hidden     texts that are never found in a text: these, the tokens of beginning and end, and what we wrote as such
    described  the tokenizer.json, its added tokens completed
    """

    control: dict[str, str]
    hidden: frozenset[str]
    described: Described


def read_named_tokens(
    folder: Path | None,
    settings: dict[str, Any],
    described: Described,
    *,
    spellings: tuple[Mapping[str, str], ...] = (ROBERTAS, BERTS),
    hidden: Collection[str] = (),
) -> NamedTokens:
    """Return the tokens that a folder names beside those of its vocabulary, as Hugging Face's classes read them.

    `described` is a tokenizer.json, or as much of one as a vocabulary makes. Control tokens are named by
    special_tokens_map.json, then by the settings, else in one of the `spellings`. Added tokens are told by
    `added_tokens_decoder`, or in folders that lack it by added_tokens.json; further special tokens have the id of their
    entry, or the next one. `hidden` are texts that are never found in a text, besides. Raises UserError for tokens that
    cannot be read. Without a folder, the settings alone are read.
    """
    older = read_json_if_there(folder / OLD_NAMES) if folder else {}
    listed = list(_listed_tokens(folder, settings))
    ids = _vocabulary(described)
    added = {token["content"]: token for token in described.get("added_tokens") or ()}
    if DECODER in settings:  # names the special tokens, too; the older file may be stale
        said, extra = older | {key: value for key, value in settings.items() if value}, _extra_tokens(settings)
    else:
        said, extra = settings | older, _extra_tokens(settings, older)
    control = _control_names(said, {*ids, *added, *(token["content"] for token in listed)}, spellings)
    others = [text for key in OTHER_KEYS if (text := token_text(said.get(key)))]
    roles = {*control.values(), *others}
    if DECODER not in settings:
        special = roles | _extra_tokens(settings).keys()
        listed = [
            {**token, "special": token["content"] in special, "normalized": token["content"] not in special}
            for token in listed
            if token["content"] not in added
        ]
    for token in listed:
        known = added.setdefault(token["content"], token)["id"]
        if known != token["id"]:
            raise UserError(f"{folder}: added token {token['content']!r} has the ids {known} and {token['id']}")
        added[token["content"]] = token
    numbers = [*ids.values(), *(token["id"] for token in added.values())]
    following = 1 + max((i for i in numbers if type(i) is int), default=-1)
    first = {text: control_token(-1, text) for text in others if text not in ids}  # of no use but for what follows them
    new = {text: token for text, token in extra.items() if text not in added}
    for text, token in (first | new if new.keys() - ids.keys() else new).items():
        if text not in added:
            added[text] = {**token, "id": ids.get(text, following)}
            following = max(following, added[text]["id"] + 1)
    never = {*hidden, *settings.get(NEVER_FOUND, ())} - extra.keys()
    return NamedTokens(control, frozenset(roles | never), {**described, "added_tokens": list(added.values())})


def _vocabulary(described: Described) -> dict[str, int]:
    vocab = described["model"]["vocab"]
    return {entry[0]: i for i, entry in enumerate(vocab)} if isinstance(vocab, list) else vocab


def _control_names(
    said: Mapping[str, Any], texts: Collection[str], spellings: tuple[Mapping[str, str], ...]
) -> dict[str, str]:
    names = {}
    for field, key in CONTROL_KEYS.items():
        usual = next((spelling[field] for spelling in spellings if spelling[field] in texts), "")
        if name := token_text(said.get(key)) or usual:
            names[field] = name
    return names


def _extra_tokens(*tables: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the special tokens that have no part in the frame of a text, by their texts, in Hugging Face's order.

    They are added tokens, but for their ids.
    """
    named: list[Any] = []
    listed: list[Any] = []
    for table in tables:
        for key, token in table.items():
            text = isinstance(token, str) or (isinstance(token, dict) and "content" in token)
            if key.endswith("_token") and text and key not in (*CONTROL_KEYS.values(), *OTHER_KEYS):
                named.append(token)
        for tokens in (table.get(key) or () for key in EXTRA):
            if isinstance(tokens, dict):
                named += tokens.values()
            else:
                listed += tokens
    return {token["content"]: token for token in map(_special, named + listed)}


def _special(token: str | dict[str, Any]) -> dict[str, Any]:
    text = token_text(token)
    if not isinstance(text, str) or not text:
        raise UserError(f"special token {token!r}: a text is expected")
    flags = {key: bool(token.get(key, False)) for key in FLAGS} if isinstance(token, dict) else {}
    return control_token(-1, text) | flags


def _listed_tokens(folder: Path | None, settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the added tokens that tokenizer_config.json lists with their ids, or added_tokens.json in older folders."""
    source = (folder or Path()) / (SETTINGS if DECODER in settings else ADDED)
    try:
        if DECODER in settings:
            told = [{**token, "id": int(i)} for i, token in settings[DECODER].items()]
        else:
            told = [control_token(i, text) for text, i in (read_json_if_there(source) if folder else {}).items()]
        for token in sorted(told, key=lambda token: token["id"]):
            if not isinstance(token["content"], str) or type(token["id"]) is not int or token["id"] < 0:
                raise TypeError(token)
            flags = {key: bool(token.get(key, False)) for key in (*FLAGS, "special")}
            yield {"id": token["id"], "content": token["content"], **flags}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{source}: its added tokens cannot be read ({error!r})") from None
