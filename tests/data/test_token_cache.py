"""Kept tokens: the same as made anew, whatever happens to the files."""

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
from bert_jax.data.token_cache import KeepingTokenizer, cache_folder, keeping
from bert_jax.data.windows import cut, windows_of_pairs
from bert_jax.text.wordpiece import WordPieceTokenizer
from bert_jax.text.wordpiece_rules import WordPieceRules

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh", *(f"##{letter}" for letter in "abcdefgh")]
PLAIN = WordPieceTokenizer(VOCAB, WordPieceRules(lowercase=True))
TEXTS = ["abc Heg fa", "", "zwölf\ud800 a", "b" * 41, "ab \U0001f600 cd", "the [SEP] a"]


class Counting:
    """A tokenizer that counts how often it is asked."""

    def __init__(self, inner=PLAIN):
        self.inner, self.asked = inner, []

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def ids_flat(self, texts):
        self.asked.append("ids")
        return self.inner.ids_flat(texts)

    def spans_flat(self, texts):
        self.asked.append("spans")
        return self.inner.spans_flat(texts)


def kept(folder, inner=PLAIN, **options):
    counting = Counting(inner)
    return KeepingTokenizer(counting, folder, **{"least_chars": 1, **options}), counting.asked


def files(folder):
    return sorted(folder.glob("*.tokens"))


def same(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape and np.array_equal(one, other)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.text(max_size=12), min_size=1, max_size=7).filter(any))
def test_what_is_kept_is_what_would_be_made(tmp_path, texts):
    for asks in ("ids_flat", "spans_flat"):
        expected = getattr(PLAIN, asks)(texts)
        cold, _ = kept(tmp_path)
        same(getattr(cold, asks)(texts), expected)
        warm, asked = kept(tmp_path)
        same(getattr(warm, asks)(texts), expected)
        assert not asked


def test_rows_and_windows_are_made_of_what_is_kept(tmp_path):
    rows = rows_of(TEXTS, TEXTS[::-1])
    for expected_calls in (["ids", "ids", "spans", "spans"], []):
        tokenizer, asked = kept(tmp_path)
        encoded, plain = encode_rows(rows, tokenizer, 13), encode_rows(rows, PLAIN, 13)
        windows, whole = (windows_of_pairs(one, TEXTS, TEXTS[::-1], 13) for one in (tokenizer, PLAIN))
        for found, expected in ((encoded, plain), (windows.encoded, whole.encoded), (windows.pieces, whole.pieces)):
            for field in dataclasses.fields(found):
                assert np.array_equal(getattr(found, field.name), getattr(expected, field.name)), field.name
        assert asked == expected_calls
    assert len(files(tmp_path)) == 4


@pytest.mark.parametrize(
    ("one", "other"), [(["ab", "c"], ["a", "bc"]), (["abc"], ["abc", ""]), (["a", "b"], ["b", "a"]), (["a"], ["A"])]
)
def test_other_texts_have_files_of_their_own(tmp_path, one, other):
    for texts in (one, other):
        tokenizer, asked = kept(tmp_path)
        same(tokenizer.ids_flat(texts), PLAIN.ids_flat(texts))
        assert asked == ["ids"]
    assert len(files(tmp_path)) == 2


def test_another_tokenizer_has_files_of_its_own(tmp_path):
    cased = WordPieceTokenizer(VOCAB, WordPieceRules(lowercase=False))
    for inner in (PLAIN, cased):
        tokenizer, asked = kept(tmp_path, inner)
        same(tokenizer.ids_flat(TEXTS), inner.ids_flat(TEXTS))
        assert asked == ["ids"]
    assert not np.array_equal(PLAIN.ids_flat(TEXTS)[0], cased.ids_flat(TEXTS)[0])


@pytest.mark.parametrize("damage", ["flip first", "flip middle", "flip last", "cut", "empty", "longer", "other's"])
def test_a_damaged_file_is_made_again(tmp_path, damage):
    for texts in (TEXTS, ["other"]):
        kept(tmp_path)[0].spans_flat(texts)
    first = kept(tmp_path)[0]
    path = max(files(tmp_path), key=lambda file: file.stat().st_size)
    whole = path.read_bytes()
    at = {"flip first": 0, "flip middle": len(whole) // 2, "flip last": len(whole) - 1}.get(damage)
    if at is not None:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    elif damage == "other's":
        path.write_bytes(min(files(tmp_path), key=lambda file: file.stat().st_size).read_bytes())
    else:
        path.write_bytes({"cut": whole[:-7], "empty": b"", "longer": whole + b"\0"}[damage])
    tokenizer, asked = kept(tmp_path)
    same(tokenizer.spans_flat(TEXTS), PLAIN.spans_flat(TEXTS))
    assert asked == ["spans"] and path.read_bytes() == whole
    same(first.spans_flat(TEXTS), PLAIN.spans_flat(TEXTS))


def test_several_write_the_same_file_at_once(tmp_path):
    found = []

    def work():
        tokenizer, _ = kept(tmp_path)
        found.extend(tokenizer.ids_flat(TEXTS) for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 100
    for one in found:
        same(one, PLAIN.ids_flat(TEXTS))
    assert [path.suffix for path in tmp_path.iterdir()] == [".tokens"]


def test_small_inputs_are_not_kept(tmp_path):
    tokenizer, _ = kept(tmp_path, least_chars=10)
    tokenizer.ids_flat(["a" * 9])
    assert not files(tmp_path)
    tokenizer.ids_flat(["a" * 5] * 2)
    assert len(files(tmp_path)) == 1


def test_files_that_were_used_longest_ago_make_room(tmp_path):
    texts = [[f"{letter} " * 50] for letter in "abcd"]
    tokenizer, _ = kept(tmp_path)
    for one in texts[:3]:
        tokenizer.ids_flat(one)
    size = files(tmp_path)[0].stat().st_size
    names = [tmp_path / f"{token_cache._key('ids', PLAIN.fingerprint, one)}.tokens" for one in texts]
    for age, path in enumerate(names[:3]):
        os.utime(path, (1000 + age, 1000 + age))
    kept(tmp_path)[0].ids_flat(texts[0])  # now the one that was used last
    (tmp_path / "notes.txt").write_text("not ours")
    kept(tmp_path, most_bytes=3 * size)[0].ids_flat(texts[3])
    assert set(files(tmp_path)) == {names[0], names[2], names[3]}
    kept(tmp_path, most_bytes=size - 1)[0].ids_flat(["h " * 50])  # larger than all that there may be
    assert set(files(tmp_path)) == {names[0], names[2], names[3]} and (tmp_path / "notes.txt").exists()


def test_what_a_kill_left_behind_goes_after_a_day(tmp_path):
    old, new = tmp_path / ".a.writing", tmp_path / ".b.writing"
    for path, age in ((old, 2 * 24 * 3600), (new, 60)):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age,) * 2)
    kept(tmp_path)[0].ids_flat(TEXTS)
    assert not old.exists() and new.exists()


@pytest.mark.parametrize("trouble", ["full", "no rename", "a file", "unreadable"])
def test_a_disk_that_cannot_keep_costs_time_only(tmp_path, monkeypatch, trouble):
    folder = tmp_path / "cache"

    def refuse(*arguments, **options):
        raise OSError(28, "No space left on device")

    if trouble == "a file":
        folder.write_text("in the way")
    elif trouble == "unreadable":
        kept(folder)[0].ids_flat(TEXTS)
        path = files(folder)[0]
        path.unlink()
        path.mkdir()
    else:
        name = "_seal" if trouble == "full" else "_make_room"
        monkeypatch.setattr(token_cache, name, refuse)
        if trouble == "no rename":
            monkeypatch.setattr(token_cache.Path, "replace", refuse)
    for _ in range(2):
        tokenizer, asked = kept(folder)
        same(tokenizer.ids_flat(TEXTS), PLAIN.ids_flat(TEXTS))
        assert asked == ["ids"]
    if trouble in ("full", "no rename"):
        assert not list(folder.iterdir())


def test_the_folder_is_the_users_or_the_one_named_and_may_be_none(tmp_path, monkeypatch):
    assert cache_folder() is None and keeping(PLAIN) is PLAIN  # as in all tests
    monkeypatch.setenv("BERT_JAX_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path / "encoded"
    assert keeping(PLAIN).folder == tmp_path / "encoded"
    monkeypatch.delenv("BERT_JAX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "bert_jax" / "encoded"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "bert_jax" / "encoded"


def test_others_cannot_look_into_it(tmp_path):
    kept(tmp_path / "new")[0].ids_flat(TEXTS)
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0


def test_cut_gives_the_places_of_the_tokens():
    pieces = cut(PLAIN, ["ab  C", ""])
    assert pieces.spans.tolist() == [[0, 1], [1, 2], [4, 5]] and pieces.bounds.tolist() == [0, 3, 3]
    expected = PLAIN.encode(["ab  C"], max_length=99)[0]
    assert pieces.ids.tolist() == expected.ids[1:-1]
