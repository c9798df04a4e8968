"""Files of a run folder, and the checkpoint that a path stands for."""

import json
from pathlib import Path

import pytest

from bert_jax.cpu import THREADS_VARIABLE, usable_cores
from bert_jax.errors import UserError
from bert_jax.model.presets import resolve
from bert_jax.settings.pretrain import PretrainConfig
from bert_jax.text.wordpiece import WordPieceTokenizer
from bert_jax.text.wordpiece_rules import WordPieceRules
from bert_jax.train.run import RunFolder, is_run, resolve_checkpoint
from bert_jax.train.run_record import describe_change, new_run_record, threads_of
from bert_jax.train.run_start import start_or_resume
from bert_jax.train.seal import sealed

RUN_RECORD = {
    "run": "abc",
    "kind": "finetune",
    "task": {"name": "rows", "head": "sequence", "labels": ["a", "b"], "max_length": 12, "columns": {"text": "body"}},
    "data_fingerprint": "data",
    "tokenizer_fingerprint": "ids",
    "devices": "1 x cpu",
    "threads": 3,
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run folder with empty checkpoints of steps 5 and 7."""
    folder = tmp_path / "runs" / "first"
    for step in (5, 7):
        (folder / "checkpoints" / str(step)).mkdir(parents=True)
        (folder / "checkpoints" / str(step) / "SEAL.json").write_text("{}")
    (folder / "run.toml").write_text("steps = 7\n")
    (folder / "run.json").write_text(json.dumps(RUN_RECORD))
    return folder


def test_a_path_or_link_to_a_checkpoint_stands_for_it(run, monkeypatch, tmp_path):
    five = run / "checkpoints" / "5"
    (run / "checkpoints" / "LATEST").symlink_to("5")
    (tmp_path / "best").symlink_to(five)
    (tmp_path / "again").symlink_to("best")
    for path in (five, run / "checkpoints" / "LATEST", tmp_path / "best", tmp_path / "again", five / ".." / "5"):
        assert is_run(path)
        resolved, checkpoint = resolve_checkpoint(path)
        assert checkpoint.samefile(five) and resolved.path.samefile(run)
    for folder, name in ((five, "."), (run / "checkpoints", "5"), (run / "checkpoints", "LATEST"), (five, "../5")):
        monkeypatch.chdir(folder)
        assert resolve_checkpoint(Path(name))[1].samefile(five)
    monkeypatch.chdir(run)
    assert resolve_checkpoint(Path())[1].name == "7"


def test_the_checkpoints_folder_may_be_a_link(run, tmp_path):
    (run / "checkpoints").rename(tmp_path / "large")
    (run / "checkpoints").symlink_to(tmp_path / "large")
    (tmp_path / "large" / "LATEST").symlink_to("5")
    for name in ("5", "LATEST"):
        resolved, checkpoint = resolve_checkpoint(run / "checkpoints" / name)
        assert resolved.path == run and checkpoint.name == "5"


def test_paths_to_other_things_are_no_runs(run, tmp_path):
    (tmp_path / "checkpoints" / "500").mkdir(parents=True)  # of another library
    (tmp_path / "loop").symlink_to("loop")
    for path in (
        tmp_path / "checkpoints" / "500",
        tmp_path / "loop",
        run / "checkpoints",
        run / "checkpoints" / "x",
    ):
        assert not is_run(path)
    with pytest.raises(UserError, match="no such checkpoint; there are 5, 7"):
        resolve_checkpoint(run / "checkpoints" / "6")


@pytest.mark.parametrize("best", [".", "..", "", "../runs", "/etc", "first/..", 3, None, ["first"]])
def test_the_best_of_several_runs_is_in_their_folder(run, best):
    (run.parent / "runs.json").write_text(json.dumps({"best": best}))
    with pytest.raises(UserError, match=r"runs.json: best is .* the name of a run in .* is expected"):
        resolve_checkpoint(run.parent)


def test_a_folder_of_several_runs_stands_for_the_best_of_them(run):
    (run.parent / "runs.json").write_text('{"best": "first"}')
    assert resolve_checkpoint(run.parent)[0].path == run
    (run / "runs.json").write_text('{"best": "first"}')  # a folder of runs within a folder of runs
    (run / "run.toml").unlink()
    with pytest.raises(UserError, match="not a run folder"):
        resolve_checkpoint(run.parent)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "other"}, "kind is 'other', not one of"),
        ({"task": []}, r"task is \[\], dict is expected"),
        ({"data_fingerprint": None}, "data_fingerprint is None, str is expected"),
        ({"task": {"labels": [1]}}, "task: labels is 1, str is expected"),
        ({"task": {"max_length": "12"}}, "task: max_length is '12', int is expected"),
        ({"task": {"columns": {"txt": "a"}}}, "columns has an unknown key 'txt'"),
        ({"task": {"problem": "guess"}}, "problem is 'guess', not one of"),
        ({"task": {"activation": "relu"}}, "task: activation is 'relu', not one of"),
        ({"task": {"vectors": ["mean"]}}, r"task: vectors is \['mean'\], dict is expected"),
        ({"task": {"max_answer_length": "30"}}, "task: max_answer_length is '30', int is expected"),
        ({"threads": 0.5}, "threads is 0.5, int is expected"),
        ({"lengthened": 3}, "lengthened is 3"),
    ],
)
def test_a_wrong_field_of_run_json_is_named(run, change, says):
    (run / "run.json").write_text(json.dumps({**RUN_RECORD, **change}))
    with pytest.raises(UserError, match=says) as error:
        RunFolder(run).record()
    assert str(run / "run.json") in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", [name for name in RUN_RECORD if name.endswith("fingerprint")] + ["kind", "task"])
def test_a_missing_field_of_run_json_is_named(run, name):
    (run / "run.json").write_text(json.dumps({key: value for key, value in RUN_RECORD.items() if key != name}))
    with pytest.raises(UserError, match=f"run.json: missing {name}"):
        RunFolder(run).record()


@pytest.mark.parametrize("text", ["{", "[]", '{"step": "5"}', '{"step": 5, "dev": {"main": "high"}}'])
def test_a_broken_result_says_how_to_go_on(run, text):
    (run / "result.json").write_text(text)
    with pytest.raises(UserError, match=r"result.json.*Remove the file, and start the command of the run again"):
        RunFolder(run).result()


def test_result_and_run_record_are_sealed(run):
    RunFolder(run).write_result({"step": 7, "best_step": 7, "dev": {"main": 0.5}})
    assert RunFolder(run).result() == {"step": 7, "best_step": 7, "dev": {"main": 0.5}}
    for name, before, after in (("result.json", '"best_step": 7', '"best_step": 5'), ("run.json", '"a"', '"c"')):
        text = (run / name).read_text()
        content = json.dumps(sealed(json.loads(text))) if name == "run.json" else text
        (run / name).write_text(content.replace(before, after))
        with pytest.raises(UserError, match=f"{name}: has changed since it was written"):
            RunFolder(run).result(), RunFolder(run).record()
        (run / name).write_text(text)


def test_a_finished_run_stands_for_its_best_checkpoint(run):
    assert resolve_checkpoint(run)[1].name == "7"
    (run / "result.json").write_text('{"step": 7, "best_step": 5}')
    assert resolve_checkpoint(run)[1].name == "5"
    (run / "result.json").write_text('{"step": 9}')
    with pytest.raises(UserError, match=r"names step 9, .* has 5, 7"):
        resolve_checkpoint(run)


def test_a_run_is_resumed_with_the_threads_it_was_started_with(run, tmp_path):
    assert threads_of([tmp_path / "new", run]) == 3
    assert threads_of([tmp_path / "new"]) is None
    (run / "run.json").write_text(json.dumps({**RUN_RECORD, "devices": "8 x NVIDIA H100"}))
    assert threads_of([run]) is None
    (run / "run.json").write_text("{")
    assert threads_of([run]) is None


def test_a_run_that_moved_to_another_machine_says_so(monkeypatch):
    monkeypatch.setenv(THREADS_VARIABLE, str(usable_cores()))
    record = new_run_record("pretrain", {}, data="", tokenizer="", model="")
    assert describe_change(record) == []
    assert describe_change({name: record[name] for name in ("devices", "versions")}) == []  # of an older version
    for change, says in (
        ({"threads": 77}, f"threads 77, here {usable_cores()}"),
        ({"cpu": "Abacus"}, "CPU Abacus, here "),
        ({"devices": "8 x TPU v5e"}, "devices 8 x TPU v5e, here "),
        ({"versions": {"jaxlib": "0.1"}}, "jaxlib 0.1, here 0."),
    ):
        (remark,) = describe_change(record | change)
        assert says in remark and "to about 1e-6, not to the bit" in remark
    monkeypatch.setenv(THREADS_VARIABLE, "77")
    (remark,) = describe_change(record | {"threads": 77})
    assert "was started with threads 77 and goes on with as many" in remark and f"--threads {usable_cores()}" in remark


def start(
    folder: Path, batch_size: int, *, data: str = "data", extra: str = "b", model: str | None = None
) -> RunFolder:
    """Start or resume a run with these settings, as a command does."""
    tokenizer = WordPieceTokenizer(
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", extra], WordPieceRules(lowercase=True)
    )
    config = PretrainConfig(Path("shards"), folder, 10, batch_size=batch_size, model=model)
    return start_or_resume(folder, config, resolve("tiny-test", 7), tokenizer, kind="pretrain", task={}, data=data)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"batch_size": 8}, "batch_size 256, now 8"),
        ({"data": "other"}, "was started on data data..., this is other"),
        ({"extra": "c"}, "another tokenizer"),
    ],
)
def test_a_run_without_a_checkpoint_is_started_again_with_other_settings(tmp_path, capsys, change, says):
    """As after a run that did not fit into memory: its folder has nothing to lose."""
    run = start(tmp_path / "run", 256)
    first = run.record()["run"]
    (run.path / "metrics.jsonl").write_text('{"step": 1, "split": "train"}\n')
    (run.path / "checkpoints" / "5.orbax-checkpoint-tmp").mkdir(parents=True)
    (run.path / "slurm-12.out").write_text("the user's own")
    again = start(run.path, **{"batch_size": 256} | change)
    err = capsys.readouterr().err
    assert says in err and "no checkpoint yet, so it is started again" in err and err.count("\n") == 1
    assert again.record()["run"] != first and again.tokenizer().fingerprint == again.record()["tokenizer_fingerprint"]
    assert again.settings_table()["batch_size"] == change.get("batch_size", 256)
    assert (run.path / "slurm-12.out").read_text() == "the user's own" and not (run.path / "metrics.jsonl").exists()


@pytest.mark.parametrize("name", ["checkpoints/5/SEAL.json", "checkpoints/5.damaged/SEAL.json", "result.json"])
def test_a_run_with_a_checkpoint_or_result_is_not_started_again(tmp_path, name):
    run = start(tmp_path / "run", 256)
    (run.path / name).parent.mkdir(parents=True, exist_ok=True)
    (run.path / name).write_text("{}")
    with pytest.raises(UserError, match=r"batch_size 256, now 8\. Choose another --output"):
        start(run.path, 8)


def test_a_model_file_may_be_spelled_in_another_way_when_a_run_is_resumed(tmp_path, monkeypatch):
    (tmp_path / "small.toml").touch()
    monkeypatch.chdir(tmp_path)
    run = start(tmp_path / "run", 256, model="small.toml")
    (run.path / "result.json").write_text("{}")  # so that it is not started again
    for spelled in (tmp_path / "small.toml", "./small.toml", "run/../small.toml"):
        assert start(run.path, 256, model=str(spelled)).record()["run"] == run.record()["run"]
    with pytest.raises(UserError, match=r"model 'small\.toml', now 'other\.toml'"):
        start(run.path, 256, model="other.toml")
