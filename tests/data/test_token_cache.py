"""Cached tokens are those of the tokenizer, whatever happens to the files of the cache."""

import dataclasses
import os
import threading
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bert_jax.data import token_cache
from bert_jax.data.encoded import encode_rows
from bert_jax.data.labelled.rows import rows_of
from bert_jax.data.token_cache import CachingTokenizer, cache_folder, with_cache
from bert_jax.data.windows import tokenize_texts, windows_of_pairs
from bert_jax.text.wordpiece import WordPieceTokenizer
from bert_jax.text.wordpiece_rules import WordPieceRules

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh", *(f"##{letter}" for letter in "abcdefgh")]
PLAIN = WordPieceTokenizer(VOCAB, WordPieceRules(lowercase=True))
TEXTS = ["abc Heg fa", "", "zwölf\ud800 a", "b" * 41, "ab \U0001f600 cd", "the [SEP] a"]


class RecordingTokenizer:
    """A tokenizer that records its calls."""

    def __init__(self, inner=PLAIN):
        self.inner, self.calls = inner, []

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def ids_flat(self, texts):
        self.calls.append("ids")
        return self.inner.ids_flat(texts)

    def spans_flat(self, texts):
        self.calls.append("spans")
        return self.inner.spans_flat(texts)


def caching(folder, inner=PLAIN, **options):
    """Return a caching tokenizer and the list of calls that reach the tokenizer in it."""
    recording = RecordingTokenizer(inner)
    return CachingTokenizer(recording, folder, **{"min_characters": 1, **options}), recording.calls


def cache_files(folder):
    return sorted(folder.glob("*.tokens"))


def assert_equal_arrays(arrays, expected_arrays):
    for array, expected in zip(arrays, expected_arrays, strict=True):
        assert array.dtype == expected.dtype and array.shape == expected.shape and np.array_equal(array, expected)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.text(max_size=12), min_size=1, max_size=7).filter(any))
def test_cached_tokens_are_those_of_the_tokenizer(tmp_path, texts):
    for method in ("ids_flat", "spans_flat"):
        expected = getattr(PLAIN, method)(texts)
        cold, _ = caching(tmp_path)
        assert_equal_arrays(getattr(cold, method)(texts), expected)
        warm, calls = caching(tmp_path)
        assert_equal_arrays(getattr(warm, method)(texts), expected)
        assert not calls


def test_rows_and_windows_are_made_from_the_cache(tmp_path):
    rows = rows_of(TEXTS, TEXTS[::-1])
    for expected_calls in (["ids", "ids", "spans", "spans"], []):
        tokenizer, calls = caching(tmp_path)
        encoded, plain = encode_rows(rows, tokenizer, 13), encode_rows(rows, PLAIN, 13)
        windows, plain_windows = (windows_of_pairs(t, TEXTS, TEXTS[::-1], 13) for t in (tokenizer, PLAIN))
        for record, expected in (
            (encoded, plain),
            (windows.encoded, plain_windows.encoded),
            (windows.tokens, plain_windows.tokens),
        ):
            for field in dataclasses.fields(record):
                assert np.array_equal(getattr(record, field.name), getattr(expected, field.name)), field.name
        assert calls == expected_calls
    assert len(cache_files(tmp_path)) == 4


@pytest.mark.parametrize(
    ("texts", "other_texts"),
    [(["ab", "c"], ["a", "bc"]), (["abc"], ["abc", ""]), (["a", "b"], ["b", "a"]), (["a"], ["A"])],
)
def test_other_texts_have_another_file(tmp_path, texts, other_texts):
    for inputs in (texts, other_texts):
        tokenizer, calls = caching(tmp_path)
        assert_equal_arrays(tokenizer.ids_flat(inputs), PLAIN.ids_flat(inputs))
        assert calls == ["ids"]
    assert len(cache_files(tmp_path)) == 2


def test_another_tokenizer_has_another_file(tmp_path):
    cased = WordPieceTokenizer(VOCAB, WordPieceRules(lowercase=False))
    for inner in (PLAIN, cased):
        tokenizer, calls = caching(tmp_path, inner)
        assert_equal_arrays(tokenizer.ids_flat(TEXTS), inner.ids_flat(TEXTS))
        assert calls == ["ids"]
    assert not np.array_equal(PLAIN.ids_flat(TEXTS)[0], cased.ids_flat(TEXTS)[0])


@pytest.mark.parametrize("damage", ["flip first", "flip middle", "flip last", "cut", "empty", "longer", "other's"])
def test_damaged_file_is_replaced(tmp_path, damage):
    for texts in (TEXTS, ["other"]):
        caching(tmp_path)[0].spans_flat(texts)
    first = caching(tmp_path)[0]
    path = max(cache_files(tmp_path), key=lambda file: file.stat().st_size)
    whole = path.read_bytes()
    at = {"flip first": 0, "flip middle": len(whole) // 2, "flip last": len(whole) - 1}.get(damage)
    if at is not None:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    elif damage == "other's":
        path.write_bytes(min(cache_files(tmp_path), key=lambda file: file.stat().st_size).read_bytes())
    else:
        path.write_bytes({"cut": whole[:-7], "empty": b"", "longer": whole + b"\0"}[damage])
    tokenizer, calls = caching(tmp_path)
    assert_equal_arrays(tokenizer.spans_flat(TEXTS), PLAIN.spans_flat(TEXTS))
    assert calls == ["spans"] and path.read_bytes() == whole
    assert_equal_arrays(first.spans_flat(TEXTS), PLAIN.spans_flat(TEXTS))


def test_several_threads_can_write_the_same_file(tmp_path):
    results = []

    def work():
        tokenizer, _ = caching(tmp_path)
        results.extend(tokenizer.ids_flat(TEXTS) for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 100
    for arrays in results:
        assert_equal_arrays(arrays, PLAIN.ids_flat(TEXTS))
    assert [path.suffix for path in tmp_path.iterdir()] == [".tokens"]


def test_small_inputs_are_not_cached(tmp_path):
    tokenizer, _ = caching(tmp_path, min_characters=10)
    tokenizer.ids_flat(["a" * 9])
    assert not cache_files(tmp_path)
    tokenizer.ids_flat(["a" * 5] * 2)
    assert len(cache_files(tmp_path)) == 1


def test_least_recently_used_files_are_removed(tmp_path):
    texts = [[f"{letter} " * 50] for letter in "abcd"]
    tokenizer, _ = caching(tmp_path)
    for inputs in texts[:3]:
        tokenizer.ids_flat(inputs)
    size = cache_files(tmp_path)[0].stat().st_size
    names = [tmp_path / f"{token_cache._key('ids', PLAIN.fingerprint, inputs)}.tokens" for inputs in texts]
    for age, path in enumerate(names[:3]):
        os.utime(path, (1000 + age, 1000 + age))
    caching(tmp_path)[0].ids_flat(texts[0])  # now the most recently used one
    (tmp_path / "notes.txt").write_text("not ours")
    caching(tmp_path, max_bytes=3 * size)[0].ids_flat(texts[3])
    assert set(cache_files(tmp_path)) == {names[0], names[2], names[3]}
    caching(tmp_path, max_bytes=size - 1)[0].ids_flat(["h " * 50])  # larger than the whole cache may be
    assert set(cache_files(tmp_path)) == {names[0], names[2], names[3]} and (tmp_path / "notes.txt").exists()


def test_unfinished_files_are_removed_after_a_day(tmp_path):
    old, new = tmp_path / ".a.writing", tmp_path / ".b.writing"
    for path, age in ((old, 2 * 24 * 3600), (new, 60)):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age,) * 2)
    caching(tmp_path)[0].ids_flat(TEXTS)
    assert not old.exists() and new.exists()


@pytest.mark.parametrize("trouble", ["full", "no rename", "a file", "unreadable"])
def test_tokens_are_right_where_the_cache_cannot_be_used(tmp_path, monkeypatch, trouble):
    folder = tmp_path / "cache"

    def refuse(*arguments, **options):
        raise OSError(28, "No space left on device")

    if trouble == "a file":
        folder.write_text("in the way")
    elif trouble == "unreadable":
        caching(folder)[0].ids_flat(TEXTS)
        path = cache_files(folder)[0]
        path.unlink()
        path.mkdir()
    else:
        name = "_seal" if trouble == "full" else "_make_room"
        monkeypatch.setattr(token_cache, name, refuse)
        if trouble == "no rename":
            monkeypatch.setattr(token_cache.Path, "replace", refuse)
    for _ in range(2):
        tokenizer, calls = caching(folder)
        assert_equal_arrays(tokenizer.ids_flat(TEXTS), PLAIN.ids_flat(TEXTS))
        assert calls == ["ids"]
    if trouble in ("full", "no rename"):
        assert not list(folder.iterdir())


def test_cache_folder_follows_the_environment(tmp_path, monkeypatch):
    assert cache_folder() is None and with_cache(PLAIN) is PLAIN  # as in all tests
    monkeypatch.setenv("BERT_JAX_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path / "encoded"
    assert with_cache(PLAIN).folder == tmp_path / "encoded"
    monkeypatch.delenv("BERT_JAX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "bert_jax" / "encoded"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "bert_jax" / "encoded"


def test_cache_folder_is_private(tmp_path):
    caching(tmp_path / "new")[0].ids_flat(TEXTS)
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0


def test_tokenize_texts_gives_ids_and_spans():
    tokens = tokenize_texts(PLAIN, ["ab  C", ""])
    assert tokens.spans.tolist() == [[0, 1], [1, 2], [4, 5]] and tokens.bounds.tolist() == [0, 3, 3]
    expected = PLAIN.encode(["ab  C"], max_length=99)[0]
    assert tokens.ids.tolist() == expected.ids[1:-1]
