"""What a run folder says of itself, and which checkpoint a path means."""

import json
from pathlib import Path

import pytest

from bert_jax.cpu import THREADS, cores
from bert_jax.errors import UserError
from bert_jax.model.presets import resolve
from bert_jax.settings.pretrain import PretrainConfig
from bert_jax.text.wordpiece import WordPieceTokenizer
from bert_jax.text.wordpiece_rules import WordPieceRules
from bert_jax.train.run import RunFolder, is_run, resolve_checkpoint, start_or_resume
from bert_jax.train.run_record import describe_change, new_about, threads_of
from bert_jax.train.seal import sealed

ABOUT = {
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
    """A run with checkpoints of steps 5 and 7, as far as its names go."""
    folder = tmp_path / "runs" / "first"
    for step in (5, 7):
        (folder / "checkpoints" / str(step)).mkdir(parents=True)
        (folder / "checkpoints" / str(step) / "SEAL.json").write_text("{}")
    (folder / "run.toml").write_text("steps = 7\n")
    (folder / "run.json").write_text(json.dumps(ABOUT))
    return folder


def test_a_checkpoint_is_known_by_where_its_path_leads(run, monkeypatch, tmp_path):
    five = run / "checkpoints" / "5"
    (run / "checkpoints" / "LATEST").symlink_to("5")
    (tmp_path / "best").symlink_to(five)
    (tmp_path / "again").symlink_to("best")
    for path in (five, run / "checkpoints" / "LATEST", tmp_path / "best", tmp_path / "again", five / ".." / "5"):
        assert is_run(path)
        found, checkpoint = resolve_checkpoint(path)
        assert checkpoint.samefile(five) and found.path.samefile(run)
    for folder, name in ((five, "."), (run / "checkpoints", "5"), (run / "checkpoints", "LATEST"), (five, "../5")):
        monkeypatch.chdir(folder)
        assert resolve_checkpoint(Path(name))[1].samefile(five)
    monkeypatch.chdir(run)
    assert resolve_checkpoint(Path())[1].name == "7"


def test_checkpoints_may_lie_on_another_disk(run, tmp_path):
    (run / "checkpoints").rename(tmp_path / "large")
    (run / "checkpoints").symlink_to(tmp_path / "large")
    (tmp_path / "large" / "LATEST").symlink_to("5")
    for name in ("5", "LATEST"):
        found, checkpoint = resolve_checkpoint(run / "checkpoints" / name)
        assert found.path == run and checkpoint.name == "5"


def test_what_is_no_checkpoint_is_none(run, tmp_path):
    (tmp_path / "checkpoints" / "500").mkdir(parents=True)  # of another library
    (tmp_path / "turning").symlink_to("turning")
    for path in (
        tmp_path / "checkpoints" / "500",
        tmp_path / "turning",
        run / "checkpoints",
        run / "checkpoints" / "x",
    ):
        assert not is_run(path)
    with pytest.raises(UserError, match="no such checkpoint; there are 5, 7"):
        resolve_checkpoint(run / "checkpoints" / "6")


@pytest.mark.parametrize("best", [".", "..", "", "../runs", "/etc", "first/..", 3, None, ["first"]])
def test_a_folder_of_runs_names_one_of_its_own(run, best):
    (run.parent / "runs.json").write_text(json.dumps({"best": best}))
    with pytest.raises(UserError, match=r"runs.json: best is .* the name of a run in .* is expected"):
        resolve_checkpoint(run.parent)


def test_a_folder_of_runs_means_the_best_of_them(run):
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
def test_a_field_of_run_json_that_is_none_of_ours_is_named(run, change, says):
    (run / "run.json").write_text(json.dumps({**ABOUT, **change}))
    with pytest.raises(UserError, match=says) as error:
        RunFolder(run).about()
    assert str(run / "run.json") in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", [name for name in ABOUT if name.endswith("fingerprint")] + ["kind", "task"])
def test_a_field_that_run_json_lacks_is_named(run, name):
    (run / "run.json").write_text(json.dumps({key: value for key, value in ABOUT.items() if key != name}))
    with pytest.raises(UserError, match=f"run.json: missing {name}"):
        RunFolder(run).about()


@pytest.mark.parametrize("text", ["{", "[]", '{"step": "5"}', '{"step": 5, "dev": {"main": "high"}}'])
def test_a_result_that_is_none_says_how_to_go_on(run, text):
    (run / "result.json").write_text(text)
    with pytest.raises(UserError, match=r"result.json.*Remove the file, and start the command of the run again"):
        RunFolder(run).result()


def test_what_a_run_says_is_sealed(run):
    RunFolder(run).write_result({"step": 7, "best_step": 7, "dev": {"main": 0.5}})
    assert RunFolder(run).result() == {"step": 7, "best_step": 7, "dev": {"main": 0.5}}
    for name, before, after in (("result.json", '"best_step": 7', '"best_step": 5'), ("run.json", '"a"', '"c"')):
        text = (run / name).read_text()
        content = json.dumps(sealed(json.loads(text))) if name == "run.json" else text
        (run / name).write_text(content.replace(before, after))
        with pytest.raises(UserError, match=f"{name}: has changed since it was written"):
            RunFolder(run).result(), RunFolder(run).about()
        (run / name).write_text(text)


def test_a_result_decides_which_checkpoint_a_run_means(run):
    assert resolve_checkpoint(run)[1].name == "7"
    (run / "result.json").write_text('{"step": 7, "best_step": 5}')
    assert resolve_checkpoint(run)[1].name == "5"
    (run / "result.json").write_text('{"step": 9}')
    with pytest.raises(UserError, match=r"names step 9, .* has 5, 7"):
        resolve_checkpoint(run)


def test_a_run_goes_on_with_the_threads_that_it_was_begun_with(run, tmp_path):
    assert threads_of([tmp_path / "new", run]) == 3
    assert threads_of([tmp_path / "new"]) is None
    (run / "run.json").write_text(json.dumps({**ABOUT, "devices": "8 x NVIDIA H100"}))
    assert threads_of([run]) is None
    (run / "run.json").write_text("{")
    assert threads_of([run]) is None


def test_a_run_on_another_shape_of_machine_says_so(monkeypatch):
    monkeypatch.setenv(THREADS, str(cores()))
    begun = new_about("pretrain", {}, data="", tokenizer="", model="")
    assert describe_change(begun) == []
    assert describe_change({name: begun[name] for name in ("devices", "versions")}) == []  # as older versions wrote it
    for change, says in (
        ({"threads": 77}, f"threads 77, here {cores()}"),
        ({"cpu": "Abacus"}, "CPU Abacus, here "),
        ({"devices": "8 x TPU v5e"}, "devices 8 x TPU v5e, here "),
        ({"versions": {"jaxlib": "0.1"}}, "jaxlib 0.1, here 0."),
    ):
        (told,) = describe_change(begun | change)
        assert says in told and "to about 1e-6, not to the bit" in told
    monkeypatch.setenv(THREADS, "77")
    (told,) = describe_change(begun | {"threads": 77})
    assert "was begun with threads 77 and goes on so" in told and f"--threads {cores()}" in told


def begin(folder: Path, batch_size: int, *, data: str = "data", extra: str = "b") -> RunFolder:
    """Begin or resume a run with these settings, as a command does."""
    tokenizer = WordPieceTokenizer(
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", extra], WordPieceRules(lowercase=True)
    )
    config = PretrainConfig(Path("shards"), folder, 10, batch_size=batch_size)
    return start_or_resume(folder, config, resolve("tiny-test", 7), tokenizer, kind="pretrain", task={}, data=data)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"batch_size": 8}, "batch_size 256, now 8"),
        ({"data": "other"}, "was started on data data..., this is other"),
        ({"extra": "c"}, "another tokenizer"),
    ],
)
def test_a_run_without_a_checkpoint_is_begun_anew_with_other_settings(tmp_path, capsys, change, says):
    """A run that did not fit into memory leaves a folder with nothing in it that could be lost."""
    run = begin(tmp_path / "run", 256)
    first = run.about()["run"]
    (run.path / "metrics.jsonl").write_text('{"step": 1, "split": "train"}\n')
    (run.path / "checkpoints" / "5.orbax-checkpoint-tmp").mkdir(parents=True)
    (run.path / "slurm-12.out").write_text("the user's own")
    again = begin(run.path, **{"batch_size": 256} | change)
    said = capsys.readouterr().err
    assert says in said and "no checkpoint yet, so it is begun anew" in said and said.count("\n") == 1
    assert again.about()["run"] != first and again.tokenizer().fingerprint == again.about()["tokenizer_fingerprint"]
    assert again.settings_table()["batch_size"] == change.get("batch_size", 256)
    assert (run.path / "slurm-12.out").read_text() == "the user's own" and not (run.path / "metrics.jsonl").exists()


@pytest.mark.parametrize("there", ["checkpoints/5/SEAL.json", "checkpoints/5.damaged/SEAL.json", "result.json"])
def test_a_run_that_has_made_something_is_not_begun_anew(tmp_path, there):
    run = begin(tmp_path / "run", 256)
    (run.path / there).parent.mkdir(parents=True, exist_ok=True)
    (run.path / there).write_text("{}")
    with pytest.raises(UserError, match=r"batch_size 256, now 8\. Choose another --output"):
        begin(run.path, 8)
