"""bert-jax inspect on runs: their progress and speed, several side by side, and their curves in a figure."""

import json
import struct
from pathlib import Path

import pytest
from foreign import write_tiny_bert

import bert_jax
from bert_jax import cli
from bert_jax.convert.source import read_model
from bert_jax.errors import UserError
from bert_jax.train.run_progress import read_progress, run_at
from bert_jax.verbs.run_curves import COLORS, draw_runs

RECORD = {"data_fingerprint": "data", "tokenizer_fingerprint": "ids"}
TASKS = {
    "pretrain": {"name": "pretrain", "head": "pretrain", "examples": "pairs"},
    "finetune": {"name": "rows", "head": "sequence", "labels": ["a", "b"], "problem": "single_label"},
}


def write_run(folder: Path, settings: str, lines: list[dict], kind: str = "pretrain") -> Path:
    folder.mkdir(parents=True)
    (folder / "run.toml").write_text(f'output = "{folder}"\n{settings}')
    (folder / "run.json").write_text(json.dumps({**RECORD, "kind": kind, "task": TASKS[kind]}))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def pretraining_lines(steps: int = 21) -> list[dict]:
    """Return lines of a run whose steps take 1, 2, ... seconds, a tenth of it for data."""
    lines = [
        {"step": step, "split": "train", "loss": 9.0 - step / 10, "mlm_loss": 8.0 - step / 10, "learning_rate": 1e-3}
        | {
            "tokens_per_second": 100 * step,
            "padding": step / 200,
            "step_seconds": step,
            "data_seconds": step / 10,
            "mfu": step / 100,
        }
        | {"memory_bytes": step * 10**9}
        for step in range(1, steps + 1)
    ]
    return [*lines, {"step": 20, "split": "held_out", "mlm_loss": 6.5, "perplexity": 665.1}]


@pytest.fixture
def going_on(tmp_path) -> Path:
    """Return a run that goes on: no checkpoint, no result, the last line of its log half written."""
    folder = write_run(tmp_path / "runs" / "one", "steps = 100\n[optim]\npeak_lr = 1e-3\n", pretraining_lines())
    with (folder / "metrics.jsonl").open("a") as log:
        log.write('{"step": 22, "spl')
    return folder


@pytest.fixture
def other(tmp_path) -> Path:
    lines = [{"step": 5, "split": "train", "loss": 4.0, "mlm_loss": 3.25, "tokens_per_second": 1234}]
    return write_run(tmp_path / "runs" / "two", "steps = 100\nseed = 7\n[optim]\npeak_lr = 2e-3\n", lines)


@pytest.fixture
def tuned(tmp_path) -> Path:
    lines = [{"step": step, "split": "train", "loss": 1.0 / step} for step in (1, 2)]
    lines += [{"step": step, "split": "dev", "accuracy": 0.5, "main": 0.25 * step} for step in (1, 2)]
    return write_run(tmp_path / "runs" / "tuned", "seed = 7\nepochs = 2.0\n", lines, "finetune")


def inspected(capsys, *words: object) -> str:
    assert cli.main(["inspect", *map(str, words)]) == 0
    return capsys.readouterr().out


def test_a_run_that_goes_on_shows_its_progress_and_speed(going_on, capsys):
    facts = json.loads(inspected(capsys, going_on, "--json"))
    assert facts == {
        "what": "run, nothing saved yet",
        "progress": "step 21 of 100",
        "training": "loss 6.9000 mlm_loss 5.9000 (step 21)",
        "held-out": "mlm_loss 6.5000 perplexity 665.1000 (step 20)",
        "learning rate": "0.001",
        "step time": "11.00 s (median), 20.00 s (95th percentile)",
        "speed": "1,100 tokens/s, MFU 11.0% (median)",
        "padding": "5.5% of the computed tokens (median)",
        "data wait": "10.0% of the step time",
        "memory": "21.0 GB at most on a device",
    }
    assert "progress       step 21 of 100\n" in inspected(capsys, going_on)


@pytest.mark.parametrize("is_replaced", [True, False])
def test_a_checkpoint_that_is_replaced_while_it_is_read_is_no_error(
    going_on, tmp_path, capsys, monkeypatch, is_replaced
):
    write_tiny_bert(tmp_path / "hf", "pretrain")
    model, checkpoints = read_model(tmp_path / "hf"), going_on / "checkpoints"
    (checkpoints / "10" / "params").mkdir(parents=True)

    def read(path: Path):
        if not (checkpoints / "10").exists():
            return model
        if is_replaced:
            (checkpoints / "10").rename(checkpoints / "30")
        raise UserError("cannot be read")

    monkeypatch.setattr("bert_jax.verbs.inspect.read_model", read)
    if is_replaced:
        facts = json.loads(inspected(capsys, going_on, "--json"))
        assert facts["layers"] == 2 and facts["progress"] == "step 30 of 100"  # saved after the last line of the log
    else:
        assert cli.main(["inspect", str(going_on)]) == 1
        assert capsys.readouterr().err.endswith("cannot be read\n")


def test_a_run_without_a_log_shows_that_nothing_was_done(tmp_path, capsys):
    run = write_run(tmp_path / "new", "steps = 100\n", [])
    assert json.loads(inspected(capsys, run, "--json"))["progress"] == "step 0 of 100"
    (run / "metrics.jsonl").unlink()
    assert json.loads(inspected(capsys, run, "--json"))["progress"] == "step 0 of 100"
    assert inspected(capsys, run, write_run(tmp_path / "newer", "steps = 9\n", [])).split() == [
        *("new", "newer", "step", "0", "0", "planned", "steps", "100", "9")
    ]


def test_several_runs_show_what_differs(going_on, other, capsys):
    table = inspected(capsys, going_on, other)
    assert [line.split() for line in table.splitlines()] == [
        ["one", "two"],
        ["optim.peak_lr", "0.001", "0.002"],
        ["seed", "-", "7"],
        ["step", "21", "5"],
        ["planned", "steps", "100", "100"],
        ["train", "mlm_loss", "5.9", "3.25"],
        ["held_out", "mlm_loss", "6.5", "-"],
        ["tokens/s", "1,100", "1,234"],
        ["padding", "0.055", "-"],
        ["step", "seconds", "11", "-"],
        ["mfu", "0.11", "-"],
        ["data", "wait", "0.1", "-"],
    ]
    assert len({len(line) for line in table.splitlines()}) == 1
    result = bert_jax.inspect(going_on, [other])
    assert result["two"] == json.loads(inspected(capsys, going_on, other, "--json"))["two"]
    assert result.table()[1]["run"] == "two" and result.table()[1]["seed"] == 7


def test_runs_of_different_kinds_are_compared_by_what_both_have(going_on, tuned, capsys):
    columns = json.loads(inspected(capsys, going_on, tuned, "--json"))
    assert [columns[run]["kind"] for run in ("one", "tuned")] == ["pretrain", "finetune"]
    assert "epochs" not in columns["one"] and columns["tuned"]["dev main"] == 0.5
    assert columns["tuned"]["planned steps"] is None  # epochs are planned


def test_runs_with_the_same_folder_name_are_told_apart(going_on, tmp_path, capsys):
    same = write_run(tmp_path / "elsewhere" / "one", "steps = 100\n", pretraining_lines())
    assert [*json.loads(inspected(capsys, going_on, same, "--json"))] == [str(going_on), str(same)]


def test_a_figure_names_the_runs_in_their_colours(going_on, other, tuned, tmp_path, capsys):
    inspected(capsys, going_on, other, "--figure", tmp_path / "runs.svg")
    svg = (tmp_path / "runs.svg").read_text()
    assert all(text in svg for text in (">one<", ">two<", ">Loss on masked tokens<"))
    assert COLORS[0] in svg and COLORS[1] in svg and COLORS[2] not in svg
    inspected(capsys, going_on, tuned, other, "--figure", tmp_path / "runs.svg")  # drawn again
    svg = (tmp_path / "runs.svg").read_text()
    assert all(text in svg for text in (">tuned<", ">Loss<", ">Dev score<")) and COLORS[2] in svg
    inspected(capsys, going_on, "--figure", tmp_path / "one.png")
    width, height = struct.unpack(">II", (tmp_path / "one.png").read_bytes()[16:24])
    assert width > height > 500


def test_a_figure_of_more_runs_than_colours_and_of_runs_without_lines(tmp_path):
    runs = [read_progress(run_at(write_run(tmp_path / str(i), "steps = 9\n", []))) for i in range(30)]
    draw_runs(tmp_path / "runs.svg", runs)
    assert "nothing was recorded" in (tmp_path / "runs.svg").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("one", "none"), "none: no such folder. A run folder is what"),
        (("one", "."), ".: no run.toml, so not a run folder"),
        (("one", "two", "./one"), "one is the same run as one. Name each run once"),
        (("one", "--figure", "runs.gif"), "--figure runs.gif: a figure is a file .png, .svg or .pdf"),
        (("one", "--figure", "none/runs.png"), "none/runs.png: its folder does not exist"),
        ((".", "--figure", "runs.png"), ".: no run.toml, so not a run folder"),
    ],
    ids=str,
)
def test_what_cannot_be_compared_is_one_line(going_on, other, monkeypatch, capsys, words, message):
    monkeypatch.chdir(going_on.parent)
    assert cli.main(["inspect", *words]) == 1
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1 and not captured.out
    assert not (going_on.parent / "runs.png").exists()
