"""WordPiece gives the ids of Google's tokenization.py and Hugging Face; the word cache; truncation."""

import gzip
import itertools
import json
import pickle
import random
import unicodedata

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bert_jax.data.encoded import encode_rows
from bert_jax.data.labelled.rows import Rows
from bert_jax.errors import UserError
from bert_jax.text import load_tokenizer, word_cache
from bert_jax.text.truncation import truncated_lengths
from bert_jax.text.wordpiece import WordPieceTokenizer
from bert_jax.text.wordpiece_rules import AddedToken, WordPieceRules

CONTROL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CONTINUED = ["##a", "##b", "##ab", "##c", "##bc", "##e", "##é", "##ss", "##s", "##i", "##א", "##\u0307", "##ﾝ", "##ハ"]
VOCAB = [*CONTROL, "ab", "ss", "Ab", *"abceßisABÉé\u0301.,'-[]#日本אا\u0307\u200dﾊ", *CONTINUED]
AWKWARD = (
    "abcABCe .,'-[]#\t\n\r\x00\x0b\x0c\x1c\x1f\x7f\x85\xa0\xad\u0301\u0307\u200b\u200d\u2028\u3000\ufeff\ufffd"
    "éÉßİıΣς日本\U00020000אا\u202eﾊﾝ😀👩🏽⸻\ue000"
)
AWKWARD_TEXT = st.text(st.one_of(st.sampled_from(AWKWARD), st.characters(exclude_categories=["Cs"])), max_size=40)
LISTS = st.lists(AWKWARD_TEXT | st.just("[SEP] [MASK]") | st.just("ab" * 60), max_size=6)


def make(lowercase: bool, **rules) -> WordPieceTokenizer:
    return WordPieceTokenizer(VOCAB, WordPieceRules(lowercase=lowercase, **rules))


def reference_tokens(text: str, vocab: set[str], lowercase: bool) -> list[str]:
    """Tokenize as google-research/bert does: clean, separate CJK, split words, strip accents, find pieces."""
    kept = []
    for c in text:
        category = unicodedata.category(c)
        if c in "\t\n\r" or category == "Zs":
            kept.append(" ")
        elif c not in "\0\ufffd" and category not in ("Cc", "Cf"):
            ideograph = any(
                low <= ord(c) <= high
                for low, high in [
                    (0x4E00, 0x9FFF),
                    (0x3400, 0x4DBF),
                    (0x20000, 0x2A6DF),
                    (0x2A700, 0x2B73F),
                    (0x2B740, 0x2B81F),
                    (0x2B820, 0x2CEAF),
                    (0xF900, 0xFAFF),
                    (0x2F800, 0x2FA1F),
                ]
            )
            kept.append(f" {c} " if ideograph else c)
    tokens = []
    for word in "".join(kept).split():
        if lowercase:
            word = "".join(c for c in unicodedata.normalize("NFD", word.lower()) if unicodedata.category(c) != "Mn")
        spaced = ""
        for c in word:
            ascii_mark = c.isascii() and not c.isalnum() and c > " "
            spaced += f" {c} " if ascii_mark or unicodedata.category(c).startswith("P") else c
        for part in spaced.split():
            tokens += pieces(part, vocab)
    return tokens


def pieces(word: str, vocab: set[str]) -> list[str]:
    if len(word) > 100:
        return ["[UNK]"]
    found, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            if piece in vocab:
                found.append(piece)
                start = end
                break
        else:
            return ["[UNK]"]
    return found


@pytest.mark.parametrize("lowercase", [True, False])
@settings(max_examples=300, deadline=None)
@given(texts=LISTS)
@example(texts=["a\x1cb c\x85d a\x0bb", "", "ab⸻ab ⸻", "\u0301a", "e\u0301 \u0301", "x" * 101, "[SEP][SEP]"])
def test_ids_by_word_equal_ids_of_the_whole_text(lowercase, texts):
    tokenizer = make(lowercase)
    whole = [e.ids[1:-1] for e in tokenizer.encode(texts, max_length=10_000)]
    for _ in range(2):  # first without, then from the cache
        assert [ids.tolist() for ids in tokenizer.ids(texts)] == whole
    flat, offsets = tokenizer.ids_flat(texts)
    assert flat.dtype == np.int32 and offsets.dtype == np.int64 and len(offsets) == len(texts) + 1
    assert flat.tolist() == list(itertools.chain.from_iterable(whole))


@pytest.mark.parametrize("lowercase", [True, False])
@settings(max_examples=300, deadline=None)
@given(text=AWKWARD_TEXT)
def test_ids_equal_hugging_face_on_awkward_unicode(hugging_face, lowercase, text):
    ours = make(lowercase).ids([text])[0].tolist()
    assert ours == hugging_face[lowercase](text, add_special_tokens=False, split_special_tokens=True)["input_ids"]


@pytest.fixture(scope="module")
def hugging_face(tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    found = {}
    for lowercase in (True, False):
        folder = tmp_path_factory.mktemp("saved") / str(lowercase)
        make(lowercase).save(folder)
        found[lowercase] = transformers.AutoTokenizer.from_pretrained(folder)
    return found


# The library differs in two ways: it deletes private-use characters, which the original keeps, and lower-cases a final
# capital sigma to the plain small one, where Python's lower() gives the final form.
@pytest.mark.parametrize("lowercase", [True, False])
@settings(max_examples=300, deadline=None)
@given(text=st.text(st.sampled_from(sorted(set(AWKWARD) - set("Σ\ue000"))), max_size=40))
def test_ids_equal_the_original_algorithm(lowercase, text):
    tokenizer = make(lowercase)
    assert tokenizer.tokens(tokenizer.ids([text])[0]) == reference_tokens(text, set(VOCAB), lowercase)


@pytest.mark.parametrize("lowercase", [True, False])
def test_ids_equal_hugging_face_on_the_corpus(shared_data, lowercase):
    transformers = pytest.importorskip("transformers")
    path = shared_data / "vocab" / f"bert-base-{'uncased' if lowercase else 'cased'}.txt"
    lines = []
    for file in sorted((shared_data / "corpus").rglob("*.gz")):
        found = gzip.decompress(file.read_bytes()).decode().split("\n")
        if ".jsonl" in file.name:
            found = [part for line in found if line for part in json.loads(line)["text"].split("\n")]
        lines += random.Random(1).sample(found, min(len(found), 60))
    theirs = transformers.BertTokenizer(str(path), do_lower_case=lowercase)
    ours = load_tokenizer(path)
    expected = theirs(lines, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert ours.rules.lowercase == lowercase
    assert [ids.tolist() for ids in ours.ids(lines)] == expected
    vocab = set(ours.vocab)
    for line in lines[::40]:
        assert ours.tokens(ours.ids([line])[0]) == reference_tokens(line, vocab, lowercase)


def test_lone_surrogates_count_as_replacement_characters():
    tokenizer = make(True)
    assert tokenizer.ids(["a\ud800b ab"])[0].tolist() == tokenizer.ids(["ab ab"])[0].tolist()
    assert tokenizer.encode(["a\udfffb"], max_length=9)[0].offsets == [(0, 0), (0, 3), (0, 0)]


def test_word_cache_is_emptied_when_full(monkeypatch):
    monkeypatch.setattr(word_cache, "MAX_WORDS", 3)
    monkeypatch.setattr(word_cache, "CHUNK_WORDS", 2)
    tokenizer, fresh = make(True), make(True)
    for texts in (["a ab abc c e"], ["i s ss a"], ["a"], [""], []):
        flat, offsets = tokenizer.ids_flat(texts)
        expected = [e.ids[1:-1] for e in fresh.encode(texts, max_length=99)]
        assert [flat[a:b].tolist() for a, b in itertools.pairwise(offsets)] == expected


def test_encode_adds_control_tokens_and_counts_dropped_tokens():
    tokenizer = make(True)
    single, pair = tokenizer.encode(["ab a."], max_length=9)[0], tokenizer.encode(["a ab c"], ["b b"], max_length=7)[0]
    assert tokenizer.tokens(single.ids) == ["[CLS]", "ab", "a", ".", "[SEP]"]
    assert single.offsets == [(0, 0), (0, 2), (3, 4), (4, 5), (0, 0)] and single.dropped == 0
    assert tokenizer.tokens(pair.ids) == ["[CLS]", "a", "ab", "[SEP]", "b", "b", "[SEP]"]
    assert pair.segments == [0, 0, 0, 0, 1, 1, 1] and pair.dropped == 1
    with pytest.raises(UserError, match="max_length 4 has no room"):
        tokenizer.encode(["a"], ["b"], max_length=4)


@given(a=st.integers(0, 30), b=st.integers(0, 30), room=st.integers(2, 40))
def test_truncation_removes_tokens_of_the_longer_text_one_at_a_time(a, b, room):
    kept_a, kept_b = a, b
    while kept_a + kept_b > room:
        if kept_a > kept_b:
            kept_a -= 1
        else:
            kept_b -= 1
    assert truncated_lengths(a, b, room) == (kept_a, kept_b)


def test_decode_joins_pieces_and_hides_control_tokens():
    tokenizer = make(True)
    assert tokenizer.decode(tokenizer.encode(["abc, a zzz"], max_length=20)[0].ids) == "abc, a [UNK]"


def test_added_tokens_are_found_before_splitting_into_words():
    tokenizer = make(True, added=(AddedToken("[URL]", len(VOCAB)), AddedToken("a b", len(VOCAB) + 1)))
    assert tokenizer.tokens(tokenizer.ids(["c a b[URL] c"])[0]) == ["c", "a b", "[URL]", "c"]
    assert tokenizer.vocab_size == len(VOCAB) + 2
    assert tokenizer.fingerprint != make(True).fingerprint


def test_fingerprint_depends_on_what_decides_the_ids():
    assert make(True).fingerprint == make(True, strip_accents=True).fingerprint
    others = [
        make(False),
        make(True, strip_accents=False),
        WordPieceTokenizer([*VOCAB, "z"], WordPieceRules(lowercase=True)),
    ]
    assert len({tokenizer.fingerprint for tokenizer in [make(True), *others]}) == 4
    assert (
        make(True).fingerprint == "396bddc7ed6afcb19be8da1369d5a60af97b0e966cb74a3e87f5e6e3c0af6caf"
    )  # as in earlier releases


def test_pickled_tokenizer_gives_the_same_ids():
    again = pickle.loads(pickle.dumps(make(False)))
    assert again.fingerprint == make(False).fingerprint
    assert again.ids(["Ab ab."])[0].tolist() == make(False).ids(["Ab ab."])[0].tolist()
    odd = WordPieceTokenizer([*VOCAB, "x\ny"], WordPieceRules(lowercase=False))
    odd.truncation_side = "left"
    again = pickle.loads(pickle.dumps(odd))
    assert again.vocab == odd.vocab and again.truncation_side == "left"


def test_encode_truncates_like_encode_rows():
    tokenizer = make(True)
    tokenizer.truncation_side = "left"
    texts, others = ["ab a.", "a ab c", "a"], ["b b", "a b c ab", "."]
    for second, length in ((None, 4), (others, 7)):
        rows = encode_rows(Rows(texts, second, None, "here", [1, 2, 3]), tokenizer, length)
        encodings = tokenizer.encode(texts, second, max_length=length)
        bounds = itertools.pairwise(rows.offsets.tolist())
        assert [encoding.ids for encoding in encodings] == [rows.tokens[a:b].tolist() for a, b in bounds]
        assert all(len(encoding.ids) == len(encoding.offsets) == len(encoding.segments) for encoding in encodings)
    assert tokenizer.encode(texts, max_length=4)[0].offsets == [(0, 0), (3, 4), (4, 5), (0, 0)]


@pytest.mark.parametrize(
    ("vocab", "message"),
    [
        ([], "empty vocabulary"),
        (VOCAB[:2], r"no \[CLS\], \[SEP\], \[MASK\]"),
    ],
)
def test_vocabulary_without_control_tokens_is_refused(vocab, message):
    with pytest.raises(UserError, match=message):
        WordPieceTokenizer(vocab, WordPieceRules(lowercase=True))
