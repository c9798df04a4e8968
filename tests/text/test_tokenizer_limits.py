"""Files that would exhaust time or memory or make the library panic are refused in one line, with stderr empty."""

import base64
import json
import os
import time

import numpy as np
import pytest
from library_folders import trained_pieces, write

from bert_jax.errors import UserError
from bert_jax.text import load_tokenizer
from bert_jax.text.rust_errors import as_user_errors, call_library
from bert_jax.text.sentencepiece_files import described_pieces
from bert_jax.text.tokenizer_limits import check_limits

CONFIG = {"tokenizer_class": "PreTrainedTokenizerFast"}


@pytest.fixture
def table(folders):
    return json.loads((folders["modernbert"] / "tokenizer.json").read_text(encoding="utf-8"))


def sequence(part: str, *steps: dict) -> dict:
    return {"type": "Sequence", {"normalizer": "normalizers", "decoder": "decoders"}.get(part, "pretokenizers"): steps}


def replace(pattern: str, content: str, kind: str = "String") -> dict:
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
SPLIT = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
BOMBS = {
    "regex": (
        "pre_tokenizer",
        sequence("", SPLIT, BYTES),
        r"searches for '\(a\+\)\+\$', which may take",
    ),
    "regex of a normalizer": ("normalizer", replace("(a|a)*b", "", "Regex"), "its normalizer searches for"),
    "regex of a decoder": ("decoder", replace("(a|a)*b", "", "Regex"), "its decoder searches for"),
    "ten megabytes": ("normalizer", replace("a", "b" * 10_000_000), "turns one character into up to 10,000,000"),
    "between all": ("normalizer", replace(r"\s*", "b" * 100, "Regex"), "up to 101"),
    "doublings": ("normalizer", sequence("normalizer", *[replace("a", "aa")] * 30), "up to 1,073,741,824"),
    "doublings by steps": (
        "normalizer",
        sequence("normalizer", *[replace("a", "aa")] * 40),
        "40 steps; 32 are",
    ),
    "prepended": ("normalizer", {"type": "Prepend", "prepend": "b" * 10_000}, "up to 10,001"),
    "bytes of bytes": ("pre_tokenizer", sequence("", *[BYTES] * 5), "up to 1,024"),
    "bytes twice": (
        "normalizer",
        sequence("normalizer", *[{"type": "ByteLevel"}] * 3),
        "pre_tokenizer turns one",
    ),
    "decoded": ("decoder", sequence("decoder", replace("a", "b" * 1000), BYTES), "its decoder turns one"),
    "hidden": ("pre_tokenizer", {**sequence("", SPLIT, BYTES), "normalizers": []}, "which may take forever"),
    "unknown": ("normalizer", {"type": "Turbo"}, "a step 'Turbo', which is not known"),
    "nothing": ("normalizer", replace("", "b"), "an empty pattern"),
    "chunks": (
        "pre_tokenizer",
        sequence("", {"type": "FixedLength", "length": 0}, BYTES),
        "a step 'FixedLength'",
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_files_that_exhaust_time_or_memory_are_refused_at_once(tmp_path, table, capfd, name):
    part, content, reason = BOMBS[name]
    start = time.process_time()
    with pytest.raises(UserError, match=reason) as caught:
        load_tokenizer(write(tmp_path / "t", tokenizer={**table, part: content}, tokenizer_config=CONFIG))
    assert time.process_time() - start < 5 and len(str(caught.value)) < 500 and "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_model_with_dropout_is_refused(tmp_path, table):
    described = {**table, "model": {**table["model"], "dropout": 0.1}}
    with pytest.raises(UserError, match=r"tokenizer.json.*dropout 0.1 splits the same text differently"):
        load_tokenizer(write(tmp_path / "t", tokenizer=described, tokenizer_config=CONFIG))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"max_input_chars_per_word": 10**9}, "max_input_chars_per_word is 1000000000; the time for a word"),
        ({"max_input_chars_per_word": 1e400}, "max_input_chars_per_word is inf"),
        ({"max_input_chars_per_word": -1}, "max_input_chars_per_word is -1"),
        ({"continuing_subword_prefix": "#" * 100_000}, "its continuing_subword_prefix is not a string of at most 64"),
    ],
)
@pytest.mark.parametrize("kind", ["bert", "mpnet"])
def test_unlimited_word_lengths_and_prefixes_are_refused(tmp_path, folders, kind, change, reason):
    folder = folders["mpnet"]
    described = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    described["model"] |= change
    if kind == "bert":
        described["post_processor"]["type"] = "BertProcessing"
    config = json.loads((folder / "tokenizer_config.json").read_text())
    with pytest.raises(UserError, match=reason):
        load_tokenizer(write(tmp_path / "t", tokenizer=described, tokenizer_config=config))


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), 1.5, 10**12, -1, None, "7", True])
@pytest.mark.parametrize("place", ["vocab", "added", "cls"])
@pytest.mark.parametrize("kind", ["roberta", "bert"])
def test_ids_that_are_no_whole_numbers_are_refused(tmp_path, folders, kind, place, value):
    folder = folders["mpnet" if kind == "bert" else "roberta"]
    described = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    if kind == "bert":
        described["post_processor"]["type"] = "BertProcessing"
    if place == "vocab":
        described["model"]["vocab"]["a"] = value
    elif place == "added":
        described["added_tokens"][1]["id"] = value
    else:
        described["post_processor"]["cls"][1] = value
    config = json.loads((folder / "tokenizer_config.json").read_text())
    with pytest.raises(UserError) as caught:
        load_tokenizer(write(tmp_path / "t", tokenizer=described, tokenizer_config=config))
    assert "\n" not in str(caught.value)


def charsmap() -> np.ndarray:
    described = described_pieces(trained_pieces(), "here")
    return np.frombuffer(base64.b64decode(described["normalizer"]["precompiled_charsmap"]), np.uint8)


def normalizer(table: np.ndarray) -> dict:
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(table.tobytes()).decode()}


def test_damaged_character_table_is_refused_or_harmless(capfd):
    """If a table with altered words is accepted, no character makes the library panic."""
    tokenizers = pytest.importorskip("tokenizers")
    whole, rng = charsmap(), np.random.default_rng(0)
    check_limits({"normalizer": normalizer(whole), "model": {"vocab": []}}, "here")
    units = int.from_bytes(whole[:4].tobytes(), "little") // 4
    text = "".join(map(chr, [*range(1, 0x250), *range(0x3000, 0x3100), *range(0xFB00, 0xFE00), *range(0xFF00, 0xFFEF)]))
    refused = 0
    for _ in range(60):
        damaged = whole.copy()
        for _ in range(rng.integers(1, 200)):
            at = 4 + 4 * int(rng.integers(0, units))
            damaged[at : at + 4] = rng.integers(0, 256, 4)
        described = {"normalizer": normalizer(damaged), "model": {"vocab": []}}
        try:
            check_limits(described, "here")
        except UserError:
            refused += 1
            continue
        tokenizers.normalizers.Precompiled(damaged.tobytes()).normalize_str(text)
    assert refused > 5
    short = whole[: len(whole) // 2].copy()
    with pytest.raises(UserError, match="damaged"):
        check_limits({"normalizer": normalizer(short), "model": {"vocab": []}}, "here")
    assert capfd.readouterr().err == ""


def test_panic_becomes_one_line_without_a_printed_backtrace(capfd, monkeypatch):
    tokenizers = pytest.importorskip("tokenizers")
    monkeypatch.setenv("RUST_BACKTRACE", "1")
    split = tokenizers.pre_tokenizers.Split(tokenizers.Regex("(a+)+$"), "isolated")
    with pytest.raises(UserError, match=r"^here: Onig: Regex search error: retry-limit-in-match over$"):
        call_library(lambda: split.pre_tokenize_str("a" * 60 + "!"), "here")
    assert capfd.readouterr().err == ""
    with pytest.raises(UserError, match="the tokenizer cannot cut a text: Onig"), as_user_errors():
        split.pre_tokenize_str("a" * 60 + "!")


def test_other_output_to_stderr_is_kept(capfd):
    assert call_library(lambda: os.write(2, b"a warning\n"), "here") == 10
    assert capfd.readouterr().err == "a warning\n"
