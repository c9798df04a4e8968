"""Flags of other programs get a hint with ours, which the verb has; ours get none."""

import dataclasses
import importlib

import pytest

from bert_jax import foreign_flags
from bert_jax.cli import VERBS, main
from bert_jax.config import read_toml
from bert_jax.errors import UserError
from bert_jax.settings.finetune import FinetuneConfig
from data_prep.command import CONFIGS


def settings_of_all_verbs():
    for verb in VERBS.values():
        if verb.settings:
            module, _, name = verb.settings.partition(":")
            yield getattr(importlib.import_module(f"bert_jax.settings.{module}"), name)
    yield from CONFIGS.values()


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["finetune", "--lr", "5e-5"], "--lr is --learning-rate here"),
        (
            ["finetune", "--num_train_epochs=3"],
            "--num_train_epochs is --epochs (a number of passes over the rows) here",
        ),
        (["finetune", "--per_device_train_batch_size", "8"], "--per_device_train_batch_size is --batch-size here"),
        (
            ["finetune", "--model_name_or_path", "x", "--output_dir", "y"],
            "is --from here; --output_dir is --output here",
        ),
        (["finetune", "--do-train"], "--do-train is not needed"),
        (["pretrain", "--lr", "1e-4"], "--lr is --optim.peak-lr here"),
        (["pretrain", "--warmup_steps", "100"], "--optim.warmup (a share of the steps such as 0.1) here"),
        (["predict", "--test_file", "a.csv"], "--test_file is --input here"),
        (["embed", "--max_seq_length", "9"], "--max_seq_length is --max-length here"),
        (["prep", "shards", "--max_seq_length", "9"], "--max_seq_length is --length here"),
        (["prep", "vocab", "--vocab_size", "9"], "--vocab_size is --size here"),
    ],
)
def test_flags_of_other_programs_are_answered_with_ours(capsys, arguments, says):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    told = capsys.readouterr().err
    assert stopped.value.code == 2 and says in told and told.count("\n") == 1


def test_flags_of_ours_get_no_hint_and_hints_name_flags_of_ours():
    known = set()
    for settings in settings_of_all_verbs():
        own = list(foreign_flags._flags(settings))
        known |= set(own)
        assert not foreign_flags.hints([f"--{name}" for name in own], settings)
        assert not foreign_flags.hints([f"--{name.replace('-', '_')}=1" for name in own], settings)
    assert {flag for flags in foreign_flags._OURS.values() for flag in flags} <= known
    assert {field.name for field in dataclasses.fields(FinetuneConfig)} >= {"from_", "learning_rate"}


def test_keys_of_other_programs_in_a_file_of_settings(tmp_path):
    (tmp_path / "a.toml").write_text('from = "x"\ndata = "y"\noutput = "z"\nlr = 1e-5\n')
    with pytest.raises(UserError, match="unknown key 'lr'; did you mean 'learning_rate'"):
        read_toml(FinetuneConfig, tmp_path / "a.toml")
