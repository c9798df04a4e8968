"""`bert-jax prep vocab`: kinds, extension, refusals, and interruption."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stories import folder_bytes

from bert_jax import cli
from bert_jax.errors import UserError
from bert_jax.text import load_tokenizer
from data_prep.command import main
from data_prep.vocabulary import train as train_module

SIZES = {"wordpiece": "191", "bpe": "333", "unigram": "77"}


def train(corpus: Path, output: Path, *flags: str) -> Path:
    assert main(["vocab", "--input", str(corpus), "--output", str(output), *flags]) == 0
    return output


@pytest.mark.parametrize("kind", SIZES)
def test_two_processes_write_the_same_files(tmp_path, corpus, kind):
    command = [sys.executable, "-m", "bert_jax.cli", "prep", "vocab", "--input", str(corpus), "--kind", kind]
    command += ["--size", SIZES[kind], "--user-tokens", "GLP-1", "--special-tokens", "[ENT]", "[unused0]"]
    processes = [
        subprocess.Popen(
            [*command, "--output", str(tmp_path / seed)],
            env=os.environ | {"PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": seed},
            stderr=subprocess.PIPE,
        )
        for seed in ("1", "2")
    ]
    for process in processes:
        _, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
    files = folder_bytes(tmp_path / "1")
    assert files == folder_bytes(tmp_path / "2") and "tokenizer.json" in files
    tokenizer = load_tokenizer(tmp_path / "1")
    assert tokenizer.vocab_size <= int(SIZES[kind]) and len(tokenizer.ids(["GLP-1"])[0]) == 1


def test_only_wordpiece_lower_cases_by_default(tmp_path, corpus):
    for kind, lower in (("wordpiece", True), ("bpe", False), ("unigram", False)):
        for flags, expected in (([], lower), (["--lowercase"], True), (["--no-lowercase"], False)):
            name = f"{kind}{''.join(flags)}"
            tokenizer = load_tokenizer(train(corpus, tmp_path / name, "--kind", kind, "--size", "333", *flags))
            a, b = tokenizer.ids(["Baing", "baing"])
            assert (a.tolist() == b.tolist()) == expected, name


def test_vocabulary_is_extended_by_the_words_that_save_most(tmp_path, corpus, capsys):
    old = train(corpus, tmp_path / "old", "--size", "91")
    new = train(corpus, tmp_path / "new", "--extend", str(old), "--add", "5", "--user-tokens", "GLP-1")
    before, after = load_tokenizer(old), load_tokenizer(new)
    assert after.vocab_size == before.vocab_size + 6
    assert after.tokens(range(before.vocab_size)) == before.tokens(range(before.vocab_size))
    assert "5 words added: " in capsys.readouterr().err
    largest = train(corpus, tmp_path / "all", "--extend", str(old), "--add", "900")
    assert load_tokenizer(largest).vocab_size < before.vocab_size + 900
    assert "words worth adding; 900 were asked for" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["--size", "99"], ["--kind", "wordpiece"], ["--accents", "keep"]])
def test_flags_that_the_old_vocabulary_decides_are_refused(tmp_path, corpus, flags):
    with pytest.raises(UserError, match=f"{flags[0]}: old decides that already"):
        main(["vocab", "--input", str(corpus), "--output", str(tmp_path / "v"), "--extend", "old", *flags])


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_only_wordpiece_can_be_extended(tmp_path, corpus, kind):
    old = train(corpus, tmp_path / "old", "--kind", kind, "--size", SIZES[kind])
    with pytest.raises(UserError, match="old: only WordPiece can be extended"):
        main(["vocab", "--input", str(corpus), "--output", str(tmp_path / "new"), "--extend", str(old)])
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize("text", ["", " \n", "\n\n\t\n"])
def test_vocabulary_of_blank_text_is_refused(tmp_path, kind, text):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(UserError, match="no text in"):
        main(["vocab", "--input", str(tmp_path / "a.txt"), "--output", str(tmp_path / "v"), "--kind", kind])
    assert not (tmp_path / "v").exists()


@pytest.mark.parametrize("kind", SIZES)
def test_undecodable_text_is_a_one_line_error(tmp_path, kind):
    (tmp_path / "a.txt").write_bytes(b"good\n" * 50 + b"\xff\n")
    with pytest.raises(UserError, match=r"a.txt line 51: not UTF-8 at byte 250"):
        main(["vocab", "--input", str(tmp_path / "a.txt"), "--output", str(tmp_path / "v"), "--kind", kind])
    assert list(tmp_path.iterdir()) == [tmp_path / "a.txt"]


@pytest.mark.parametrize("kind", SIZES)
def test_text_of_one_repeated_word_is_learned(tmp_path, kind, capsys):
    (tmp_path / "a.txt").write_text("semaglutide\n" * 9)
    tokenizer = load_tokenizer(train(tmp_path / "a.txt", tmp_path / "v", "--kind", kind))
    assert len(tokenizer.ids(["semaglutide"])[0]) <= (12 if kind == "unigram" else 1)
    assert "the text holds no more than" in capsys.readouterr().err


def test_empty_sample_is_a_clear_error(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "' + "many words " * 200_000 + '"}\n')
    with pytest.raises(UserError, match=r"sample of 1 MB passed over 1 text, all of .* larger --sample-mb"):
        for seed in range(9):
            flags = ["--sample-mb", "1", "--seed", str(seed)]
            train(tmp_path / "a.jsonl", tmp_path / f"v{seed}", "--size", "100", *flags)


def test_words_that_will_be_unknown_are_counted(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("known words\n" + "x" * 101 + "\n")
    train(tmp_path / "a.txt", tmp_path / "v")
    assert "left out or changed: words too long 1" in capsys.readouterr().err


@pytest.fixture
def default_interrupts():
    """The default handler of SIGINT, which is ignored where tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("kind", SIZES)
def test_interrupted_training_ends_with_code_75_and_leaves_nothing(
    tmp_path, corpus, monkeypatch, capsys, default_interrupts, kind, number
):
    def interrupted_texts(*arguments):
        yield "some words"
        os.kill(os.getpid(), number)
        time.sleep(60)

    monkeypatch.setattr(train_module, "sample_texts", interrupted_texts)
    output = tmp_path / "v"
    assert cli.main(["prep", "vocab", "--input", str(corpus), "--output", str(output), "--kind", kind]) == 75
    message = f"bert-jax prep: {output}: stopped by {number.name}. The same command starts again"
    assert capsys.readouterr().err.splitlines()[-1] == message
    assert not output.exists()
