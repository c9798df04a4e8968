"""A tokenizer defined by a tokenizer.json: byte-level BPE (RoBERTa, ModernBERT) and unigram (XLM-RoBERTa)."""

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from tokenizers import models

from bert_jax.errors import UserError
from bert_jax.text.folder_files import (
    ADDED_TOKEN_FLAGS,
    CONTROL_KEYS,
    EXTRA_SPECIAL,
    NEVER_FOUND,
    SIDE,
    TOKENIZER,
    TOKENIZER_SETTINGS,
    write_files,
)
from bert_jax.text.library_encoding import encode_with_control_tokens, flat_ids, flat_spans
from bert_jax.text.rust_errors import as_user_errors, call_library
from bert_jax.text.token_layout import TOKEN_TYPES, read_layout
from bert_jax.text.tokenizer import Encoding, Side, SpecialIds
from bert_jax.text.tokenizer_json import ROBERTA, XLM_ROBERTA, Described
from bert_jax.text.tokenizer_limits import check_limits

# The first character of a token that starts a word: byte-level BPE's spelling of space, tab, line feed ...; one for all
# blanks in SentencePiece.
WORD_STARTS = {"BPE": ("Ġ", "ĉ", "Ċ", "ċ", "Č", "č"), "Unigram": ("▁",)}


class LibraryTokenizer:
    """A `Tokenizer` defined by a tokenizer.json, with the ids of Hugging Face's class `library_class`.

    Control tokens spelled out in a text stay text; other added tokens are found in it.

    described  content of the tokenizer.json
    control    texts of pad, unk and mask
    segments   segments of a pair
    hidden     texts of further tokens that stay text
    settings   further settings for a saved tokenizer_config.json
    source     name for error messages

    Raises UserError for a tokenizer.json that cannot be used.
    """

    truncation_side: Side = "right"

    def __init__(
        self,
        described: Described,
        control: Mapping[str, str],
        *,
        library_class: str,
        segments: int = 1,
        hidden: Collection[str] = (),
        settings: Mapping[str, Any] | None = None,
        source: str = TOKENIZER,
    ) -> None:
        self.library_class, self.segments = library_class, segments
        self._described = json.dumps(described, ensure_ascii=False)
        self._settings = dict(settings or {})
        self._control = dict(control)
        check_limits(described, source)
        self._entries, ids = _entries(described, source)
        self.vocab_size = len(self._entries)
        layout = read_layout(described.get("post_processor"), source)
        if layout is None or max(layout.cls, layout.sep) >= self.vocab_size:
            raise UserError(f"{source}: its post_processor puts no control tokens of the vocabulary around a text")
        for field, name in control.items():
            if name not in ids:
                raise UserError(f"{source}: {CONTROL_KEYS[field]} {name!r} has no id among {self.vocab_size} entries")
        self.separators = layout.separators
        self.special = SpecialIds(
            pad=ids[control["pad"]], unk=ids[control["unk"]], cls=layout.cls, sep=layout.sep, mask=ids[control["mask"]]
        )
        self._hidden = frozenset(hidden)
        self._control_ids = {ids[text] for text in self._hidden if text in ids} | set(self.special.all())
        exact = library_class == XLM_ROBERTA
        self.fingerprint = _fingerprint(described, self.special, layout.separators, segments, self._control_ids, exact)
        self._backend = _backend(described, self._control_ids, exact, source)

    def __reduce__(self) -> tuple:
        state = self._described, self._control, self.library_class, self.segments, self._settings, self._hidden
        return _unpickle, state, {"truncation_side": self.truncation_side}

    def ids(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the ids of each text (int32) without control tokens."""
        flat, offsets = self.ids_flat(texts)
        return [flat[start:end] for start, end in itertools.pairwise(offsets.tolist())]

    def ids_flat(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return all ids in one int32 array, and int64 offsets: text i is `flat[offsets[i]:offsets[i + 1]]`."""
        return flat_ids(self._backend, texts)

    def spans_flat(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return all ids, the start and end of each token in characters (int32, tokens x 2), and offsets of texts."""
        return flat_spans(self._backend, texts)

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, max_length: int) -> list[Encoding]:
        """Encode each text (with its pair) with control tokens, cut to `max_length`, the longer text first.

        Offsets are those of the library's post-processor: for RoBERTa without the blank before a word.
        """
        return encode_with_control_tokens(self, self._backend, texts, pairs, max_length=max_length)

    def tokens(self, ids: Sequence[int]) -> list[str]:
        return [self._entries[i] for i in ids]

    def continuations(self) -> np.ndarray:
        """Return for each id whether its token continues a word (bool).

        In WordPiece, tokens with the prefix continue a word; in other models, tokens that do not begin with a blank.
        Added tokens never do.
        """
        described = json.loads(self._described)
        model, added = described["model"], described.get("added_tokens") or ()
        if model["type"] == "WordPiece":
            prefix = model.get("continuing_subword_prefix", "##")
            continued = np.array([entry.startswith(prefix) for entry in self._entries])
        else:
            continued = np.array([not entry.startswith(WORD_STARTS[model["type"]]) for entry in self._entries])
        continued[[token["id"] for token in added] + list(self._control_ids)] = False
        return continued

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of the ids, without control tokens except the unknown token."""
        hidden = self._control_ids - {self.special.unk}
        tokens = self.tokens([i for i in ids if i not in hidden])
        decoder = self._backend.decoder
        with as_user_errors():
            return " ".join(tokens) if decoder is None else decoder.decode(tokens)

    def save(self, folder: Path) -> None:
        """Write a folder that `load_tokenizer` and Hugging Face open with the same ids. A new folder appears whole."""
        described = json.loads(self._described)
        settings = _settings(described, self._control, self._entries, self.special, self._hidden, self.library_class)
        side = {} if self.truncation_side == "right" else {SIDE: self.truncation_side}
        settings = {**self._settings, **settings, **side, **_input_names(described, self._settings, self.segments)}
        contents = {TOKENIZER: described, TOKENIZER_SETTINGS: settings}
        write_files(
            folder,
            {name: json.dumps(content, indent=2, ensure_ascii=False) + "\n" for name, content in contents.items()},
        )


def _entries(described: Described, source: str) -> tuple[list[str], dict[str, int]]:
    """Return the text of each id and the id of each text. Raises UserError if an id is missing or has two texts."""
    try:
        vocab, added = described["model"]["vocab"], described.get("added_tokens") or ()
        texts = [entry[0] for entry in vocab] if isinstance(vocab, list) else list(vocab)
        numbers = range(len(texts)) if isinstance(vocab, list) else vocab.values()
        numbered = zip(numbers, texts, strict=True)
        by_id: dict[int, str] = {}
        for i, text in itertools.chain(numbered, ((token["id"], token["content"]) for token in added)):
            if type(i) is not int or i < 0 or not isinstance(text, str):
                raise UserError(f"{source}: entry {text!r} has id {i!r}, where a whole number from 0 on is expected")
            if by_id.setdefault(i, text) != text:
                raise UserError(f"{source}: id {i} stands for {by_id[i]!r} and for {text!r}")
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise UserError(f"{source}: not a tokenizer file ({error!r})") from None
    missing = next((i for i in range(len(by_id)) if i not in by_id), None)
    if missing is not None:
        raise UserError(f"{source}: no entry has id {missing}, though ids go up to {max(by_id)}")
    entries = [by_id[i] for i in range(len(by_id))]
    ids = {text: i for i, text in enumerate(entries)}
    may_repeat = isinstance(vocab, list)  # SentencePiece's entries may repeat, and the last one counts
    if len(ids) < len(entries) and not may_repeat:
        i = next(i for i, text in enumerate(entries) if ids[text] != i)
        raise UserError(f"{source}: {entries[i]!r} has the ids {i} and {ids[entries[i]]}")
    return entries, ids


def _backend(described: Described, control_ids: set[int], exact: bool, source: str) -> tokenizers.Tokenizer:
    """Return the library's tokenizer, set to find no control token in a text.

    `exact` keeps scores to the last bit, as Hugging Face's XLMRobertaTokenizer does. The library's own JSON reader is
    sometimes off by one in the last place, which decides between segmentations of equal score.
    """
    model = described["model"]
    added = [{**token, "special": token["id"] in control_ids} for token in described.get("added_tokens") or ()]
    if model["type"] == "Unigram":
        # Control tokens score best, so they would be found. Texts that reach the model hold no blanks, so with blanks
        # around it a control token is never found.
        vocab = [[f" {text} " if i in control_ids else text, score] for i, (text, score) in enumerate(model["vocab"])]
        model = {**model, "vocab": vocab}
        for token in added:
            token["content"] = f" {token['content']} " if token["special"] else token["content"]
    elif model["type"] == "BPE":
        _check_merges(model, source)
    changed = {**described, "model": model, "added_tokens": added, "truncation": None, "padding": None}

    def build() -> tokenizers.Tokenizer:
        backend = tokenizers.Tokenizer.from_str(json.dumps(changed))
        if exact:
            pieces = [(text, float(score)) for text, score in model["vocab"]]
            backend.model = models.Unigram(pieces, model["unk_id"], model.get("byte_fallback", False))
        backend.encode_special_tokens = True  # control tokens in a text are split like any text
        backend.encode("A é\u3042ﬁ x", add_special_tokens=False)  # a damaged file fails here
        return backend

    backend = call_library(build, source)
    for token in added:
        if backend.token_to_id(token["content"]) != token["id"]:
            raise UserError(f"{source}: added token {token['content']!r} cannot have id {token['id']}")
    return backend


def _check_merges(model: dict[str, Any], source: str) -> None:
    """Raise UserError if there are no merges, or if one has pieces that are not in the vocabulary."""
    merges, vocab = model.get("merges"), model["vocab"]
    if not isinstance(merges, list) or not merges:
        raise UserError(f"{source}: byte-level BPE without merges")
    prefix = len(model.get("continuing_subword_prefix") or "")
    for i, merge in enumerate(merges):
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if len(pair) != 2:
            raise UserError(f"{source}: merge {i} is {merge!r}; two pieces are expected")
        for piece in (*pair, pair[0] + pair[1][prefix:]):
            if piece not in vocab:
                raise UserError(f"{source}: merge {i} is {' '.join(pair)!r}, but {piece!r} is not in the vocabulary")


def _fingerprint(
    described: Described, special: SpecialIds, separators: int, segments: int, control_ids: set[int], exact: bool
) -> str:
    model = dict(described["model"])
    if isinstance(model.get("merges"), list):
        model["merges"] = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
    content = {
        "kind": "library",
        "model": {key: value for key, value in model.items() if value},
        "normalizer": described.get("normalizer"),
        "pre_tokenizer": described.get("pre_tokenizer"),
        "added": sorted(
            [
                token["id"],
                token["content"],
                *([] if token["id"] in control_ids else [token.get(key) for key in ADDED_TOKEN_FLAGS]),
            ]
            for token in described.get("added_tokens") or ()
        ),
        "special": dataclasses.asdict(special),
        "separators": separators,
        "exact": exact,
        **({"segments": segments} if segments > 1 else {}),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _settings(
    described: Described,
    control: Mapping[str, str],
    entries: Sequence[str],
    special: SpecialIds,
    hidden: Collection[str],
    library_class: str,
) -> dict[str, Any]:
    """Return the settings of a tokenizer_config.json that follow from the tokenizer itself."""
    names = {**control, "cls": entries[special.cls], "sep": entries[special.sep]}
    roles = set(names.values())
    table: dict[str, Any] = {
        "tokenizer_class": library_class,
        **{key: names[field] for field, key in CONTROL_KEYS.items()},
        "added_tokens_decoder": {
            str(token["id"]): {key: value for key, value in token.items() if key != "id"}
            for token in described.get("added_tokens") or ()
        },
    }
    if never_found := sorted(set(hidden) - roles):
        table[NEVER_FOUND] = never_found
    special_texts = [token["content"] for token in described.get("added_tokens") or () if token.get("special")]
    if extra := [text for text in special_texts if text not in roles.union(hidden)]:
        table[EXTRA_SPECIAL] = extra
    if library_class in (ROBERTA, XLM_ROBERTA):
        table |= {"bos_token": names["cls"], "eos_token": names["sep"]}
    if library_class == ROBERTA:
        table["add_prefix_space"] = described["pre_tokenizer"].get("add_prefix_space", True)
        table["trim_offsets"] = described["post_processor"].get("trim_offsets", True)
    return table


def _input_names(described: Described, settings: Mapping[str, Any], segments: int) -> dict[str, list[str]]:
    """Return the `model_input_names` that give a model these segments; {} if the defaults do."""

    layout = read_layout(described.get("post_processor"), TOKENIZER)
    names = settings.get("model_input_names")
    if segments > 1:
        return (
            {}
            if names and TOKEN_TYPES in names
            else {"model_input_names": ["input_ids", TOKEN_TYPES, "attention_mask"]}
        )
    return {} if names or (layout and layout.segments == 1) else {"model_input_names": ["input_ids", "attention_mask"]}


def _unpickle(
    described: str,
    control: dict[str, str],
    library_class: str,
    segments: int,
    settings: dict[str, Any],
    hidden: frozenset[str],
) -> LibraryTokenizer:
    return LibraryTokenizer(
        json.loads(described),
        control,
        library_class=library_class,
        segments=segments,
        settings=settings,
        hidden=hidden,
    )
