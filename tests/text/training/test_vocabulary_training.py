"""New vocabularies of each kind: deterministic, with whole user tokens and Hugging Face's ids."""

import itertools
import json
import subprocess
import sys
import unicodedata
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from library_folders import assert_same
from tokenizers import pre_tokenizers

from bert_jax.errors import UserError
from bert_jax.text import load_tokenizer
from bert_jax.text.training.byte_level import train_byte_level
from bert_jax.text.training.unigram import train_unigram
from bert_jax.text.training.vocabulary_request import VocabularyRequest
from bert_jax.text.training.wordpiece_training import train_wordpiece
from bert_jax.text.wordpiece import WordPieceTokenizer
from bert_jax.text.wordpiece_rules import WordPieceRules

TRAINERS = {"wordpiece": train_wordpiece, "bpe": train_byte_level, "unigram": train_unigram}
TEXTS = ["The cat sat; the cats sat, caté!", "a tale of two cities", "cat's tales", "日本語 and ß", "\ud800x"] * 3
LONG = [
    "The quick brown fox takes GLP-1 and jumps; GLP-10 isn't GLP-1 (é, naïve café). In New York now.\n  two  blanks\n",
    "今天天气很好，我们去公园散步吧。 GLP-1 東京は日本 สวัสดีชาวโลก مرحبا بالعالم\n",
] * 9
USER = ("GLP-1", "New York", "今天")
FRAGMENTS = [
    *" aéß\n\t(),-今天日",
    "GLP-1",
    "glp-1",
    "0",
    "New York",
    "new",
    " fox",
    "\u0301",
    "\x85",
    "\x1c",
    "⸻",
    "İ",
]
MIXED = st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join)
SIZES = {"wordpiece": 331, "bpe": 409, "unigram": 173}


def learn(kind, texts=LONG, size=None, lowercase=False, **more):
    return TRAINERS[kind](texts, VocabularyRequest(size or SIZES[kind], lowercase, **more), Counter())


@pytest.fixture(scope="module", params=list(itertools.product(TRAINERS, (False, True))), ids=str)
def both(request, tmp_path_factory):
    """Return a trained tokenizer, the same saved and loaded again, and Hugging Face's tokenizer of that folder."""
    transformers = pytest.importorskip("transformers")
    kind, lowercase = request.param
    trained = learn(kind, lowercase=lowercase, special_tokens=("[ENT]", "<unused0>"), user_tokens=USER)
    folder = tmp_path_factory.mktemp(kind) / "saved"
    trained.save(folder)
    again = load_tokenizer(folder)
    assert again.fingerprint == trained.fingerprint
    return trained, again, transformers.AutoTokenizer.from_pretrained(folder)


@settings(max_examples=200, deadline=None)
@given(texts=st.lists(MIXED, min_size=1, max_size=4))
def test_hugging_face_finds_the_same_ids_and_user_tokens(both, texts):
    assert_same(both[1], both[2], texts, texts[::-1], max_length=12)


def test_user_tokens_are_one_token_between_other_characters(both):
    tokenizer = both[0]
    (glp, york, today) = (tokenizer.ids([token])[0].tolist() for token in USER)
    assert len(glp) == len(york) == len(today) == 1 and len({*glp, *york, *today}) == 3
    ids = [
        ids.tolist() for ids in tokenizer.ids(["take GLP-1, in New York; 我今天", "(GLP-1)", "GLP-10 xGLP-1 New Yorks"])
    ]
    assert ids[0].count(glp[0]) == ids[0].count(york[0]) == ids[0].count(today[0]) == 1
    assert glp[0] in ids[1] and not {*glp, *york} & set(ids[2])
    assert (glp[0] in tokenizer.ids(["glp-1"])[0]) == (glp == tokenizer.ids(["gLp-1"])[0].tolist())


def test_special_tokens_have_ids_and_are_not_found_in_a_text(both):
    tokenizer = both[0]
    entries = tokenizer.tokens(range(tokenizer.vocab_size))
    assert len(set(entries)) == tokenizer.vocab_size
    numbers = {entries.index("[ENT]"), entries.index("<unused0>")}
    assert not numbers & set(tokenizer.ids(["[ENT] <unused0> [ent]"])[0].tolist())


@settings(max_examples=200, deadline=None)
@given(texts=st.lists(MIXED, max_size=4))
def test_user_tokens_without_blanks_keep_words_independent(texts):
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"aégl01-(,", "##a", "##0", "fox"]
    tokenizer = learn("wordpiece", ["a"], 200, True, user_tokens=("GLP-1", "今天", "é"))
    tokenizer = WordPieceTokenizer([*tokenizer.vocab, *(v for v in vocab if v not in tokenizer.vocab)], tokenizer.rules)
    whole = [encoding.ids[1:-1] for encoding in tokenizer.encode(texts, max_length=1000)]
    assert [ids.tolist() for ids in tokenizer.ids(texts)] == whole
    assert tokenizer._words_are_independent


@pytest.mark.parametrize("kind", TRAINERS)
def test_training_depends_on_the_texts_only(kind):
    code = (
        "from collections import Counter; from bert_jax.text.training.vocabulary_request import VocabularyRequest\n"
        f"from {TRAINERS[kind].__module__} import {TRAINERS[kind].__name__} as learn\n"
        f"request = VocabularyRequest({SIZES[kind]}, True, None, ('[A]',), {USER!r})\n"
        f"print(learn({LONG!r}, request, Counter()).fingerprint)"
    )
    fingerprints = {
        subprocess.check_output([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": seed})
        for seed in ("1", "3")
    }
    here = learn(kind, iter(LONG), lowercase=True, special_tokens=("[A]",), user_tokens=USER)
    assert fingerprints == {f"{here.fingerprint}\n".encode()}


@pytest.mark.parametrize("kind", ["wordpiece", "bpe"])
def test_order_of_the_texts_does_not_matter(kind):
    assert learn(kind, TEXTS, 300).fingerprint == learn(kind, reversed(TEXTS), 300).fingerprint


def test_trained_vocabulary_covers_its_texts():
    left_out = Counter()
    tokenizer = train_wordpiece(TEXTS, VocabularyRequest(120, True), left_out)
    assert tokenizer.vocab[:5] == ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    assert tokenizer.vocab_size <= 120
    assert "cat" in tokenizer.vocab and "the" in tokenizer.vocab
    assert all(tokenizer.special.unk not in ids for ids in tokenizer.ids(TEXTS)) and not left_out.total()


@pytest.mark.parametrize("lowercase", [False, True])
def test_unigram_knows_composed_and_decomposed_korean(lowercase):
    tokenizer = learn("unigram", ["그는 서울에서 태어났고 Seoul 이다"] * 9, 60, lowercase)
    texts = [unicodedata.normalize(form, "그는 서울에서 났고") for form in ("NFC", "NFD")]
    composed, decomposed = tokenizer.ids(texts)
    assert composed.tolist() == decomposed.tolist() and tokenizer.special.unk not in composed


def naive_merges(texts, size):
    """Merge the most frequent pair, counting anew each time; among equals, the pair with the lower ids."""
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    counts = Counter(word for text in texts for word, _ in splitter.pre_tokenize_str(text))
    vocab = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    pieces_of = {word: [*word] for word in counts}
    merges = []
    while len(vocab) < size:
        pairs = Counter()
        for word, count in counts.items():
            for pair in itertools.pairwise(pieces_of[word]):
                pairs[pair] += count
        best = min(pairs, key=lambda pair: (-pairs[pair], vocab.index(pair[0]), vocab.index(pair[1])))
        if pairs[best] < 2:
            return merges
        merges.append(list(best))
        vocab += [best[0] + best[1]] * (best[0] + best[1] not in vocab)
        for word, pieces in pieces_of.items():
            joined, i = [], 0
            while i < len(pieces):
                width = 2 if tuple(pieces[i : i + 2]) == best else 1
                joined.append("".join(pieces[i : i + width]))
                i += width
            pieces_of[word] = joined
    return merges


@pytest.mark.parametrize(
    "text", ["", "\t \x1c\x85 'tis  we'll\n\n can't 12ab\u00a0\u00a0x \u3000y  \n", "aaaaaaa aaa ababab"]
)
def test_byte_level_merges_equal_the_naive_algorithm(text):
    texts = [*LONG, text]
    assert json.loads(learn("bpe", texts, 330)._described)["model"]["merges"] == naive_merges(texts, 330)


def test_byte_level_encodes_and_decodes_every_text():
    tokenizer = learn("bpe", ["the cat sat on the mat"] * 3, 300)
    for text in ("the cat", "Ωmega 今天 😀\n\t x", " สวัสดี"):
        ids = tokenizer.ids([text])[0]
        assert tokenizer.special.unk not in ids and tokenizer.decode(ids) == text


@pytest.mark.parametrize(
    "text", ["今天天气很好我们去公园散步吧" * 7, "สวัสดีชาวโลกวันนี้อากาศดี" * 9, "مرحبا بالعالم كيف حالك " * 9]
)
@pytest.mark.parametrize("kind", TRAINERS)
def test_scripts_without_blanks_or_case_are_learned(kind, text):
    left_out = Counter()
    tokenizer = TRAINERS[kind]([text] * 5, VocabularyRequest(400, kind == "wordpiece"), left_out)
    words = tokenizer.ids([text])[0]
    known = tokenizer.special.unk not in words
    assert known or left_out["words_too_long"]  # Thai as one word of 225 letters, too long for WordPiece
    assert len(words) < len(text.encode())


@pytest.mark.parametrize("kind", TRAINERS)
def test_too_small_a_size_is_refused_with_the_size_needed(kind):
    with pytest.raises(UserError, match=r"size 9 does not hold .* Use (\d+ or more|well more than \d+)"):
        learn(kind, size=9, user_tokens=USER)


def test_size_named_by_the_unigram_error_is_enough():
    with pytest.raises(UserError, match=r"Use \d+ or more") as refused:
        learn("unigram", size=21)
    needed = int(str(refused.value).split("Use ")[1].split()[0])
    assert learn("unigram", size=needed).vocab_size <= needed
    with pytest.raises(UserError, match="does not hold"):
        learn("unigram", size=needed - 1)


@pytest.mark.parametrize("kind", TRAINERS)
def test_size_counts_special_and_user_tokens(kind):
    for size in (SIZES[kind], SIZES[kind] - 7):
        trained = learn(kind, size=size, special_tokens=("[A]",), user_tokens=("GLP-1",))
        largest_size = learn(kind, size=2000, special_tokens=("[A]",), user_tokens=("GLP-1",)).vocab_size
        assert trained.vocab_size == min(size, largest_size)


@pytest.mark.parametrize(("kind", "texts"), [("bpe", []), ("bpe", ["x"]), ("unigram", []), ("unigram", ["\n \t"])])
def test_too_little_text_is_refused_in_one_line(kind, texts):
    with pytest.raises(UserError, match=r"[Gg]ive (some|more)") as refused:
        learn(kind, texts)
    assert "\n" not in str(refused.value)


def test_training_on_no_text_gives_letters_and_digits():
    assert learn("wordpiece", [], 1000, True).vocab_size == 5 + 2 * 36


def test_words_too_long_for_wordpiece_are_counted():
    left_out = Counter()
    train_wordpiece(["x" * 101 + " ab " + "y" * 101], VocabularyRequest(200, True), left_out)
    assert left_out["words_too_long"] == 2


@pytest.mark.parametrize("kind", TRAINERS)
@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ({"user_tokens": ("",)}, "user token '': one line of text"),
        ({"user_tokens": ("a\nb",)}, "one line of text"),
        ({"user_tokens": (" GLP-1",)}, "without blanks at its ends"),
        ({"user_tokens": ("GLP-1", "GLP-1")}, "user token 'GLP-1' is already in the vocabulary"),
        ({"user_tokens": ("[A]",), "special_tokens": ("[A]",)}, r"user token '\[A\]' is already in the vocabulary"),
        ({"special_tokens": ("ENT",)}, r"special token 'ENT': write it as \[NAME\]"),
        ({"special_tokens": ("[]",)}, "write it as"),
        ({"special_tokens": ("[A]", "[A]")}, r"special token '\[A\]' is already in the vocabulary"),
    ],
)
def test_invalid_special_and_user_tokens_are_refused(kind, tokens, message):
    with pytest.raises(UserError, match=message):
        learn(kind, **tokens)


def test_control_tokens_of_the_kind_are_refused_as_special_tokens():
    with pytest.raises(UserError, match=r"'\[MASK\]' is already in the vocabulary"):
        learn("wordpiece", special_tokens=("[MASK]",))
    with pytest.raises(UserError, match="'<mask>' is already in the vocabulary"):
        learn("bpe", special_tokens=("<mask>",))


def test_user_tokens_that_are_equal_in_lower_case_are_refused():
    with pytest.raises(UserError, match="user token 'glp-1' is already in the vocabulary as 'GLP-1'"):
        learn("wordpiece", lowercase=True, user_tokens=("GLP-1", "glp-1"))
    with pytest.raises(UserError, match="nothing of it is left"):
        learn("wordpiece", user_tokens=("\u200b",))


@pytest.mark.parametrize("kind", TRAINERS)
def test_case_and_accents_follow_the_request(kind):
    def same_ids(a, b, **more):
        one, other = learn(kind, ["Été été Ete ete café"] * 9, 300 if kind != "unigram" else 30, **more).ids([a, b])
        return one.tolist() == other.tolist()

    assert same_ids("été", "ete", lowercase=True) and same_ids("Été", "ete", lowercase=True)
    assert same_ids("Été", "été", lowercase=True, strip_accents=False)
    assert not same_ids("été", "ete", lowercase=True, strip_accents=False)
    assert not same_ids("été", "ete", lowercase=False) and not same_ids("Été", "été", lowercase=False)
    assert same_ids("été", "ete", lowercase=False, strip_accents=True)


def test_trained_tokenizer_has_the_default_rules():
    tokenizer = train_wordpiece(TEXTS, VocabularyRequest(120, True), Counter())
    assert tokenizer.rules == WordPieceRules(lowercase=True)
