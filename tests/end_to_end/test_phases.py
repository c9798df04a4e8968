"""Pre-training in several phases: one position in the data, one state, and kills that change nothing."""

import json
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from costly import COSTLY
from runs import has_logged, last_logged_step, read_log, read_result, wait_for

import bert_jax.verbs.pretrain
from bert_jax.cli import main
from bert_jax.config import from_table
from bert_jax.data.pretraining.record import read_manifest
from bert_jax.data.pretraining.stream import PretrainingBatches, Shards
from bert_jax.settings.pretrain import PretrainConfig
from bert_jax.sharding import MeshConfig, make_mesh
from bert_jax.train.run import Plan, open_run
from bert_jax.verbs.pretraining_data import PhasedBatches, PretrainingData
from data_prep.job.build import build_shards
from data_prep.settings import ShardsConfig

SMALL_MODEL = "vocab_size = 50\nwidth = 16\ndepth = 1\nheads = 2\nmlp_width = 24\nmax_length = 30\n"
BORDER, STEPS = 12, 20
RUN = """
batch-size = 8
seed = 5
log-every = 1
save-every = 4
keep = 99
evaluate-every = 4
held-out-examples = 20
[optim]
peak-lr = 1e-2
[mesh]
data = 1
"""
SHORT = f'[[phases]]\ndata = "data/shards"\nsteps = {BORDER}\n'
LONG = f'[[phases]]\ndata = "longer"\nsteps = {STEPS - BORDER}\nbatch-size = 6\n'
OWN_RATE = "[phases.optim]\npeak-lr = 2e-3\nwarmup = 0.5\n"
BOTH = SHORT + LONG + OWN_RATE


@pytest.fixture(scope="session")
def arguments(root: Path, model: str) -> Callable[..., list[str]]:
    """Return a function that writes a run file beside `run` and returns the arguments of its command."""

    def write(run: Path, phases: str = BOTH, *flags: object) -> list[str]:
        file = run.with_suffix(".toml")
        file.write_text(f'data = "{root}"\nmodel = "{model}"\n{RUN}\n{phases}')
        return [str(file), "--output", str(run), *map(str, flags)]

    return write


@pytest.fixture(scope="session")
def undisturbed(arguments, once) -> Path:
    """Return a finished run of two phases."""
    return once("phases", lambda run: finish(arguments(run)))


def finish(arguments: list[str]) -> None:
    assert main(["pretrain", *arguments]) == 0


def config_of(root: Path, phases: list[dict], **settings) -> PretrainConfig:
    table = {"data": str(root), "output": "run", "batch_size": 8, "seed": 3, "phases": phases}
    return from_table(PretrainConfig, {**table, **settings}, "test")


def rates(run: Path) -> list[float]:
    return [line["learning_rate"] for line in read_log(run) if line["split"] == "train"]


def outcome(run: Path) -> tuple[dict, list[dict]]:
    """Return the result and the log of a run, without times."""
    return read_result(run), read_log(run)


def test_a_run_of_two_phases_is_one_curve_with_one_result(undisturbed):
    log = read_log(undisturbed)
    assert [line["step"] for line in log if line["split"] == "train"] == list(range(1, STEPS + 1))
    assert [line["step"] for line in log if line["split"] == "held_out"] == [4, 8, 12, 16, 20]
    assert read_result(undisturbed)["step"] == STEPS
    whole = [1e-2 * (1 - step / STEPS) for step in range(BORDER)]
    own = [2e-3 * step / 4 for step in range(4)] + [2e-3 * (1 - step / 4) for step in range(4)]
    assert rates(undisturbed) == pytest.approx(whole + own, rel=1e-5)


@pytest.mark.parametrize(
    "newest",
    [pytest.param(step, marks=() if step == BORDER else COSTLY) for step in (4, BORDER - 4, BORDER, BORDER + 4)],
)
def test_a_run_resumed_in_a_phase_and_at_the_border_repeats_itself(arguments, undisturbed, tmp_path, newest):
    run = Path(shutil.copytree(undisturbed, tmp_path / "run"))
    (run / "result.json").unlink()
    for checkpoint in (run / "checkpoints").iterdir():
        if int(checkpoint.name) > newest:
            shutil.rmtree(checkpoint)
    finish(arguments(run))
    assert outcome(run) == outcome(undisturbed)


@pytest.mark.parametrize("step", [BORDER - 1, BORDER, BORDER + 1])
@COSTLY
def test_a_run_that_dies_about_the_border_repeats_the_undisturbed_one(
    arguments, undisturbed, tmp_path, monkeypatch, step
):
    """The batch after `step` steps is not read."""
    read, run = PhasedBatches.batch, tmp_path / "run"

    def fail(batches: PhasedBatches, number: int) -> dict[str, np.ndarray]:
        if number == step and (run / "metrics.jsonl").exists() and last_logged_step(run) >= step - 1:
            raise KeyboardInterrupt
        return read(batches, number)

    with monkeypatch.context() as patch:
        patch.setattr("bert_jax.train.loop.PREFETCHED_BATCHES", 0)
        patch.setattr(PhasedBatches, "batch", fail)
        with pytest.raises(KeyboardInterrupt):
            bert_jax.verbs.pretrain.pretrain(config_from(arguments(run)))
    assert not (run / "result.json").exists() and last_logged_step(run) == step
    finish(arguments(run))
    assert outcome(run) == outcome(undisturbed)


def config_from(arguments: list[str]) -> PretrainConfig:
    from bert_jax.settings.command_line import parse

    return parse(PretrainConfig, arguments, prog="test")


def test_a_run_killed_in_both_phases_repeats_the_undisturbed_one(arguments, undisturbed, command, tmp_path):
    run = tmp_path / "run"
    for step in (5, BORDER + 3):
        process = command("pretrain", *arguments(run))
        wait_for(has_logged(run, step), process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (run / "result.json").exists()
    finish(arguments(run))
    assert outcome(run) == outcome(undisturbed)


def test_phases_that_are_equal_in_everything_are_a_run_without_phases(arguments, shards, model, tmp_path):
    half = '[[phases]]\ndata = "data/shards"\nsteps = 10\n'
    finish(arguments(tmp_path / "phases", half + half))
    (tmp_path / "plain.toml").write_text(f'data = "{shards}"\nmodel = "{model}"\nsteps = 20\n{RUN}')
    finish([str(tmp_path / "plain.toml"), "--output", str(tmp_path / "plain")])
    assert outcome(tmp_path / "phases") == outcome(tmp_path / "plain")
    assert "[phases]" not in open_run(tmp_path / "plain").settings()


def test_phases_on_the_same_shards_read_each_row_once_an_epoch(root):
    """With growing batches, and with another phase between them."""
    size = len(Shards(root / "data" / "shards", "train"))
    same = {"data": "data/shards"}
    config = config_of(
        root,
        [
            {**same, "steps": 5, "batch_size": 4},
            {"data": "longer", "steps": 3},
            {**same, "steps": 7, "batch_size": 6},
            {**same, "steps": size},
        ],
    )
    batches = PretrainingData(config).training_batches(make_mesh(MeshConfig(1)))
    read = [batches.batch(step) for step in range(15 + size)]
    rows = np.concatenate([batch["tokens"] for batch in read if batch["tokens"].shape[1] == 24])
    plain = PretrainingBatches(Shards(root / "data" / "shards", "train"), 1, seed=3)
    assert all(np.array_equal(row, plain.batch(place)["tokens"][0]) for place, row in enumerate(rows[: size + 9]))
    of_first_epoch = Counter(row.tobytes() for row in Shards(root / "data" / "shards", "train").read(np.arange(size)))
    assert len(rows) > size and sum(of_first_epoch.values()) == size
    other = PretrainingBatches(Shards(root / "longer", "train"), 8, seed=3)
    for step in range(3):
        assert np.array_equal(read[5 + step]["tokens"], other.batch(step)["tokens"])


def test_held_out_evaluation_uses_the_rows_of_the_phase(arguments, tmp_path, monkeypatch):
    lengths, evaluate = [], bert_jax.verbs.pretrain.evaluate

    def noted(program, batches, params) -> dict[str, float]:
        lengths.append(batches[0]["tokens"].shape)
        return evaluate(program, batches, params)

    monkeypatch.setattr(bert_jax.verbs.pretrain, "evaluate", noted)
    finish(arguments(tmp_path / "run"))
    assert lengths == [(8, 24)] * 3 + [(6, 32)] * 2  # after 4, 8, 12, 16 and 20 steps


def test_a_phase_has_micro_batches_of_its_own(arguments, tmp_path):
    finish(arguments(tmp_path / "whole", SHORT + LONG, "--dropout", 0))
    finish(arguments(tmp_path / "parts", f"{SHORT}{LONG}accumulate = 3\n", "--dropout", 0))
    losses = [[line["loss"] for line in read_log(tmp_path / run) if "loss" in line] for run in ("whole", "parts")]
    assert losses[0][:BORDER] == losses[1][:BORDER] and losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_the_last_phase_is_lengthened(arguments, undisturbed, tmp_path, capfd):
    run = Path(shutil.copytree(undisturbed, tmp_path / "run"))
    longer = BOTH.replace(f"steps = {STEPS - BORDER}", "steps = 12")
    finish(arguments(run, longer))
    assert f"planned for {STEPS} steps, lengthened to 24" in capfd.readouterr().err
    assert read_result(run)["step"] == 24 and open_run(run).plans() == [Plan(until=STEPS, steps=STEPS, now=24)]
    assert read_log(run)[: len(read_log(undisturbed))] == read_log(undisturbed)
    assert rates(run)[STEPS:] == pytest.approx([2e-3 * (4 - step) / 6 for step in range(4)], rel=1e-5)
    again = Path(shutil.copytree(run, tmp_path / "again"))
    (again / "result.json").unlink()
    shutil.rmtree(again / "checkpoints" / "24")
    shutil.rmtree(again / "checkpoints" / "20")
    finish(arguments(again, longer))
    assert outcome(again) == outcome(run)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("batch-size = 6", "batch-size = 4", "phase 2: batch_size 6, now 4. Choose another --output"),
        ("steps = 12", "steps = 13", "phase 1: steps 12, now 13. Choose another --output"),
        ("steps = 8", "steps = 7", "phase 2: steps 8, now 7. Choose another --output"),
        ("peak-lr = 2e-3", "peak-lr = 1e-3", "phase 2: optim.peak_lr 0.002, now 0.001. Choose"),
        ('data = "data/shards"', 'data = "longer"', "phase 1 of {run} was started on data "),
        (LONG, f'{LONG}[[phases]]\ndata = "longer"\nsteps = 3\n', "phase 3: steps None, now 3"),
    ],
    ids=lambda value: value.split("\n")[0],
)
def test_other_settings_at_resume_are_refused_and_name_the_phase(
    arguments, undisturbed, tmp_path, before, after, says, capsys
):
    run = Path(shutil.copytree(undisturbed, tmp_path / "run"))
    assert main(["pretrain", *arguments(run, BOTH.replace(before, after))]) == 1
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and says.format(run=run) in err


@pytest.mark.parametrize(
    ("phases", "flags", "says"),
    [
        ("[[phases]]\nsteps = 3\n", (), "phase 1: missing data"),
        (SHORT + LONG, ("--steps", 30), "steps is 30; 2 phases together have 20. Leave it out"),
        (
            SHORT + LONG,
            ("--data", "{root}/longer"),
            "is a folder of shards, and the phases have their own: data/shards",
        ),
        (SHORT + LONG + "lenght = 3\n", (), "phase 2: unknown key 'lenght'; "),
        (SHORT + LONG, ("--model", "{root}/variants/model.toml"), "phase 2: {root}/longer has sequences of 32 tokens"),
        (SHORT.replace("data/shards", "nowhere"), (), "phase 1: {root}/nowhere: no such folder"),
        (SHORT + LONG, ("--mesh.data", 4), "phase 2: batch_size 6 does not divide over 4 batch shards"),
        (
            SHORT + '[[phases]]\ndata = "other"\nsteps = 3\n',
            (),
            "phase 2: {root}/other was made with another tokenizer",
        ),
        (SHORT + '[[phases]]\ndata = "packed"\nsteps = 3\n', (), "phase 2: {root}/packed holds packed, "),
        (SHORT + '[[phases]]\ndata = "none"\nsteps = 3\n', (), "phase 2: {root}/none has no held-out examples"),
        (SHORT + SHORT + "accumulate = 2\n", (), "phase 2: accumulate is 2, that of phase 1 with batches of the same"),
        (
            BOTH,
            ("--from", "{root}/phases", "--decay-from", 4),
            "--decay-from 4: phase 2 has a learning rate of its own",
        ),
    ],
)
def test_a_run_file_with_a_mistake_is_refused_in_a_line(
    arguments, root, undisturbed, variants, tmp_path, phases, flags, says, capsys
):
    flags = [str(flag).format(root=root) for flag in flags]
    assert main(["pretrain", *arguments(tmp_path / "run", phases, *flags)]) == 1
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and says.format(root=root) in err
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="session")
def variants(root, once) -> None:
    """Make shards beside the others: with another vocabulary, of another kind, and without held-out examples."""
    corpus, vocabulary = root / "data" / "corpus", root / "data" / "vocab.txt"

    def make(folder: Path) -> None:
        folder.mkdir()
        (folder / "model.toml").write_text(SMALL_MODEL)
        (folder / "vocab.txt").write_text(vocabulary.read_text() + "more\n")
        settings = {"input": (str(corpus),), "length": 32, "held_out": 0.1, "workers": 1}
        settings |= {"tokenizer": str(vocabulary)}
        changes = {
            "other": {"tokenizer": str(folder / "vocab.txt")},
            "packed": {"examples": "packed"},
            "none": {"held_out": 0.0},
        }
        for name, change in changes.items():
            build_shards(ShardsConfig(output=str(root / name), **settings | change))

    once("variants", make)


def test_inspect_lists_the_phases(undisturbed, root, capsys):
    assert main(["inspect", str(undisturbed), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["phases"] == [
        f"12 steps of 8 rows from {root}/data/shards",
        f"8 steps of 6 rows from {root}/longer at a learning rate of their own",
    ]


def test_a_phase_with_other_pairs_needs_no_next_sentence(arguments, root, variants, tmp_path):
    packed = SHORT + '[[phases]]\ndata = "packed"\nsteps = 3\n'
    finish(arguments(tmp_path / "run", packed, "--no-next-sentence"))
    assert open_run(tmp_path / "run").record()["task"]["examples"] == "pairs and packed"
    assert read_manifest(root / "packed").kind == "packed"
