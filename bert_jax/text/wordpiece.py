"""WordPiece on the `tokenizers` library: Google's ids, each word cut once. Devlin et al. 2018, 3."""

import dataclasses
import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from tokenizers import decoders

from bert_jax.errors import UserError
from bert_jax.text.backend import encode_texts, flat_ids, flat_spans
from bert_jax.text.tokenizer import Encoding, Side, SpecialIds
from bert_jax.text.word_cache import WORD_BREAK, WordCache
from bert_jax.text.wordpiece_rules import AddedToken, Rules, library_tokenizer, with_every_id
from bert_jax.text.wordpiece_writing import write_tokenizer

# Python splits a text at these too, BERT deletes them or keeps them inside a word.
NOT_BREAKING = re.compile("[\x0b\x0c\x1c-\x1f\x85]")
SURELY_BREAKING = re.compile("[ \t\n\r]+")


class WordPieceTokenizer:
    """Words, then the longest pieces from the left. Implements `Tokenizer`.

    Control tokens spelled out in a text stay text. Of an entry that is there twice the last one has the text, and a
    blank entry stands for none. Raises UserError for a vocabulary that cannot serve.
    """

    separators = 1
    truncation_side: Side = "right"

    def __init__(self, vocab: Sequence[str], rules: Rules, *, source: str = "vocabulary") -> None:
        self.rules = rules
        self.vocab = tuple(vocab)
        self._entries = self.vocab + tuple(token.content for token in rules.added if token.id >= len(self.vocab))
        ids = _check_vocabulary(self.vocab, rules, source)
        self.vocab_size, self.segments = len(self._entries), rules.segments
        self.special = SpecialIds(*(ids[name] for name in rules.control_tokens))
        self.fingerprint = _fingerprint(self.vocab, ids, rules)
        ids = with_every_id(ids, len(self.vocab))
        self._backend = library_tokenizer(ids, rules)
        self._cut_by_word = all(_within_a_word(token, len(self.vocab)) for token in rules.added)
        self._words = WordCache(
            library_tokenizer(ids | {WORD_BREAK: self.vocab_size}, rules),
            break_id=self.vocab_size,
            break_in_text=ids.get(WORD_BREAK, self.special.unk),
        )

    def __reduce__(self) -> tuple:
        return WordPieceTokenizer, (self.vocab, self.rules), {"truncation_side": self.truncation_side}

    def ids(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids of each text (int32), with no control tokens."""
        flat, offsets = self.ids_flat(texts)
        return [flat[start:end] for start, end in itertools.pairwise(offsets.tolist())]

    def ids_flat(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The ids of all texts in one int32 array, and int64 offsets: text i is `flat[offsets[i]:offsets[i + 1]]`.

        Equal to encoding each text whole. Each distinct word between blanks is cut once and remembered.
        """
        if not self._cut_by_word:
            return flat_ids(self._backend, texts)
        counts: list[int] = []

        def words() -> Iterator[list[str]]:
            for text in texts:
                split = split_words(text)
                counts.append(len(split))
                yield split

        flat, ends = self._words.ids(itertools.chain.from_iterable(words()))
        firsts = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=firsts[1:])
        return flat, ends[firsts]

    def spans_flat(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The ids of all texts, the characters that each stands for (int32, tokens x 2), and where texts start."""
        return flat_spans(self._backend, texts)

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, max_length: int) -> list[Encoding]:
        """Each text (with its pair) wrapped in control tokens and cut to `max_length`, the longer first."""
        return encode_texts(
            self._backend,
            texts,
            pairs,
            special=self.special,
            separators=self.separators,
            segments=self.segments,
            max_length=max_length,
            side=self.truncation_side,
        )

    def tokens(self, ids: Sequence[int]) -> list[str]:
        return [self._entries[i] for i in ids]

    def goes_on(self) -> np.ndarray:
        """For each id whether it goes on with the word before it: those with the prefix do."""
        found = np.array([entry.startswith(self.rules.prefix) for entry in self._entries])
        found[list(self.special.all())] = False
        return found

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids, without control tokens but for [UNK]."""
        hidden = set(self.special.all()) - {self.special.unk}
        return decoders.WordPiece(prefix=self.rules.prefix).decode(self.tokens([i for i in ids if i not in hidden]))

    def save(self, folder: Path) -> None:
        """Leaves a folder that `load_tokenizer` and Hugging Face open, whole or not at all."""
        write_tokenizer(self.vocab, self.rules, folder, truncation_side=self.truncation_side)


def _within_a_word(token: AddedToken, entries: int) -> bool:
    """Whether the token is found the same where the text is cut at its blanks before."""
    apart = any(c.isspace() or c == WORD_BREAK for c in token.content)
    return token.id < entries and not (token.lstrip or token.rstrip or apart)


def split_words(text: str) -> list[str]:
    """The words of a text, cut only where BERT's normaliser surely cuts too."""
    if NOT_BREAKING.search(text):
        return [word for word in SURELY_BREAKING.split(text) if word]
    return text.split()


def _check_vocabulary(vocab: tuple[str, ...], rules: Rules, source: str) -> dict[str, int]:
    """Return the id of each text; raises UserError where there is none or a control token is missing."""
    if not any(vocab):
        raise UserError(f"{source}: an empty vocabulary. One entry a line is expected")
    ids = {entry: i for i, entry in enumerate(vocab)}
    missing = [name for name in rules.control_tokens if name not in ids]
    if missing:
        raise UserError(f"{source}: no {', '.join(missing)} among its {len(vocab)} entries; not a BERT vocabulary")
    beyond = [token for token in rules.added if token.id >= len(vocab)]
    for i, token in enumerate(beyond, len(vocab)):
        if token.id != i or token.content in ids:
            raise UserError(f"{source}: added token {token.content!r} has id {token.id}, {i} is expected")
    for token in rules.added:
        if token.id < len(vocab) and ids.get(token.content) != token.id:
            raise UserError(f"{source}: added token {token.content!r} has id {token.id}, which is {vocab[token.id]!r}")
    return ids


def _fingerprint(vocab: tuple[str, ...], ids: Mapping[str, int], rules: Rules) -> str:
    decisive = dataclasses.asdict(rules)
    for token in decisive["added"]:
        del token["special"]
    vocab = tuple(entry if ids[entry] == i else "" for i, entry in enumerate(vocab))
    if rules.strip_accents is None:
        decisive["strip_accents"] = rules.lowercase
    if rules.segments == 2:  # as it was before there were others
        del decisive["segments"]
    content = {"kind": "wordpiece", "vocab": vocab, "rules": decisive}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
