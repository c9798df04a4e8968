"""What new vocabularies of byte-level BPE and unigram have in common: user tokens at the end, case and accents."""

import json
from collections.abc import Mapping, Sequence

from bert_jax.text.library import LibraryTokenizer
from bert_jax.text.recipes import Described, flattened, library_class, user_token
from bert_jax.text.training.requests import Wanted, case_normalizer, stands_alone


def with_user_tokens(described: Described, tokens: Sequence[str], first_id: int, *, lstrip: bool) -> Described:
    """A tokenizer.json with the tokens, which have ids from `first_id` on."""
    added = [
        user_token(i, token, single_word=stands_alone(token), lstrip=lstrip) for i, token in enumerate(tokens, first_id)
    ]
    return {**described, "added_tokens": [*described["added_tokens"], *added]}


def cased_tokenizer(
    described: Described, wanted: Wanted, control: Mapping[str, str], *, separators: int
) -> LibraryTokenizer:
    """The tokenizer that sees texts as `wanted` says; of the general class where RoBERTa's classes do not do that."""
    normalizer = case_normalizer(wanted)
    if normalizer is not None:
        steps = [json.loads(normalizer.__getstate__()), *flattened(described["normalizer"])]
        described = {**described, "normalizer": {"type": "Sequence", "normalizers": steps}}
    return LibraryTokenizer(
        described,
        {field: control[field] for field in ("pad", "unk", "mask")},
        library_class=library_class(described, separators),
        hidden={*control.values(), *wanted.special_tokens},
        source="vocabulary",
    )
