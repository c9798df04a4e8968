"""Settings in TOML and in flags, their ranges, and how a wrong command ends."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from bert_jax.cli import main
from bert_jax.config import MeshConfig, ModelConfig, OptimConfig, from_table, read_toml, to_toml
from bert_jax.errors import UserError
from bert_jax.model.presets import PRESETS
from bert_jax.settings.command_line import parse
from bert_jax.settings.evaluate import EvaluateConfig
from bert_jax.settings.finetune import FinetuneConfig
from bert_jax.settings.phase_settings import PhaseConfig, PhaseOptimConfig
from bert_jax.settings.predict import PredictConfig
from bert_jax.settings.pretrain import PretrainConfig

PHASE = {"data": "d", "steps": 3}
CONFIGS = [
    ModelConfig(vocab_size=37, width=12, depth=3, heads=2, mlp_width=20, dropout=0.0, norm_epsilon=1e-12),
    OptimConfig(peak_lr=3e-5, warmup=0.25),
    MeshConfig(2, 4, 1),
    PretrainConfig(
        Path('odd "name" \\ é'),
        Path("out"),
        7,
        optim=OptimConfig(peak_lr=1e-3),
        mesh=MeshConfig(fsdp=3),
        next_sentence=False,
    ),
    PretrainConfig(
        Path(),
        Path("out"),
        9,
        phases=(
            PhaseConfig(data=Path("a"), steps=7),
            PhaseConfig(data=Path("b"), steps=2, batch_size=4, accumulate=2, optim=PhaseOptimConfig(peak_lr=1e-3)),
        ),
    ),
    FinetuneConfig(Path("from"), Path("data"), Path("out"), pair="b", seeds=(3, 1, 2), evaluate_every=5, score=True),
    FinetuneConfig(Path("from"), Path("data"), Path("out"), epochs=2),
    EvaluateConfig(Path("run"), Path("data"), Path("scores.json")),
    PredictConfig(Path("run"), Path("in.txt"), Path("out.jsonl"), text="body"),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_every_config_is_the_same_after_toml(config: Any, tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text(to_toml(config))
    assert read_toml(type(config), path) == config


@pytest.mark.parametrize("config", CONFIGS[3:], ids=lambda config: type(config).__name__)
def test_every_verb_reads_its_settings_from_a_file(config: Any, tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text(to_toml(config))
    assert parse(type(config), [str(path)], prog="test") == config


def test_flags_override_and_complete_the_file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('data = "shards"\nbatch-size = 8\n[optim]\npeak_lr = 0.5\nwarmup = 0.5\n[mesh]\nfsdp = 2\n')
    config = parse(
        PretrainConfig,
        [str(path), "--output", "o", "--steps", "3", "--optim.warmup", "0.1", "--mesh.tensor", "4"],
        prog="x",
    )
    expected = PretrainConfig(
        Path("shards"),
        Path("o"),
        3,
        batch_size=8,
        optim=OptimConfig(peak_lr=0.5, warmup=0.1),
        mesh=MeshConfig(-1, 2, 4),
    )
    assert config == expected


def test_the_field_from_has_no_underscore_in_flags_and_files(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('from = "runs/mini"\ndata = "d"\n')
    assert parse(FinetuneConfig, [str(path), "--output", "o"], prog="x").from_ == Path("runs/mini")
    assert parse(FinetuneConfig, [str(path), "--output", "o", "--from", "p"], prog="x").from_ == Path("p")
    assert "from = " in to_toml(CONFIGS[5]) and "from_ =" not in to_toml(CONFIGS[5])
    with pytest.raises(UserError, match=r"missing from, data, output$"):
        from_table(FinetuneConfig, {}, "run.toml")


@pytest.mark.parametrize(
    ("cls", "table", "says"),
    [
        (OptimConfig, {"peek_lr": 1e-4}, r"a.toml: unknown key 'peek_lr'; did you mean 'peak_lr'\?"),
        (OptimConfig, {"zzz": 1}, r"a.toml: unknown key 'zzz'; known keys: name, peak_lr, "),
        (PretrainConfig, {"optim": {"warm-up": 1}}, r"a.toml: optim: unknown key 'warm-up'; did you mean 'warmup'"),
        (PretrainConfig, {"optim": {"schedule": "step"}}, r"optim: schedule is 'step', not one of 'linear', 'cosine'"),
        (PretrainConfig, {"optim": {"name": "adam"}}, r"optim: name is 'adam', not one of 'adamw', 'lamb'"),
        (PretrainConfig, {"optim": 3}, r"a.toml: optim is 3, a table is expected"),
        (PretrainConfig, {"steps": "many"}, r"a.toml: steps is 'many', int is expected"),
        (PretrainConfig, {"steps": True}, r"a.toml: steps is True, int is expected"),
        (PretrainConfig, {"steps": 2.5}, r"a.toml: steps is 2.5, int is expected"),
        (PretrainConfig, {"next_sentence": 1}, r"a.toml: next_sentence is 1, bool is expected"),
        (PretrainConfig, {"dtype": "float16"}, r"a.toml: dtype is 'float16', not one of 'float32', 'bfloat16'"),
        (PretrainConfig, {"data": 4}, r"a.toml: data is 4, Path is expected"),
        (FinetuneConfig, {"seeds": 4}, r"a.toml: seeds is 4, tuple is expected"),
        (FinetuneConfig, {"seeds": ["a"]}, r"a.toml: seeds is 'a', int is expected"),
        (FinetuneConfig, {"evaluate_every": "daily"}, r"a.toml: evaluate_every is 'daily', int is expected"),
        (PretrainConfig, {"data": "d"}, r"a.toml: missing output, steps$"),
        (PretrainConfig, {"phases": [{"steps": 3}]}, r"a.toml: phase 1: missing data$"),
        (
            PretrainConfig,
            {"phases": [{"data": "d", "steps": 0}]},
            r"a.toml: phase 1: steps is 0; it must be at least 1",
        ),
        (
            PretrainConfig,
            {"phases": {"data": "d"}},
            r"a.toml: phases is .*, a list of tables is expected: \[\[phases\]\]",
        ),
        (
            PretrainConfig,
            {"phases": [PHASE, {**PHASE, "optim": {"name": "lamb"}}]},
            r"a.toml: phase 2: optim: unknown key 'name'; known keys: peak_lr, warmup, schedule, cooldown",
        ),
        (PretrainConfig, {"output": "o", "steps": 4, "phases": [PHASE]}, r"a.toml: steps is 4; 1 phase together"),
    ],
)
def test_a_wrong_key_or_value_is_named(cls, table, says):
    with pytest.raises(UserError, match=says) as error:
        from_table(cls, table, "a.toml")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("cls", "values", "says"),
    [
        (ModelConfig, {"heads": 5}, "width 12 does not divide into 5 heads"),
        (ModelConfig, {"heads": 0}, "heads is 0"),
        (ModelConfig, {"depth": 0}, "depth is 0"),
        (ModelConfig, {"max_length": -1}, "max_length is -1"),
        (ModelConfig, {"dropout": 1.0}, "dropout is 1.0"),
        (OptimConfig, {"warmup": 1.5}, "warmup is 1.5"),
        (OptimConfig, {"cooldown": -0.1}, "cooldown is -0.1"),
        (OptimConfig, {"peak_lr": -1.0}, "peak_lr is -1.0"),
        (OptimConfig, {"clip_norm": 0.0}, "clip_norm is 0.0"),
        (OptimConfig, {"b2": 1.0}, "b2 is 1.0"),
        (OptimConfig, {"peak_lr": float("nan")}, "peak_lr is nan"),
    ],
)
def test_a_value_out_of_its_range_is_named(cls, values, says):
    valid = {"vocab_size": 37, "width": 12, "depth": 2, "heads": 2, "mlp_width": 20} if cls is ModelConfig else {}
    with pytest.raises(UserError, match=says):
        cls(**valid | values)


@pytest.mark.parametrize("read", [read_toml, lambda cls, path: parse(cls, [str(path)], prog="x")], ids=["file", "verb"])
@pytest.mark.parametrize(
    ("content", "says"),
    [(b'a = "\xe9"', "not UTF-8"), (b"a = = 1", "not TOML"), (None, "no such file"), ("", "a folder")],
)
def test_a_file_that_cannot_be_read_is_named(read, content, says, tmp_path):
    path = tmp_path / "run.toml"
    if content == "":
        path.mkdir()
    elif content:
        path.write_bytes(content)
    with pytest.raises(UserError, match=f"run.toml: {says}"):
        read(OptimConfig, path)


def test_the_token_table_is_padded_to_a_multiple_of_128_rows():
    assert PRESETS["bert-base-uncased"].padded_vocab_size == 30592
    assert dataclasses.replace(PRESETS["tiny-test"], vocab_size=128).padded_vocab_size == 128


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "usage"),
        (["--help"], 0, "bert-jax demo"),
        (["--version"], 0, "0."),
        (["pretrian"], 2, "did you mean 'pretrain'"),
        (["pretrain", "--data", "x", "--output", "y", "--steps", "3", "--batch-sise", "8"], 2, "batch-size"),
        (["pretrain", "--data", "x", "--output", "y"], 2, "--steps"),
        (["pretrain", "--data", "x", "--output", "y", "--steps", "many"], 2, "--steps"),
        (["pretrain", "--data", "nowhere", "--output", "y", "--steps", "3"], 1, "nowhere: no such folder"),
        (["pretrain", "--data", "nowhere", "--output", "y", "--steps", "0"], 1, "steps is 0"),
        (["pretrain", "--data", "x", "--output", "y", "--steps", "3", "--optim.warmup", "7"], 1, "warmup is 7"),
        (["pretrain", "--data", "x", "--output", "y", "--steps", "3", "--log-every", "0"], 1, "log_every is 0"),
        (["pretrain", "--data", "x", "--output", "y", "--steps", "3", "--keep", "0"], 1, "keep is 0"),
        (["pretrain", "--data", "x", "--output", "y", "--steps", "3", "--seed", "-1"], 1, "seed is -1"),
        (["finetune", "--from", "x", "--data", "x", "--output", "y", "--epochs", "0"], 1, "epochs is 0"),
        (
            ["finetune", "--from", "x", "--data", "x", "--output", "y", "--batch-size", "99999"],
            1,
            "batch_size is 99999",
        ),
        (["finetune", "--from", "x", "--data", "x", "--output", "y", "--warmup", "2"], 1, "warmup is 2"),
        (
            ["finetune", "--from", "x", "--data", "x", "--output", "y", "--choices", "a"],
            1,
            "for task choice, not rows",
        ),
        (
            ["finetune", "--from", "x", "--data", "x", "--output", "y", "--task", "ner", "--score"],
            1,
            "--score: for task",
        ),
        (["finetune", "--from", "x", "--data", "x", "--output", "y", "--seeds", "1", "-2"], 1, "seeds (1, -2)"),
        (["evaluate", "--model", "x", "--data", "x", "--batch-size", "0"], 1, "batch_size is 0"),
        (["predict", "--model", "x", "--input", "x", "--output", "y", "--batch-size", "-3"], 1, "batch_size is -3"),
        (["pretrain", "nowhere.toml"], 1, "nowhere.toml: no such file"),
        (["finetune", "--from", "nowhere", "--data", "x", "--output", "y"], 1, "nowhere: no such file or folder"),
        (["evaluate", "--model", "nowhere", "--data", "x"], 1, "nowhere: no such file or folder"),
        (["predict", "--model", "nowhere", "--input", "x", "--output", "y"], 1, "nowhere: no such file or folder"),
    ],
)
def test_a_wrong_command_ends_with_its_exit_code_and_one_line(arguments, code, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        exit_code = main(arguments)
    except SystemExit as error:  # tyro raises it for wrong usage
        exit_code = error.code
    out = capsys.readouterr()
    assert exit_code == code
    assert says in out.out + out.err
    assert "Traceback" not in out.err
    if code == 1:
        assert out.err.count("\n") == 1 and not out.out
    assert not list(tmp_path.iterdir())
