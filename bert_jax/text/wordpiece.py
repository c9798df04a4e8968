"""The WordPiece tokenizer: Google's ids, with a cache of words. Devlin et al. 2018, 3."""

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
from bert_jax.text.library_encoding import encode_with_control_tokens, flat_ids, flat_spans
from bert_jax.text.tokenizer import Encoding, Side, SpecialIds
from bert_jax.text.word_cache import WORD_BREAK, WordCache
from bert_jax.text.wordpiece_rules import AddedToken, WordPieceRules, fill_missing_ids, make_backend
from bert_jax.text.wordpiece_writing import write_tokenizer

# Python's `split` also breaks at these characters; BERT deletes them or keeps them inside a word.
PYTHON_ONLY_BREAKS = re.compile("[\x0b\x0c\x1c-\x1f\x85]")
SURE_BREAKS = re.compile("[ \t\n\r]+")


class WordPieceTokenizer:
    """A `Tokenizer` that splits a text into words, and each word into the longest pieces from the left.

    Control tokens spelled out in a text stay text. If an entry occurs twice, the last one has the id; a blank entry
    matches nothing. Raises UserError for a vocabulary that is empty or lacks control tokens.
    """

    separators = 1
    truncation_side: Side = "right"

    def __init__(self, vocab: Sequence[str], rules: WordPieceRules, *, source: str = "vocabulary") -> None:
        self.rules = rules
        self.vocab = tuple(vocab)
        self._entries = self.vocab + tuple(token.content for token in rules.added if token.id >= len(self.vocab))
        ids = _check_vocabulary(self.vocab, rules, source)
        self.vocab_size, self.segments = len(self._entries), rules.segments
        self.special = SpecialIds(*(ids[name] for name in rules.control_tokens))
        self.fingerprint = _fingerprint(self.vocab, ids, rules)
        ids = fill_missing_ids(ids, len(self.vocab))
        self._backend = make_backend(ids, rules)
        self._words_are_independent = all(_is_within_word(token, len(self.vocab)) for token in rules.added)
        self._words = WordCache(
            make_backend(ids | {WORD_BREAK: self.vocab_size}, rules),
            break_id=self.vocab_size,
            break_in_text=ids.get(WORD_BREAK, self.special.unk),
        )

    def __reduce__(self) -> tuple:
        return WordPieceTokenizer, (self.vocab, self.rules), {"truncation_side": self.truncation_side}

    def ids(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the ids of each text (int32) without control tokens."""
        flat, offsets = self.ids_flat(texts)
        return [flat[start:end] for start, end in itertools.pairwise(offsets.tolist())]

    def ids_flat(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return all ids in one int32 array, and int64 offsets: text i is `flat[offsets[i]:offsets[i + 1]]`.

        Each distinct word is tokenized once and cached; the ids equal those of whole texts.
        """
        if not self._words_are_independent:
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
        """Return all ids, the start and end of each token in characters (int32, tokens x 2), and offsets of texts."""
        return flat_spans(self._backend, texts)

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, max_length: int) -> list[Encoding]:
        """Encode each text (with its pair) with control tokens, cut to `max_length`, the longer text first."""
        return encode_with_control_tokens(self, self._backend, texts, pairs, max_length=max_length)

    def tokens(self, ids: Sequence[int]) -> list[str]:
        return [self._entries[i] for i in ids]

    def continuations(self) -> np.ndarray:
        """Return for each id whether its token continues a word (bool): those with the prefix do."""
        continued = np.array([entry.startswith(self.rules.prefix) for entry in self._entries])
        continued[list(self.special.all())] = False
        return continued

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of the ids, without control tokens except [UNK]."""
        hidden = set(self.special.all()) - {self.special.unk}
        return decoders.WordPiece(prefix=self.rules.prefix).decode(self.tokens([i for i in ids if i not in hidden]))

    def save(self, folder: Path) -> None:
        """Write a folder that `load_tokenizer` and Hugging Face open. A new folder appears whole."""
        write_tokenizer(self.vocab, self.rules, folder, truncation_side=self.truncation_side)


def _is_within_word(token: AddedToken, entries: int) -> bool:
    """Return whether an added token is matched the same way after the text is split at blanks."""
    has_break = any(c.isspace() or c == WORD_BREAK for c in token.content)
    return token.id < entries and not (token.lstrip or token.rstrip or has_break)


def split_words(text: str) -> list[str]:
    """Return the words of a text, split only where BERT's normalizer always splits, too."""
    if PYTHON_ONLY_BREAKS.search(text):
        return [word for word in SURE_BREAKS.split(text) if word]
    return text.split()


def _check_vocabulary(vocab: tuple[str, ...], rules: WordPieceRules, source: str) -> dict[str, int]:
    """Return the id of each entry. Raises UserError for an empty vocabulary or one without control tokens."""
    if not any(vocab):
        raise UserError(f"{source}: an empty vocabulary. One entry a line is expected")
    ids = {entry: i for i, entry in enumerate(vocab)}
    missing = [name for name in rules.control_tokens if name not in ids]
    if missing:
        raise UserError(f"{source}: no {', '.join(missing)} among its {len(vocab)} entries; not a BERT vocabulary")
    added_at_end = [token for token in rules.added if token.id >= len(vocab)]
    for i, token in enumerate(added_at_end, len(vocab)):
        if token.id != i or token.content in ids:
            raise UserError(f"{source}: added token {token.content!r} has id {token.id}; {i} is expected")
    for token in rules.added:
        if token.id < len(vocab) and ids.get(token.content) != token.id:
            raise UserError(f"{source}: added token {token.content!r} has id {token.id}, which is {vocab[token.id]!r}")
    return ids


def _fingerprint(vocab: tuple[str, ...], ids: Mapping[str, int], rules: WordPieceRules) -> str:
    decisive = dataclasses.asdict(rules)
    for token in decisive["added"]:
        del token["special"]
    vocab = tuple(entry if ids[entry] == i else "" for i, entry in enumerate(vocab))
    if rules.strip_accents is None:
        decisive["strip_accents"] = rules.lowercase
    if rules.segments == 2:  # keeps the fingerprints of older versions, which had no segments field
        del decisive["segments"]
    content = {"kind": "wordpiece", "vocab": vocab, "rules": decisive}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
