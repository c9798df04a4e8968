"""Grow a model's vocabulary: add rows for the entries that were appended to its tokenizer."""

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
    """Return the model with `tokenizer`, which is its own or its own with new entries appended.

    The row of a new entry, in the token table and in the bias of the masked LM, is the mean of the rows of the pieces
    that the old tokenizer cuts its text into, or the mean of all rows where it finds no piece. `where` names the
    tokenizer in messages. Raises UserError where it is no extension of the model's own.
    """
    old = pretrained.require_tokenizer()
    _require_extension(old, tokenizer, pretrained.where, where)
    first = old.vocab_size
    size = max(pretrained.model.vocab_size, tokenizer.vocab_size)  # some published tables have spare rows
    model = dataclasses.replace(pretrained.model, vocab_size=size)
    params: Flat = dict(pretrained.params)
    pieces = [_pieces(old, tokenizer, i) for i in range(first, tokenizer.vocab_size)]
    for name in VOCABULARY_ROWS & params.keys():
        old_rows = params[name]
        rows = np.zeros((model.padded_vocab_size, *old_rows.shape[1:]), old_rows.dtype)
        rows[: len(old_rows)] = old_rows[: len(rows)]
        for i, ids in enumerate(pieces, first):
            rows[i] = old_rows[ids].mean(axis=0, dtype=np.float64) if len(ids) else old_rows[:first].mean(axis=0)
        params[name] = rows
    return pretrained.changed(model=model, tokenizer=tokenizer, params=params)


def _pieces(old: Tokenizer, new: Tokenizer, entry: int) -> np.ndarray:
    """Return the old tokenizer's ids of a new entry that follows a blank."""
    text = new.decode([entry]).strip() or new.tokens([entry])[0]
    prefix = new.rules.prefix if isinstance(new, WordPieceTokenizer) else ""
    return old.ids([f" {text.removeprefix(prefix)}"])[0]


def _normalization(tokenizer: Tokenizer) -> object:
    """Return the normalization of texts before they are cut into pieces, as far as the tokenizer tells it."""
    if not isinstance(tokenizer, WordPieceTokenizer):
        return lowercases(tokenizer)
    rules = tokenizer.rules
    stripped = rules.lowercase if rules.strip_accents is None else rules.strip_accents
    return rules.changed(added=(), strip_accents=stripped)


def _require_extension(old: Tokenizer, new: Tokenizer, where_old: str, where_new: str) -> None:
    """Raise UserError where an id of the old tokenizer has another meaning in the new one."""
    if old.fingerprint == new.fingerprint:
        return
    way_out = "Make the shards with its tokenizer, or with one that `bert-jax prep vocab --extend` made of it"
    old_tokens = old.tokens(range(old.vocab_size))
    new_tokens = new.tokens(range(min(old.vocab_size, new.vocab_size)))
    differing = next((i for i, (a, b) in enumerate(zip(old_tokens, new_tokens, strict=False)) if a != b), None)
    if differing is not None:
        problem = f"id {differing} is {old_tokens[differing]!r} there and {new_tokens[differing]!r} here"
    elif len(new_tokens) < len(old_tokens):
        problem = f"it has {old.vocab_size} entries there and {new.vocab_size} here"
    elif (old.special, old.separators) != (new.special, new.separators):
        problem = "other control tokens"
    elif old.segments != new.segments:
        problem = f"a pair has {old.segments} segments there and {new.segments} here"
    elif _normalization(old) != _normalization(new):
        problem = "they treat case, accents or the like differently"
    else:
        return
    raise UserError(f"{where_new}: its tokenizer is no extension of that of {where_old}: {problem}. {way_out}")
