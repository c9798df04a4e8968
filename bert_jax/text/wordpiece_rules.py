"""The settings of a WordPiece tokenizer, and the `tokenizers.Tokenizer` that follows them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers


@dataclasses.dataclass(frozen=True)
class AddedToken:
    """An entry that is found in the text before it is cut into words, beside the five control tokens."""

    content: str
    id: int
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False
    special: bool = False  # how others call it; it decides no id


@dataclasses.dataclass(frozen=True)
class Rules:
    """All that decides the ids and the segments, but for the vocabulary."""

    lowercase: bool
    strip_accents: bool | None = None  # None: as `lowercase`
    split_chinese: bool = True
    clean_text: bool = True
    prefix: str = "##"
    max_word_chars: int = 100  # a longer word is [UNK]
    pad: str = "[PAD]"
    unk: str = "[UNK]"
    cls: str = "[CLS]"
    sep: str = "[SEP]"
    mask: str = "[MASK]"
    added: tuple[AddedToken, ...] = ()
    segments: int = 2  # of a pair; 1: the model is not told which text a token is of

    @property
    def control_tokens(self) -> tuple[str, ...]:
        return self.pad, self.unk, self.cls, self.sep, self.mask

    def changed(self, **fields: Any) -> "Rules":
        """The same rules with other fields."""
        return dataclasses.replace(self, **fields)


def bert_normalizer(rules: Rules) -> normalizers.Normalizer:
    return normalizers.BertNormalizer(
        clean_text=rules.clean_text,
        handle_chinese_chars=rules.split_chinese,
        strip_accents=rules.strip_accents,
        lowercase=rules.lowercase,
    )


def library_tokenizer(ids: dict[str, int], rules: Rules) -> tokenizers.Tokenizer:
    """The library's tokenizer without the control tokens, so that none is found in a text."""
    backend = tokenizers.Tokenizer(
        models.WordPiece(
            ids,
            unk_token=rules.unk,
            max_input_chars_per_word=rules.max_word_chars,
            continuing_subword_prefix=rules.prefix,
        )
    )
    backend.normalizer = bert_normalizer(rules)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    for token in rules.added:
        flags = {key: value for key, value in dataclasses.asdict(token).items() if key not in ("content", "id")}
        backend.add_tokens([tokenizers.AddedToken(token.content, **flags)])
    return backend


def with_every_id(ids: Mapping[str, int], size: int) -> dict[str, int]:
    """Return the vocabulary with fillers for the ids that have no text: others count its entries."""
    without = set(range(size)).difference(ids.values())
    return {**ids, **{filler(i): i for i in without}}


def filler(i: int) -> str:
    """Return a text for an id that is in no word."""
    return f" {i} "
