"""The command line: examples in --help, colours, settings files of the package, the command's name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bert_jax import cli, command_name, launch
from bert_jax.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
HELP = [
    *(name for name, verb in cli.VERBS.items() if verb.settings),
    "prep vocab",
    "prep report",
    "prep shards",
    "prep check",
]


@pytest.mark.parametrize("verb", HELP)
def test_help_shows_examples_on_separate_lines(verb, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        cli.main([*verb.split(), "--help"])
    lines = capsys.readouterr().out.splitlines()
    examples = [line for line in lines if f"bert-jax {verb} -" in line or f"bert-jax {verb} '" in line]
    assert any(f"bert-jax {verb}" in line for line in lines[1:])
    assert all(line.count(f"bert-jax {verb}") == 1 for line in examples)


def test_help_has_no_line_breaks_within_a_description(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit):
        cli.main(["predict", "--help"])
    assert "(one text per line), compressed or not; tfds:NAME?split=SPLIT" in capsys.readouterr().out


def test_no_color_removes_colours_from_help_and_errors(tmp_path):
    code = (
        "import pty, sys; sys.exit(pty.spawn([sys.executable, '-m', 'bert_jax.cli', 'fill-mask', '--modle', 'x']) >> 8)"
    )
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)}
    shown = {}
    for value in ("", "1"):
        run = subprocess.run(
            [sys.executable, "-c", code], env={**environment, "NO_COLOR": value}, capture_output=True, cwd=tmp_path
        )
        shown[value] = run.stdout
    assert b"\x1b[31m" in shown[""] and b"\x1b[" not in shown["1"]
    assert b"modle" in shown["1"] or b"text" in shown["1"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux's full device is written to")
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["completion"], []])
def test_a_full_output_is_one_line(arguments):
    with open("/dev/full", "wb") as full:
        run = subprocess.run(
            [sys.executable, "-m", "bert_jax.cli", *arguments], stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
    name = " ".join(["bert-jax", *(verb for verb in arguments if verb in cli.VERBS)])
    assert run.stderr == f"{name}: No space left on device. Make room and start the same command again\n"
    assert run.returncode == cli.MISTAKE


def test_settings_files_of_the_package_are_found_in_any_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = sorted(path.name for path in launch.SETTINGS_FOLDER.glob("*.toml"))
    assert "bert-base.toml" in names and "laptop.toml" in names
    for name in ("bert-base.toml", "launch/bert-base.toml"):
        assert launch.settings_file(name) == launch.SETTINGS_FOLDER / "bert-base.toml"
    assert "comes with bert_jax" in capsys.readouterr().err
    (tmp_path / "bert-base.toml").write_text("steps = 1\n")
    assert launch.settings_file("bert-base.toml") == Path("bert-base.toml")
    assert launch.settings_file("elsewhere/bert-base.toml") == Path("elsewhere/bert-base.toml")
    with pytest.raises(UserError, match=r"bert-bse\.toml: no such file\. Did you mean bert-base\.toml"):
        launch.settings_file("bert-bse.toml")


@pytest.mark.parametrize("path", sorted(launch.SETTINGS_FOLDER.glob("*.toml")), ids=lambda path: path.name)
def test_settings_files_of_the_package_can_be_read(path):
    from bert_jax.config import from_table
    from bert_jax.files import read_toml_table
    from bert_jax.model.presets import resolve
    from bert_jax.settings.pretrain import PretrainConfig

    config = from_table(PretrainConfig, {**read_toml_table(path), "data": "shards", "output": "run"}, str(path))
    assert resolve(config.model, 100).depth > 0
    assert config.steps == sum(phase.steps for phase in config.resolved_phases())
    comments = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert any(line.startswith(f"# bert-jax pretrain {path.name} ") for line in comments)
    if path.name != "laptop.toml":
        text = " ".join(line.removeprefix("# ") for line in comments)
        assert all(f"{word}" in text for word in ("Hardware: ", "Hours by arithmetic", "Score: not yet run"))


def test_the_settings_of_base_and_large_are_the_two_phases_of_the_paper():
    from bert_jax.config import read_toml
    from bert_jax.settings.pretrain import PretrainConfig

    for name in ("bert-base.toml", "bert-large.toml"):
        config = read_toml(PretrainConfig, launch.SETTINGS_FOLDER / name, output="run")
        phases = [(str(phase.data), phase.steps, phase.batch_size) for phase in config.resolved_phases()]
        assert phases == [("128", 900_000, 256), ("512", 100_000, 256)]
        assert config.optim.warmup * config.steps == 10_000 and all(phase.optim is None for phase in config.phases)


def test_command_is_the_name_or_path_that_the_shell_finds(tmp_path, monkeypatch):
    script = tmp_path / ".venv" / "bin" / "bert-jax"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(script)])
    monkeypatch.setenv("PATH", "/nowhere")
    assert command_name.command() == ".venv/bin/bert-jax"
    assert command_name.typed(["predict", "a line"]) == ".venv/bin/bert-jax predict 'a line'"
    monkeypatch.setenv("PATH", str(script.parent))
    assert command_name.command() == "bert-jax"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("PATH", "/nowhere")
    assert command_name.command() == str(script)


def test_completion_offers_verbs_and_their_flags(capsys):
    assert cli.main(["completion"]) == 0
    script = capsys.readouterr().out
    words = {"1 bert-jax fi": "finetune fill-mask", "2 bert-jax prep sh": "shards", "2 bert-jax finetune ticke": ""}
    words |= {
        "2 bert-jax pretrain --no": "--no-next-sentence --no-deterministic --no-lowercase --no-scan-layers",
        "3 bert-jax prep vocab --no": "--no-lowercase",
    }
    for typed, expected in words.items():
        place, *line = typed.split()
        code = f'{script}\nCOMP_WORDS=({" ".join(line)}); COMP_CWORD={place}; _bert_jax; echo "${{COMPREPLY[@]}}"'
        run = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
        assert sorted(run.stdout.split()) == sorted(expected.split()), typed


@pytest.mark.parametrize("held_out", [{"mlm_loss": 3.2189, "mlm_accuracy": 0.412, "perplexity": 25.0}, {}])
def test_finished_pretraining_prints_its_scores_and_the_next_command(tmp_path, held_out):
    from bert_jax.train.run import RunFolder
    from bert_jax.verbs.pretrain import closing_lines

    run = RunFolder(tmp_path / "runs" / "mini")
    run.path.mkdir(parents=True)
    run.write_result({"step": 3, "held_out": held_out})
    (run.path / "metrics.jsonl").write_text('{"step": 3, "split": "train", "loss": 4.5, "mlm_accuracy": 0.25}\n')
    scores, following = closing_lines(run)
    if held_out:
        assert scores == "held-out text: masked LM loss 3.219, 41.2% of the masked tokens right, perplexity 25.0"
    else:
        assert scores.startswith("training text, last step") and "loss 4.500" in scores
    assert f"finetune --from {run.path} " in following
