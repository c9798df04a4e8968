"""Extending a vocabulary by the words of a domain."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert_jax.errors import UserError
from bert_jax.text import load_tokenizer
from bert_jax.text.training.extension import extend_wordpiece
from bert_jax.text.wordpiece import WordPieceTokenizer
from bert_jax.text.wordpiece_rules import AddedToken, WordPieceRules

LETTERS = "abcdeglmnoprstuvw1é"
VOCAB = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *LETTERS,
    *(f"##{c}" for c in LETTERS),
    "-",
    "the",
    "sem",
    "##glu",
]
TEXT = "The semaglutide and tirzepatide, the Semaglutide; GLP-1 wanes. placebo placebo placebo qqq qqq metabo-lism\n"


def make(**rules) -> WordPieceTokenizer:
    return WordPieceTokenizer([*VOCAB, "i", "##i"], WordPieceRules(lowercase=True, **rules))


def test_words_that_save_most_tokens_come_first_and_old_ids_stay():
    old = make()
    extension = extend_wordpiece(old, [TEXT] * 3, add=4)
    # placebo 9 x 6, semaglutide 6 x 8 (sem a glu t ...), qqq 6 x 2 as unknown, metabo 3 x 5, lism ...
    costs = {"placebo": 9 * 6, "semaglutide": 6 * (len(old.ids(["semaglutide"])[0]) - 1), "tirzepatide": 3 * 10}
    expected = sorted(costs, key=lambda word: -costs[word])
    assert list(extension.added[:3]) == expected and len(extension.added) == 4
    new = extension.tokenizer
    assert new.vocab[: old.vocab_size] == old.vocab and new.vocab[old.vocab_size :] == extension.added
    assert new.vocab_size == old.vocab_size + 4
    text = "Semaglutide, placebo"
    assert new.tokens(new.ids([text])[0])[0] == "semaglutide" and new.tokens(new.ids([text])[0])[-1] == "placebo"
    assert extension.after < extension.before and extension.lost == 0
    assert extension.before == sum(map(len, old.ids([TEXT] * 3)))
    assert extension.after == sum(map(len, new.ids([TEXT] * 3)))


def test_order_of_the_texts_does_not_matter():
    texts = [TEXT, "wanes adore adore", "abcd-dcba abcd dcba"]
    assert extend_wordpiece(make(), texts, add=9).added == extend_wordpiece(make(), texts[::-1], add=9).added


@settings(max_examples=100, deadline=None)
@given(
    words=st.lists(st.text(LETTERS + "-q今 ", min_size=1, max_size=6), min_size=1, max_size=20), add=st.integers(0, 7)
)
def test_extension_adds_at_most_the_requested_words_each_once(words, add):
    old = make()
    extension = extend_wordpiece(old, [" ".join(words)] * 2, add=add, special_tokens=("[X]",), user_tokens=("a-b",))
    assert len(extension.added) <= add
    assert (
        len(set(extension.tokenizer.vocab))
        == extension.tokenizer.vocab_size
        == old.vocab_size + 2 + len(extension.added)
    )
    for word in extension.added:
        (ids,) = extension.tokenizer.ids([word])
        assert extension.tokenizer.tokens(ids) == [word]


def test_user_and_special_tokens_take_the_first_new_ids(tmp_path):
    transformers = pytest.importorskip("transformers")
    old = make(added=(AddedToken("[URL]", len(VOCAB) + 2),))  # id after the vocabulary, as in older folders
    tokenizer = extend_wordpiece(old, [TEXT] * 2, add=3, special_tokens=("[ENT]",), user_tokens=("GLP-1",)).tokenizer
    first = old.vocab_size
    assert tokenizer.tokens(range(first - 1, first + 2)) == ["[URL]", "[ENT]", "glp-1"]
    assert tokenizer.ids(["the GLP-1"])[0][-1] == first + 1
    assert tokenizer.ids(["a[URL]a"])[0].tolist() == old.ids(["a[URL]a"])[0].tolist()
    tokenizer.save(tmp_path / "new")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "new")
    texts = [TEXT, "glp-1 GLP-10 [ENT] [URL] semaglutides"]
    expected = theirs(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    again = load_tokenizer(tmp_path / "new")
    assert [ids.tolist() for ids in again.ids(texts)] == expected and again.fingerprint == tokenizer.fingerprint
    with pytest.raises(UserError, match=r"special token '\[ENT\]' is already in the vocabulary"):
        extend_wordpiece(tokenizer, [TEXT], add=1, special_tokens=("[ENT]",))
    with pytest.raises(UserError, match="user token 'glp-1' is already in the vocabulary"):
        extend_wordpiece(tokenizer, [TEXT], add=1, user_tokens=("glp-1",))


def test_words_that_become_unknown_are_counted():
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "b", "##a", "ba", "##r", "##rx", "##s"]
    old = WordPieceTokenizer(vocab, WordPieceRules(lowercase=True))
    extension = extend_wordpiece(old, ["bar bar bar bars barx"] * 2, add=1)
    assert extension.added == ("bar",) and extension.lost == 2  # barx was ba ##rx; there is no ##x to follow bar


def test_published_vocabulary_is_extended(shared_data):
    old = load_tokenizer(shared_data / "vocab" / "bert-base-uncased.txt")
    text = "Semaglutide, a GLP-1 agonist: semaglutide against placebo.\n" * 4
    extension = extend_wordpiece(old, [text], add=2, user_tokens=("GLP-1",))
    assert extension.added[0] == "semaglutide" and extension.tokenizer.vocab_size == 30522 + 3
    new, before = (
        np.concatenate(tokenizer.ids(["the cat sat on the mat"])) for tokenizer in (extension.tokenizer, old)
    )
    assert new.tolist() == before.tolist()


def test_words_that_occur_only_in_earlier_user_tokens_are_not_added():
    old = extend_wordpiece(make(), [TEXT], add=0, user_tokens=("Semaglutide and Tirzepatide",)).tokenizer
    extension = extend_wordpiece(old, ["placebo semaglutide and tirzepatide, SEMAGLUTIDE and tirzepatide\n"] * 3, add=9)
    assert extension.added == ("placebo",)
