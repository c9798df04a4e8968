"""The rules of a WordPiece tokenizer, and the `tokenizers.Tokenizer` that follows them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers


@dataclasses.dataclass(frozen=True)
class AddedToken:
    """A token that is found in a text before the text is split into words."""

    content: str
    id: int
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False
    special: bool = False  # Hugging Face's flag; it does not change ids


@dataclasses.dataclass(frozen=True)
class WordPieceRules:
    """Everything that decides ids and segments, except the vocabulary."""

    lowercase: bool
    strip_accents: bool | None = None  # None: same as `lowercase`
    split_chinese: bool = True
    clean_text: bool = True
    prefix: str = "##"
    max_word_chars: int = 100  # a longer word becomes [UNK]
    pad: str = "[PAD]"
    unk: str = "[UNK]"
    cls: str = "[CLS]"
    sep: str = "[SEP]"
    mask: str = "[MASK]"
    added: tuple[AddedToken, ...] = ()
    segments: int = 2  # segments of a pair; 1 if the model does not see which text a token is from

    @property
    def control_tokens(self) -> tuple[str, ...]:
        return self.pad, self.unk, self.cls, self.sep, self.mask

    def changed(self, **fields: Any) -> "WordPieceRules":
        """Return a copy with the given fields replaced."""
        return dataclasses.replace(self, **fields)


def bert_normalizer(rules: WordPieceRules) -> normalizers.Normalizer:
    return normalizers.BertNormalizer(
        clean_text=rules.clean_text,
        handle_chinese_chars=rules.split_chinese,
        strip_accents=rules.strip_accents,
        lowercase=rules.lowercase,
    )


def make_backend(ids: dict[str, int], rules: WordPieceRules) -> tokenizers.Tokenizer:
    """Return the library's tokenizer, without control tokens so that none is found in a text."""
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


def fill_missing_ids(ids: Mapping[str, int], size: int) -> dict[str, int]:
    """Return the vocabulary with a filler entry for each missing id: the library counts entries to number new ones."""
    missing = set(range(size)).difference(ids.values())
    return {**ids, **{filler(i): i for i in missing}}


def filler(i: int) -> str:
    """Return the filler entry of id `i`, which matches no word."""

    return f" {i} "
