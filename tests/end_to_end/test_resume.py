"""A run that was killed and started again is the run that was never killed."""

import random
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from runs import done, ended, lines, logged, reached, result, wait_for

import bert_jax.train.run
from bert_jax.cli import main
from bert_jax.train.run import Plan, open_run

STEPS = 200
SETTINGS = ["--steps", STEPS, "--batch-size", 8, "--optim.peak-lr", 1e-2, "--seed", 5, "--log-every", 1]
OFTEN = ["--save-every", 20, "--evaluate-every", 50, "--held-out-examples", 20]


@pytest.fixture(scope="session")
def arguments(shards, model) -> list[str]:
    return [str(part) for part in ("--data", shards, "--model", model, *SETTINGS, *OFTEN, "--mesh.data", 1)]


@pytest.fixture(scope="session")
def pretrain(command, arguments):
    return lambda output, *more: command("pretrain", "--output", output, *arguments, *more)


@pytest.fixture(scope="session")
def never_killed(arguments, once) -> Path:
    return once("never-killed", lambda run: finish(run, arguments))


def finish(run: Path, arguments: list[str], *more: object) -> None:
    """The run is finished, in this process."""
    assert main(["pretrain", "--output", str(run), *arguments, *map(str, more)]) == 0


def kill(process) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_killed_at_three_steps_and_in_a_save_and_stopped_it_repeats_the_run(pretrain, never_killed, tmp_path):
    run = tmp_path / "killed"
    process = pretrain(run)
    wait_for(reached(run, 15), process)
    process.send_signal(signal.SIGTERM)
    code, _, err = ended(process)
    stopped = logged(run)
    assert code == 75 and 15 <= stopped < STEPS
    assert f"SIGTERM: saved step {stopped} of {STEPS}" in err and "Traceback" not in err

    rng = random.Random(1)
    for number in range(3):
        process = pretrain(run)
        wait_for(reached(run, logged(run) + rng.randint(3, 20)), process)
        if number == 1:
            wait_for(lambda: any(run.glob("checkpoints/*.orbax-checkpoint-tmp*")), process)
        kill(process)
        assert not (run / "result.json").exists()
    assert "goes on after step" in done(pretrain(run))
    assert result(run) == result(never_killed)
    assert lines(run) == lines(never_killed)
    assert {line["step"] for line in lines(run) if line["split"] == "train"} == set(range(1, STEPS + 1))
    assert {line["step"] for line in lines(run) if line["split"] == "held_out"} == {50, 100, 150, 200}


def test_a_damaged_newest_checkpoint_costs_only_the_steps_since_the_one_before(
    arguments, never_killed, tmp_path, capfd
):
    run = Path(shutil.copytree(never_killed, tmp_path / "damaged"))
    (run / "result.json").unlink()
    path = max((run / "checkpoints" / str(STEPS) / "params" / "d").iterdir(), key=lambda p: p.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    finish(run, arguments)
    said = capfd.readouterr().err
    assert f"checkpoints/{STEPS} is damaged" in said and "goes on after step 180" in said
    assert result(run) == result(never_killed)
    assert lines(run) == lines(never_killed)


def test_on_another_mesh_it_goes_on_with_the_same_losses(arguments, never_killed, tmp_path):
    run = Path(shutil.copytree(never_killed, tmp_path / "moved"))
    (run / "result.json").unlink()
    for step in (180, 200):
        shutil.rmtree(run / "checkpoints" / str(step))
    finish(run, arguments, "--mesh.data", 2, "--mesh.fsdp", 2, "--mesh.tensor", 2)
    found, expected = losses(run), losses(never_killed)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def losses(run: Path) -> np.ndarray:
    return np.array([[line["mlm_loss"], line["nsp_loss"]] for line in lines(run)])


LONGER = ["--steps", 230]


@pytest.fixture(scope="session")
def lengthened(arguments, never_killed, once) -> Path:
    def make(run: Path) -> None:
        shutil.copytree(never_killed, run)
        finish(run, arguments, *LONGER)

    return once("lengthened", make)


def test_a_run_is_lengthened_with_its_optimizer_state(lengthened, never_killed):
    assert result(lengthened)["step"] == 230
    assert lines(lengthened)[: len(lines(never_killed))] == lines(never_killed)
    assert open_run(lengthened).plans() == [Plan(until=STEPS, steps=STEPS, now=230)]
    assert "steps = 230" in open_run(lengthened).settings()
    moved = [line["gradient_norm"] for line in lines(lengthened) if line["split"] == "train"]
    assert len(set(moved[STEPS:])) == 30  # it learns again, where the rate had come to 0


@pytest.mark.parametrize("left", [220, STEPS, STEPS - 20])
def test_a_lengthened_run_goes_on_from_any_checkpoint_as_if_nothing_was(
    arguments, lengthened, never_killed, tmp_path, left, capfd
):
    """Also from one that was made before: up to the step of the change the rate is that of the old plan."""
    run = Path(shutil.copytree(lengthened, tmp_path / "run"))
    (run / "result.json").unlink()
    shutil.rmtree(run / "checkpoints")
    source = lengthened if left > STEPS else never_killed
    shutil.copytree(source / "checkpoints" / str(left), run / "checkpoints" / str(left))
    finish(run, arguments, *LONGER)
    said = capfd.readouterr().err
    assert f"goes on after step {left} of 230" in said
    assert "planned for 200 steps, lengthened to 230 after step 200" in said
    assert result(run) == result(lengthened)
    assert lines(run) == lines(lengthened)


def test_a_kill_while_a_run_is_lengthened_leaves_the_old_or_the_new_run(
    arguments, lengthened, never_killed, tmp_path, monkeypatch
):
    run = Path(shutil.copytree(never_killed, tmp_path / "run"))
    write = bert_jax.train.run.write_text

    def killed(path: Path, text: str) -> None:
        if path.name == "run.toml":
            raise KeyboardInterrupt
        write(path, text)

    with monkeypatch.context() as patch:
        patch.setattr("bert_jax.train.run.write_text", killed)
        assert main(["pretrain", "--output", str(run), *arguments, *map(str, LONGER)]) == 130
    old = Path(shutil.copytree(run, tmp_path / "old"))
    finish(old, arguments)
    assert result(old) == result(never_killed)
    finish(run, arguments, *LONGER)
    assert result(run) == result(lengthened)


def test_a_finished_run_says_so_and_a_lost_result_is_written_again(arguments, never_killed, tmp_path, capsys):
    run = Path(shutil.copytree(never_killed, tmp_path / "finished"))
    for _ in range(2):
        finish(run, arguments)
        assert f"{run} is finished: step {STEPS}" in capsys.readouterr().out
        assert result(run) == result(never_killed)
        assert lines(run) == lines(never_killed)
        (run / "result.json").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (["--seed", "6"], "seed 5, now 6"),
        (["--steps", "199"], "steps 200, now 199"),
        (["--steps", "201", "--seed", "6"], "seed 5, now 6"),
        (["--optim.peak-lr", "0.1"], "optim.peak_lr 0.01, now 0.1"),
        (["--model", "bert-tiny"], "width 16, now 128"),
        (["--batch-size", "9", "--mesh.data", "2"], "batch_size 9 does not divide over 2 batch shards"),
        (["--mesh.tensor", "3"], "2 attention heads do not divide over tensor 3"),
    ],
)
def test_other_settings_are_one_clear_line(arguments, never_killed, change, says, capsys):
    before = lines(never_killed), result(never_killed)
    assert main(["pretrain", "--output", str(never_killed), *arguments, *change]) == 1
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and says in err
    assert (lines(never_killed), result(never_killed)) == before
