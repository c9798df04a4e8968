"""Flags of other programs get a hint with the corresponding flag of the verb; the verb's flags get none."""

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
    "arguments, hint",
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
        (["pretrain", "--warmup_steps", "100"], "--optim.warmup (a fraction of the steps, such as 0.1) here"),
        (["predict", "--test_file", "a.csv"], "--test_file is --input here"),
        (["embed", "--max_seq_length", "9"], "--max_seq_length is --max-length here"),
        (["prep", "shards", "--max_seq_length", "9"], "--max_seq_length is --length here"),
        (["prep", "vocab", "--vocab_size", "9"], "--vocab_size is --size here"),
    ],
)
def test_flags_of_other_programs_get_a_hint(capsys, arguments, hint):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    stderr = capsys.readouterr().err
    assert stopped.value.code == 2 and hint in stderr and stderr.count("\n") == 1


def test_own_flags_get_no_hint_and_hints_name_own_flags():
    all_flags = set()
    for settings in settings_of_all_verbs():
        flags = list(foreign_flags._flags(settings))
        all_flags |= set(flags)
        assert not foreign_flags.hints([f"--{name}" for name in flags], settings)
        assert not foreign_flags.hints([f"--{name.replace('-', '_')}=1" for name in flags], settings)
    assert {flag for flags in foreign_flags._OURS.values() for flag in flags} <= all_flags
    assert {field.name for field in dataclasses.fields(FinetuneConfig)} >= {"from_", "learning_rate"}


def test_keys_of_other_programs_in_settings_files_get_a_hint(tmp_path):
    (tmp_path / "a.toml").write_text('from = "x"\ndata = "y"\noutput = "z"\nlr = 1e-5\n')
    with pytest.raises(UserError, match="unknown key 'lr'; did you mean 'learning_rate'"):
        read_toml(FinetuneConfig, tmp_path / "a.toml")
