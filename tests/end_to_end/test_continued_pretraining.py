"""Pre-training from a model, with its own vocabulary or an extended one."""

import dataclasses
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from costly import COSTLY
from foreign import write_tiny_bert
from runs import has_logged, last_logged_step, read_log, read_result, wait_for, wait_for_exit

from bert_jax.cli import main
from bert_jax.config import MeshConfig
from bert_jax.convert.rules import TOKEN_TABLE
from bert_jax.convert.source import read_model
from bert_jax.convert.vocabulary_growth import MASKED_LM_BIAS, grow
from bert_jax.errors import UserError
from bert_jax.sharding import make_mesh
from bert_jax.tasks.initial_state import PARTS, start_from
from bert_jax.tasks.pretraining_task import PretrainingTask
from bert_jax.text import load_tokenizer
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.text.training.extension import extend_wordpiece
from bert_jax.text.wordpiece import WordPieceTokenizer
from bert_jax.text.wordpiece_rules import WordPieceRules
from bert_jax.train.checkpoint import checkpoint_steps
from bert_jax.train.program import Program
from data_prep.job.build import build_shards
from data_prep.settings import ShardsConfig

ONE_STEP_AT_RATE_0 = ["--steps", 1, "--optim.peak-lr", 0, "--mesh.data", 1, "--batch-size", 6]


@pytest.fixture(scope="session")
def source(once, shards, model) -> Path:
    """Return a short pre-training run to start from."""
    settings = ["--data", shards, "--model", model, "--steps", 25, "--batch-size", 8, "--optim.peak-lr", 0.01]

    def make(run: Path) -> None:
        assert main(["pretrain", "--output", str(run), *map(str, settings), "--mesh.data", "1"]) == 0

    return once("continued-from", make)


@pytest.fixture(scope="session")
def extended_shards(once, shards) -> Path:
    """Return shards of text with new words, whose tokenizer has them after the old entries."""

    def make(folder: Path) -> None:
        folder.mkdir()
        old = load_tokenizer(shards / "tokenizer")
        letters = [*"abcdefgiklmnosu", *(f"##{c}" for c in "abcdefgiklmnosu")]
        extended = WordPieceTokenizer([*old.vocab, *letters, "bafonus", "donging", "[ENT]"], old.rules)
        extended.save(folder / "tokenizer")
        texts = sorted((shards.parent / "corpus").iterdir())
        for path in texts[:30]:
            (folder / path.name).write_text(path.read_text().replace(" ba ", " bafonus "))
        build_shards(
            ShardsConfig(
                input=(str(folder / "*.txt"),),
                tokenizer=str(folder / "tokenizer"),
                output=str(folder / "shards"),
                length=24,
                dupe_factor=1,
                held_out=0.2,
                workers=1,
            )
        )

    return once("extended", make) / "shards"


def pretrain(data: Path, source: Path, output: Path, *more: object) -> int:
    """Pre-train from `source`, and return the exit code."""
    return main([str(part) for part in ["pretrain", "--data", data, "--from", source, "--output", output, *more]])


def test_a_continued_run_starts_at_the_loss_of_its_model(source, shards, tmp_path, capsys):
    assert pretrain(shards, source, tmp_path / "run", *ONE_STEP_AT_RATE_0) == 0
    result, expected = read_result(tmp_path / "run"), read_result(source)
    assert result["held_out"] == pytest.approx(expected["held_out"], rel=1e-6)
    assert result["parameters_sha256"] == expected["parameters_sha256"] and result["step"] == 1
    assert "note:" not in capsys.readouterr().err


@COSTLY
def test_a_run_with_new_words_repeats_itself_after_a_kill(source, extended_shards, command, tmp_path, capsys):
    settings = ["--steps", 60, "--batch-size", 6, "--mesh.data", 1, "--log-every", 1, "--save-every", 10]
    assert pretrain(extended_shards, source, tmp_path / "whole", *settings, "--evaluate-every", 30) == 0
    capsys.readouterr()
    whole = tmp_path / "whole"
    moved = Path(shutil.copytree(source, tmp_path / "source"))
    whole_of_copy = [
        "--data",
        extended_shards,
        "--from",
        moved,
        "--output",
        tmp_path / "run",
        *settings,
        "--evaluate-every",
        30,
    ]
    process = command("pretrain", *whole_of_copy)
    wait_for(lambda: bool(checkpoint_steps(tmp_path / "run" / "checkpoints")), process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    shutil.rmtree(moved)  # the state is the run's now
    process = command("pretrain", *whole_of_copy)
    wait_for(has_logged(tmp_path / "run", last_logged_step(tmp_path / "run") + 10), process)
    process.send_signal(signal.SIGTERM)
    assert wait_for_exit(process)[0] == 75
    assert main(["pretrain", *map(str, whole_of_copy)]) == 0
    assert read_result(tmp_path / "run") == read_result(whole) and read_log(tmp_path / "run") == read_log(whole)
    assert read_model(whole).tokenizer.vocab_size == read_model(source).tokenizer.vocab_size + 33
    assert pretrain(extended_shards, source, tmp_path / "run", *settings, "--evaluate-every", 30) == 1
    assert "is a run with other settings: from " in capsys.readouterr().err


@pytest.mark.parametrize("spare", [0, 60])
def test_rows_of_new_words_are_the_means_of_their_pieces(source, extended_shards, spare):
    """The padded table of 128 rows grows, also from a table with spare rows."""
    old = read_model(source)
    size = old.model.vocab_size
    if spare:
        old = old.changed(model=dataclasses.replace(old.model, vocab_size=size + spare))
    tokenizer = load_tokenizer(extended_shards / "tokenizer")
    more = WordPieceTokenizer([*tokenizer.vocab, *(f"x{i}" for i in range(100))], tokenizer.rules)
    grown = grow(old, more, "here")
    assert grown.model.vocab_size == max(size + 133, size + spare) and grown.model.padded_vocab_size == 256
    table, bias = grown.params[TOKEN_TABLE], grown.params[MASKED_LM_BIAS]
    assert table.shape == (256, 16) and bias.shape == (256,) and table.dtype == np.float32
    np.testing.assert_array_equal(table[:size], old.params[TOKEN_TABLE][:size])
    np.testing.assert_array_equal(bias[:size], old.params[MASKED_LM_BIAS][:size])
    words = more.tokens(range(size, more.vocab_size))
    for i, word in enumerate(words, size):
        ids = old.tokenizer.ids([word.removeprefix("##")])[0]
        np.testing.assert_allclose(table[i], old.params[TOKEN_TABLE][ids].mean(0), rtol=1e-6)
        np.testing.assert_allclose(bias[i], old.params[MASKED_LM_BIAS][ids].mean(), rtol=1e-6, atol=1e-9)
    assert all(
        grown.params[name] is old.params[name] for name in grown.params if name not in (TOKEN_TABLE, MASKED_LM_BIAS)
    )


def test_pieces_of_a_new_word_are_those_at_the_start_of_a_word():
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "sema", "##glu", "##tide", "-", "1", "glp"]
    old = WordPieceTokenizer(entries, WordPieceRules(lowercase=True))
    new = extend_wordpiece(old, ["semaglutide GLP-1"] * 2, add=1, user_tokens=("GLP-1",)).tokenizer
    grown = grow(tiny_pretrained(old), new, "here")
    table = np.arange(11, dtype=np.float32)
    assert new.tokens([11, 12]) == ["glp-1", "semaglutide"]
    assert grown.params[TOKEN_TABLE][11, 0] == pytest.approx(table[[10, 8, 9]].mean())
    assert grown.params[TOKEN_TABLE][12, 0] == pytest.approx(table[[5, 6, 7]].mean())


def tiny_pretrained(tokenizer: Tokenizer):
    from tiny import TINY

    from bert_jax.pretrained import Pretrained

    model = dataclasses.replace(TINY, vocab_size=tokenizer.vocab_size)
    rows = np.arange(model.padded_vocab_size, dtype=np.float32)
    return Pretrained("there", "encoder", model, tokenizer, {TOKEN_TABLE: np.repeat(rows[:, None], 12, axis=1)})


@pytest.mark.parametrize("mesh", [MeshConfig(data=1), MeshConfig(data=2, fsdp=2, tensor=2)], ids=str)
def test_a_grown_model_is_placed_on_any_mesh(source, extended_shards, mesh):
    grown = grow(read_model(source), load_tokenizer(extended_shards / "tokenizer"), "here")
    program = Program(PretrainingTask(grown.model), make_mesh(mesh))
    state = start_from(program, grown, PARTS, seed=3)
    assert int(state.step) == 0
    np.testing.assert_array_equal(state.params["encoder"]["embeddings"]["tokens"], grown.params[TOKEN_TABLE])
    np.testing.assert_array_equal(state.params["masked_lm"]["bias"], grown.params[MASKED_LM_BIAS])


@pytest.mark.parametrize(
    ("kind", "notes"),
    [
        ("masked_lm", ["has no pooler", "has no next sentence head"]),
        ("encoder", ["has no masked LM head", "has no next sentence head"]),
        ("pretrain", []),
        ("sequence", ["has no masked LM head", "has no next sentence head"]),
    ],
)
def test_a_foreign_model_of_any_kind_is_continued(tmp_path, kind, notes, capsys):
    written = write_tiny_bert(tmp_path / "hf", kind, ("a", "b") if kind == "sequence" else None)
    data = short_shards(tmp_path, written.tokenizer)
    assert pretrain(data, tmp_path / "hf", tmp_path / "run", *ONE_STEP_AT_RATE_0) == 0
    printed = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note:")]
    assert len(printed) == len(notes) and all(note in line for note, line in zip(notes, printed, strict=True))
    model = read_model(tmp_path / "run")
    shared = [name for name in model.params if name in written.params and name.split("/")[0] != "classifier"]
    assert any(name.startswith("encoder/blocks/1/") for name in shared)
    for name in shared:
        np.testing.assert_array_equal(model.params[name], written.params[name])


def short_shards(folder: Path, tokenizer: Tokenizer, length: int = 13) -> Path:
    """Return shards of a few short documents."""
    text = "\n".join(" ".join(f"word{i * j % 32}" for j in range(1, 6)) for i in range(1, 30))
    (folder / "a.txt").write_text(text + "\n")
    (folder / "b.txt").write_text(text.replace("word3", "word7") + "\n")
    tokenizer.save(folder / "tokenizer")
    settings = {"length": length, "held_out": 0.0, "dupe_factor": 1, "workers": 1}
    build_shards(
        ShardsConfig(
            input=(str(folder / "*.txt"),),
            tokenizer=str(folder / "tokenizer"),
            output=str(folder / "shards"),
            **settings,
        )
    )
    return folder / "shards"


def test_the_head_for_next_sentences_is_left_out_where_it_is_not_trained(source, shards, tmp_path, capsys):
    assert pretrain(shards, source, tmp_path / "run", *ONE_STEP_AT_RATE_0, "--no-next-sentence") == 0
    assert "the next sentence head of" in capsys.readouterr().err
    after, before = read_model(tmp_path / "run").params, read_model(source).params
    assert {name for name in before if name not in after} == {
        f"{part}/{leaf}" for part in ("encoder/pooler/dense", "next_sentence") for leaf in ("kernel", "bias")
    }
    assert read_result(tmp_path / "run")["held_out"]["mlm_loss"] == pytest.approx(
        read_result(source)["held_out"]["mlm_loss"]
    )


def test_models_and_shards_that_do_not_fit_are_refused_in_one_line(source, shards, extended_shards, tmp_path, capsys):
    def refused(*arguments: object) -> str:
        assert (
            main(["pretrain", *map(str, arguments), "--output", str(tmp_path / "run"), *map(str, ONE_STEP_AT_RATE_0)])
            == 1
        )
        assert not (tmp_path / "run").exists()
        out, err = capsys.readouterr()
        assert not out and err.count("\n") == 1
        return err

    assert "decides the model's shape" in refused("--data", shards, "--from", source, "--model", "bert-tiny")
    assert "no such file" in refused("--data", shards, "--from", tmp_path / "none")
    assert pretrain(extended_shards, source, tmp_path / "grown", *ONE_STEP_AT_RATE_0) == 0
    capsys.readouterr()
    message = refused("--data", shards, "--from", tmp_path / "grown")
    assert "79 entries there and 46 here. Make the shards with its tokenizer" in message
    written = write_tiny_bert(tmp_path / "hf", "masked_lm")
    message = refused("--data", shards, "--from", tmp_path / "hf")
    assert "no extension of that of" in message and "id 5 is 'word0' there and '.' here" in message
    data = short_shards(tmp_path, written.tokenizer, length=18)
    capsys.readouterr()
    assert "sequences of 18 tokens" in refused("--data", data, "--from", tmp_path / "hf")


def test_a_vocabulary_with_other_rules_is_no_extension(source):
    old = read_model(source)
    cased = WordPieceTokenizer(old.tokenizer.vocab, WordPieceRules(lowercase=not old.tokenizer.rules.lowercase))
    with pytest.raises(UserError, match="treat case, accents or the like differently"):
        grow(old, cased, "here")
    with pytest.raises(UserError, match=r"it has \d+ entries there and \d+ here"):
        grow(old, WordPieceTokenizer(old.tokenizer.vocab[:-1], old.tokenizer.rules), "here")
