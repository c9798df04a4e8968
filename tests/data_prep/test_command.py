import subprocess
import sys
from pathlib import Path

import pytest
from reader import articles

from bert_jax.errors import UserError
from bert_jax.text import load_tokenizer
from data_prep.command import main


def test_vocab_shards_and_check_work_in_sequence(tmp_path, corpus, capsys):
    vocab, shards = str(tmp_path / "vocab"), str(tmp_path / "shards")
    assert main(["vocab", "--input", str(corpus), "--output", vocab, "--size", "200"]) == 0
    command = ["shards", "--input", str(corpus), "--tokenizer", vocab, "--output", shards, "--length", "32"]
    assert main([*command, "--dupe-factor", "1", "--held-out", "0.1"]) == 0
    assert main(["check", shards, "--show", "1"]) == 0
    out = capsys.readouterr().out
    assert "documents held out" in out and "train 0: " in out and "→[MASK]}" in out


@pytest.mark.parametrize("verb", ["vocab", "report", "shards", "check"])
def test_help_shows_a_complete_example(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    assert f"bert-jax prep {verb} " in capsys.readouterr().out.replace("usage: bert-jax prep", "")


def test_misspelt_flag_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["shards", "--input", "a", "--tokenizer", "b", "--output", "c", "--lenght", "3"])
    assert stop.value.code == 2
    assert "--length" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flag, value", [("length", "7"), ("max-predictions", "126"), ("held-out", "1"), ("workers", "0"), ("part-mb", "65")]
)
def test_setting_out_of_range_is_refused(flag, value):
    with pytest.raises(UserError, match=f"{flag.replace('-', '_')} is {value}.*must lie between"):
        main(["shards", "--input", "a", "--tokenizer", "b", "--output", "c", f"--{flag}", value])


def test_preparation_does_not_import_jax():
    modules = "data_prep.command, data_prep.job.build, data_prep.checking.check, data_prep.vocabulary.train"
    modules += ", bert_jax.data.pretraining.record, bert_jax.data.pretraining.masking, bert_jax.text.wordpiece"
    code = f"import sys, {modules}; assert not {{'jax', 'flax', 'tensorflow', 'torch'}} & set(sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path.cwd())
    assert process.returncode == 0, process.stderr


def test_same_text_gives_the_same_vocabulary(tmp_path, corpus):
    for name in ("one", "two"):
        main(["vocab", "--input", str(corpus), "--output", str(tmp_path / name), "--size", "120"])
    first, second = (load_tokenizer(tmp_path / name) for name in ("one", "two"))
    assert first.fingerprint == second.fingerprint and first.vocab_size == 120


def test_vocabulary_of_articles_contains_no_tags(tmp_path):
    (tmp_path / "wiki_00").write_text(articles(["one word", "another word"] * 50))
    command = ["vocab", "--input", str(tmp_path / "wiki_00"), "--documents", "wikiextractor", "--size", "200"]
    main([*command, "--output", str(tmp_path / "v")])
    entries = (tmp_path / "v" / "vocab.txt").read_text().split("\n")
    assert "word" in entries and not {"doc", "title", "curid"} & set(entries)


def test_vocabulary_of_a_large_corpus_is_trained_on_a_seeded_sample(tmp_path, capsys):
    for name in range(40):
        (tmp_path / f"{name}.txt").write_text(f"word{name} and the others\n" * 4000)
    command = ["vocab", "--input", str(tmp_path / "*.txt"), "--size", "300", "--sample-mb", "1"]
    main([*command, "--output", str(tmp_path / "a")])
    main([*command, "--output", str(tmp_path / "b"), "--seed", "1"])
    assert load_tokenizer(tmp_path / "a").fingerprint != load_tokenizer(tmp_path / "b").fingerprint
    assert "million characters" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", " \n"])
def test_vocabulary_of_no_text_is_refused(tmp_path, text):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(UserError, match="no text in"):
        main(["vocab", "--input", str(tmp_path / "a.txt"), "--output", str(tmp_path / "v")])
    assert not (tmp_path / "v").exists()


def test_existing_folder_is_not_overwritten_by_a_vocabulary(tmp_path, corpus):
    with pytest.raises(UserError, match="exists and is not empty"):
        main(["vocab", "--input", str(corpus), "--output", str(corpus)])
