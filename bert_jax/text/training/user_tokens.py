"""User tokens, case and accents of new byte-level BPE and unigram vocabularies."""

import json
from collections.abc import Mapping, Sequence

from bert_jax.text.library_tokenizer import LibraryTokenizer
from bert_jax.text.tokenizer_json import Described, library_class, pipeline_steps, user_token
from bert_jax.text.training.vocabulary_request import VocabularyRequest, case_normalizer, matches_whole_words


def with_user_tokens(described: Described, tokens: Sequence[str], first_id: int, *, lstrip: bool) -> Described:
    """Return the tokenizer.json with user tokens added, whose ids start at `first_id`."""
    added = [
        user_token(i, token, single_word=matches_whole_words(token), lstrip=lstrip)
        for i, token in enumerate(tokens, first_id)
    ]
    return {**described, "added_tokens": [*described["added_tokens"], *added]}


def cased_tokenizer(
    described: Described, request: VocabularyRequest, control: Mapping[str, str], *, separators: int
) -> LibraryTokenizer:
    """Return the tokenizer with the case and accents of `request`.

    Its class is the general one if texts are normalized, because RoBERTa's classes do not do that.
    """

    normalizer = case_normalizer(request)
    if normalizer is not None:
        steps = [json.loads(normalizer.__getstate__()), *pipeline_steps(described["normalizer"])]
        described = {**described, "normalizer": {"type": "Sequence", "normalizers": steps}}
    return LibraryTokenizer(
        described,
        {field: control[field] for field in ("pad", "unk", "mask")},
        library_class=library_class(described, separators),
        hidden={*control.values(), *request.special_tokens},
        source="vocabulary",
    )
