"""A run that is killed and resumed ends like one that was never killed."""

import random
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from costly import COSTLY
from runs import has_logged, last_logged_step, read_log, read_result, wait_for, wait_for_exit

import bert_jax.train.run
from bert_jax.cli import main
from bert_jax.train.run import Plan, open_run

STEPS = 200
SETTINGS = ["--steps", STEPS, "--batch-size", 8, "--optim.peak-lr", 1e-2, "--seed", 5, "--log-every", 1]
INTERVALS = ["--save-every", 20, "--evaluate-every", 50, "--held-out-examples", 20]


@pytest.fixture(scope="session")
def arguments(shards, model) -> list[str]:
    return [str(part) for part in ("--data", shards, "--model", model, *SETTINGS, *INTERVALS, "--mesh.data", 1)]


@pytest.fixture(scope="session")
def pretrain(command, arguments):
    """Return a function that starts pre-training in a process of its own."""
    return lambda output, *more: command("pretrain", "--output", output, *arguments, *more)


@pytest.fixture(scope="session")
def never_killed(arguments, once) -> Path:
    """Return a finished run that was never interrupted."""
    return once("never-killed", lambda run: finish(run, arguments))


def finish(run: Path, arguments: list[str], *more: object) -> None:
    """Run pre-training to its end, in this process."""
    assert main(["pretrain", "--output", str(run), *arguments, *map(str, more)]) == 0


def kill(process) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_run_stopped_and_killed_twice_repeats_the_uninterrupted_one(
    pretrain, arguments, never_killed, tmp_path, capfd
):
    run = tmp_path / "killed"
    process = pretrain(run)
    wait_for(has_logged(run, 15), process)
    process.send_signal(signal.SIGTERM)
    code, _, err = wait_for_exit(process)
    stopped_at = last_logged_step(run)
    assert code == 75 and 15 <= stopped_at < STEPS
    assert f"SIGTERM: saved step {stopped_at} of {STEPS}" in err and "Traceback" not in err

    rng = random.Random(1)
    for number in range(2):
        process = pretrain(run)
        wait_for(has_logged(run, last_logged_step(run) + rng.randint(3, 20)), process)
        if number == 1:
            wait_for(lambda: any(run.glob("checkpoints/*.orbax-checkpoint-tmp*")), process)
        kill(process)
        assert not (run / "result.json").exists()
    finish(run, arguments)
    assert "goes on after step" in capfd.readouterr().err
    assert read_result(run) == read_result(never_killed)
    assert read_log(run) == read_log(never_killed)
    assert {line["step"] for line in read_log(run) if line["split"] == "train"} == set(range(1, STEPS + 1))
    assert {line["step"] for line in read_log(run) if line["split"] == "held_out"} == {50, 100, 150, 200}


def test_a_run_with_a_damaged_newest_checkpoint_resumes_from_the_one_before(arguments, never_killed, tmp_path, capfd):
    run = Path(shutil.copytree(never_killed, tmp_path / "damaged"))
    (run / "result.json").unlink()
    path = max((run / "checkpoints" / str(STEPS) / "params" / "d").iterdir(), key=lambda p: p.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    finish(run, arguments)
    err = capfd.readouterr().err
    assert f"checkpoints/{STEPS} is damaged" in err and "goes on after step 180" in err
    assert read_result(run) == read_result(never_killed)
    assert read_log(run) == read_log(never_killed)


def test_a_run_resumed_on_another_mesh_has_the_same_losses(arguments, never_killed, tmp_path):
    run = Path(shutil.copytree(never_killed, tmp_path / "moved"))
    (run / "result.json").unlink()
    shutil.rmtree(run / "checkpoints" / str(STEPS))
    finish(run, arguments, "--mesh.data", 2, "--mesh.fsdp", 2, "--mesh.tensor", 2)
    np.testing.assert_allclose(losses(run), losses(never_killed), rtol=1e-5)


def losses(run: Path) -> np.ndarray:
    """Return both losses of each record of a log."""
    return np.array([[line["mlm_loss"], line["nsp_loss"]] for line in read_log(run)])


LONGER = ["--steps", 230]


@pytest.fixture(scope="session")
def lengthened(arguments, never_killed, once) -> Path:
    """Return a copy of the finished run that went on for 30 more steps."""

    def make(run: Path) -> None:
        shutil.copytree(never_killed, run)
        finish(run, arguments, *LONGER)

    return once("lengthened", make)


def test_a_lengthened_run_goes_on_with_a_longer_schedule(lengthened, never_killed):
    assert read_result(lengthened)["step"] == 230
    assert read_log(lengthened)[: len(read_log(never_killed))] == read_log(never_killed)
    assert open_run(lengthened).plans() == [Plan(until=STEPS, steps=STEPS, now=230)]
    assert "steps = 230" in open_run(lengthened).settings()
    norms = [line["gradient_norm"] for line in read_log(lengthened) if line["split"] == "train"]
    assert len(set(norms[STEPS:])) == 30  # parameters move again, where the learning rate had come to 0
    rates = [line["learning_rate"] for line in read_log(lengthened) if line["split"] == "train"]
    assert rates[STEPS - 1] == pytest.approx(1e-2 / 198, rel=1e-5) and rates[STEPS] == pytest.approx(
        1e-2 * 30 / 228, rel=1e-5
    )


@pytest.mark.parametrize("newest", [pytest.param(220, marks=COSTLY), STEPS, STEPS - 20])
def test_a_lengthened_run_repeats_itself_from_any_checkpoint(
    arguments, lengthened, never_killed, tmp_path, newest, capfd
):
    """Also from one before the change: up to its step, the learning rate is that of the shorter run."""
    run = Path(shutil.copytree(lengthened, tmp_path / "run"))
    (run / "result.json").unlink()
    shutil.rmtree(run / "checkpoints")
    source = lengthened if newest > STEPS else never_killed
    shutil.copytree(source / "checkpoints" / str(newest), run / "checkpoints" / str(newest))
    finish(run, arguments, *LONGER)
    err = capfd.readouterr().err
    assert f"goes on after step {newest} of 230" in err
    assert "planned for 200 steps, lengthened to 230 after step 200" in err
    assert read_result(run) == read_result(lengthened)
    assert read_log(run) == read_log(lengthened)


def test_a_kill_while_a_run_is_lengthened_leaves_the_old_or_the_new_run(
    arguments, lengthened, never_killed, tmp_path, monkeypatch
):
    run = Path(shutil.copytree(never_killed, tmp_path / "run"))
    write = bert_jax.train.run.write_text

    def kill_before_settings(path: Path, text: str) -> None:
        if path.name == "run.toml":
            raise KeyboardInterrupt
        write(path, text)

    with monkeypatch.context() as patch:
        patch.setattr("bert_jax.train.run.write_text", kill_before_settings)
        assert main(["pretrain", "--output", str(run), *arguments, *map(str, LONGER)]) == 130
    old = Path(shutil.copytree(run, tmp_path / "old"))
    finish(old, arguments)
    assert read_result(old) == read_result(never_killed)
    finish(run, arguments, *LONGER)
    assert read_result(run) == read_result(lengthened)


def test_a_finished_run_is_not_trained_again_and_a_lost_result_is_rewritten(arguments, never_killed, tmp_path, capsys):
    run = Path(shutil.copytree(never_killed, tmp_path / "finished"))
    for _ in range(2):
        finish(run, arguments)
        assert f"{run} is finished: step {STEPS}" in capsys.readouterr().out
        assert read_result(run) == read_result(never_killed)
        assert read_log(run) == read_log(never_killed)
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
def test_other_settings_are_refused_in_one_line(arguments, never_killed, change, says, capsys):
    before = read_log(never_killed), read_result(never_killed)
    assert main(["pretrain", "--output", str(never_killed), *arguments, *change]) == 1
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and says in err
    assert (read_log(never_killed), read_result(never_killed)) == before


def test_a_run_does_not_become_deterministic(arguments, never_killed, capsys):
    assert main(["pretrain", "--output", str(never_killed), *arguments, "--deterministic"]) == 1
    remark, refusal = capsys.readouterr().err.splitlines()
    assert "--deterministic changes nothing on a CPU" in remark
    assert "deterministic False, now True. Choose another --output" in refusal
