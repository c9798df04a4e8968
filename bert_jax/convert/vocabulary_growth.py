"""A model with more vocabulary than it was trained with: rows for the entries that were added behind its own."""

import dataclasses

import numpy as np

from bert_jax.convert.rules import TOKEN_TABLE
from bert_jax.errors import UserError
from bert_jax.pretrained import Pretrained, lowercases
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.text.wordpiece import WordPieceTokenizer
from bert_jax.trees import Flat

MASKED_LM_BIAS = "masked_lm/bias"
VOCABULARY_ROWS = {TOKEN_TABLE, MASKED_LM_BIAS}  # parameters whose first axis is the vocabulary


def grow(pretrained: Pretrained, tokenizer: Tokenizer, where: str) -> Pretrained:
    """The model with `tokenizer`, which is its own, or its own with new entries behind.

    The row of a new entry is the mean of the rows of the pieces that the old tokenizer cuts its text into, in the token
    table and in the bias of the masked LM alike: the model begins as if it read those pieces at once. Where the old
    tokenizer makes nothing of it, the mean of all rows. Raises UserError, naming `where` the tokenizer is from, where
    it is no extension.
    """
    old = pretrained.tokenizer
    if old is None:
        raise UserError(f"{pretrained.where}: no tokenizer beside the weights. Put its files there")
    _require_extension(old, tokenizer, pretrained.where, where)
    first = old.vocab_size
    size = max(pretrained.model.vocab_size, tokenizer.vocab_size)  # some published tables have rows to spare
    model = dataclasses.replace(pretrained.model, vocab_size=size)
    params: Flat = dict(pretrained.params)
    pieces = [_pieces(old, tokenizer, i) for i in range(first, tokenizer.vocab_size)]
    for name in VOCABULARY_ROWS & params.keys():
        before = params[name]
        rows = np.zeros((model.padded_vocab_size, *before.shape[1:]), before.dtype)
        rows[: len(before)] = before[: len(rows)]
        for i, ids in enumerate(pieces, first):
            rows[i] = before[ids].mean(axis=0, dtype=np.float64) if len(ids) else before[:first].mean(axis=0)
        params[name] = rows
    return pretrained.changed(model=model, tokenizer=tokenizer, params=params)


def _pieces(old: Tokenizer, new: Tokenizer, entry: int) -> np.ndarray:
    """The ids that the old tokenizer gives for a new entry where it stands behind a blank."""
    text = new.decode([entry]).strip() or new.tokens([entry])[0]
    prefix = new.rules.prefix if isinstance(new, WordPieceTokenizer) else ""
    return old.ids([f" {text.removeprefix(prefix)}"])[0]


def _reading(tokenizer: Tokenizer) -> object:
    """How a text is seen before pieces are looked for, as far as it can be told."""
    if not isinstance(tokenizer, WordPieceTokenizer):
        return lowercases(tokenizer)
    rules = tokenizer.rules
    stripped = rules.lowercase if rules.strip_accents is None else rules.strip_accents
    return rules.changed(added=(), strip_accents=stripped)


def _require_extension(old: Tokenizer, new: Tokenizer, where_old: str, where_new: str) -> None:
    """Raises UserError, in one line, where an id that the model knows means something else in the new tokenizer."""
    if old.fingerprint == new.fingerprint:
        return
    way_out = "Make the shards with its tokenizer, or with one that `bert-jax prep vocab --extend` made of it"
    known, found = old.tokens(range(old.vocab_size)), new.tokens(range(min(old.vocab_size, new.vocab_size)))
    differing = next((i for i, (a, b) in enumerate(zip(known, found, strict=False)) if a != b), None)
    if differing is not None:
        problem = f"id {differing} is {known[differing]!r} there and {found[differing]!r} here"
    elif len(found) < len(known):
        problem = f"it has {old.vocab_size} entries there and {new.vocab_size} here"
    elif (old.special, old.separators) != (new.special, new.separators):
        problem = "other control tokens"
    elif old.segments != new.segments:
        problem = f"a pair has {old.segments} segments there and {new.segments} here"
    elif _reading(old) != _reading(new):
        problem = "they treat case, accents or the like differently"
    else:
        return
    raise UserError(f"{where_new}: its tokenizer is no extension of that of {where_old}: {problem}. {way_out}")
