"""Only regular expressions of published tokenizers and those with linear matching time are accepted."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert_jax.text.patterns import PUBLISHED, Unbounded, check_pattern

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
FAST_PATTERNS = [
    *PUBLISHED,
    GPT2,
    r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",  # CLIP
    r" ?[^(\s|[.,!?…。，、।۔،])]+",  # BLOOM
    *(
        r" {2,}",
        r"\s+",
        r"\d",
        r"\p{N}{1,3}",
        r"[\r\n]",
        r"\s?\p{L}+",
        r"[一-龥]+",
        "[0-9][0-9][0-9]",
        r"''|``",
        r"\x{3000}",
    ),
    *(r"(?:\r?\n)|x", r"[^]a]+", r"[]]+", r"\.{3}"),
]
SLOW_PATTERNS = [
    *("(a+)+$", "(a|aa)+$", "a*a*b", "(x+x+)+y", "a+b", ".*x", r"\s+$", r"(.)\1+", "(?=a*b)", "(?<=a+)b", "(?>a+)b"),
    *("(?:a{1000}){1000}", "a{0,999}a{0,999}b", "a{2000}", "a{1,}{1,}", "a**", "a+?b", "a++", r"\g<0>", r"\K", "(?~a)"),
    *("[a", "(a", "a)", "", "+a", "a{3,2}", "a" * 1001, "(" * 20 + "a" + ")" * 20, "a?" * 20 + "a" * 20, r"\p", "\\"),
]
TEXTS = [
    part * (20_000 // len(part)) for part in (" ", "a", "aA", "\u0301", "1", "! ", "\n ", "'", "日b", "\t\r\n\u3000")
]


@pytest.mark.parametrize("pattern", FAST_PATTERNS)
def test_accepted_patterns_are_fast_on_long_texts(pattern):
    tokenizers = pytest.importorskip("tokenizers")
    check_pattern(pattern)
    split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
    start = time.process_time()
    for text in TEXTS:
        split.pre_tokenize_str(text + "x")
    assert time.process_time() - start < 5


@pytest.mark.parametrize("pattern", SLOW_PATTERNS)
def test_patterns_with_unbounded_backtracking_are_refused(pattern):
    with pytest.raises(Unbounded):
        check_pattern(pattern)


PIECES = [
    "a",
    "b",
    "[ab]",
    "[^a]",
    r"\s",
    r"\p{L}",
    ".",
    "|",
    "(",
    "(?:",
    ")",
    "?",
    "*",
    "+",
    "{2,}",
    "{0,3}",
    "(?!\\S)",
]


@settings(deadline=None, max_examples=150)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=9).map("".join))
def test_random_patterns_are_refused_or_fast(pattern):
    tokenizers = pytest.importorskip("tokenizers")
    try:
        check_pattern(pattern)
    except Unbounded:
        return
    regex = tokenizers.Regex(pattern)
    start = time.process_time()
    for text in ("a" * 3000, "ab" * 1500 + "c", " " * 3000 + "x", "b" * 3000 + " "):
        tokenizers.pre_tokenizers.Split(regex, "isolated").pre_tokenize_str(text)
    assert time.process_time() - start < 2
