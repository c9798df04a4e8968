"""A job shared among machines: the parts of each, refusals, signals, and equal bytes."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stories import folder_bytes, story

from bert_jax.errors import Stopped, UserError
from data_prep.checking.check import check_shards
from data_prep.job import build, job_lock
from data_prep.job.array_share import Share, find_share
from data_prep.job.build import build_shards


def start(config, *, before: str = "") -> subprocess.Popen:
    """Start a job in another process. `before` is code to run there first."""
    code = f"""
        import signal, sys
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
        sys.path.insert(0, {str(Path.cwd())!r})
        from bert_jax.errors import Stopped, UserError
        from data_prep.job.build import build_shards
        from data_prep.settings import ShardsConfig
        {before}
        if __name__ == "__main__":
            try:
                build_shards(ShardsConfig(**{dataclasses.asdict(config)!r}), say=print)
            except (Stopped, UserError) as error:
                sys.exit(str(error))
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_parts(folder: Path, count: int, process: subprocess.Popen) -> None:
    while process.poll() is None and len(list(folder.glob("parts/part-*.json"))) < count:
        time.sleep(0.005)


@given(count=st.integers(1, 40), parts=st.integers(0, 200))
def test_shares_cover_all_parts_once_and_evenly(count, parts):
    shares = [Share(index, count).indices(parts) for index in range(count)]
    assert [part for share in shares for part in share] == list(range(parts))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    "settings, environment, expected",
    [
        ({}, {"SLURM_ARRAY_TASK_ID": "3"}, Share(0, 1)),
        ({"part": 2, "parts": 5}, {"JOB_COMPLETION_INDEX": "4"}, Share(2, 5)),
        ({"parts": 5}, {"JOB_COMPLETION_INDEX": "4"}, Share(4, 5)),
        ({"parts": 5}, {"SLURM_ARRAY_TASK_ID": "13", "SLURM_ARRAY_TASK_MIN": "10"}, Share(3, 5)),
        ({"parts": 1}, {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_MIN": "1"}, Share(0, 1)),
    ],
)
def test_share_comes_from_the_settings_or_the_scheduler(configure, settings, environment, expected):
    assert find_share(configure(**settings), environment) == expected


@pytest.mark.parametrize(
    "settings, environment, says",
    [
        ({"part": 2}, {}, "--part 2 of how many"),
        ({"parts": 5}, {}, r"--parts 5 needs --part \(0 to 4\)"),
        ({"part": 5, "parts": 5}, {}, "--part is 5; with --parts 5 it lies between 0 and 4"),
        ({"parts": 5}, {"JOB_COMPLETION_INDEX": "7"}, "JOB_COMPLETION_INDEX is 7"),
        ({"parts": 5}, {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "1"}, "the Slurm array has 1 tasks"),
        ({"parts": 0}, {}, "parts is 0"),
    ],
)
def test_impossible_share_is_refused(configure, settings, environment, says):
    with pytest.raises(UserError, match=says):
        find_share(configure(**settings), environment)


@pytest.mark.parametrize("count", [1, 3, 5, 99])
def test_shares_in_any_order_make_the_bytes_of_one_job(tmp_path, configure, count):
    manifest = build_shards(configure("one"))
    manifests = [build_shards(configure("shared", part=index, parts=count)) for index in reversed(range(count))]
    assert manifests[-1] == manifest and (manifests[0] is None or count == 1)
    assert folder_bytes(tmp_path / "shared") == folder_bytes(tmp_path / "one")


def test_simultaneous_shares_make_the_bytes_of_one_job(tmp_path, configure):
    build_shards(configure("one"))
    processes = [start(configure("shared", part=index, parts=4)) for index in (2, 0, 3, 1)]
    output = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, output
    assert folder_bytes(tmp_path / "shared") == folder_bytes(tmp_path / "one")


def test_share_lists_missing_shares_and_the_plain_command_completes_the_job(tmp_path, configure):
    remarks: list[str] = []
    assert build_shards(configure(part=1, parts=3), say=remarks.append) is None
    assert "from --part 0, 2" in remarks[-1]
    assert build_shards(configure(part=1, parts=3), say=remarks.append) is None
    assert build_shards(configure(), say=remarks.append) == check_shards(tmp_path / "shards")
    assert build_shards(configure(part=1, parts=3), say=remarks.append) and "finished already" in remarks[-1]


@pytest.mark.parametrize(
    "first, second, says",
    [
        ({}, {}, "another job is writing here"),
        ({"part": 1, "parts": 3}, {"part": 1, "parts": 3}, r"making the parts of --part 1 --parts 3"),
        ({"part": 1, "parts": 3}, {"part": 0, "parts": 2}, r"making the parts of --part 0 --parts 2"),
        ({"part": 1, "parts": 3}, {}, "another job is writing here"),
        ({}, {"part": 1, "parts": 3}, r"making the parts of"),
        ({"part": 1, "parts": 3}, {"part": 0, "parts": 3, "length": 32}, "length 31 before, 32 now"),
    ],
)
def test_two_jobs_do_not_make_the_same_parts(tmp_path, configure, first, second, says):
    pause = "import time, data_prep.job.build as b"
    pause += "; b._finished_parts = lambda *_: print('locked', flush=True) or time.sleep(60)"
    holder = start(configure(**first), before=pause)
    try:
        assert holder.stdout.readline() == "locked\n", holder.stderr.read()
        before = folder_bytes(tmp_path / "shards")
        with pytest.raises(UserError, match=says):
            build_shards(configure(**second))
        assert folder_bytes(tmp_path / "shards") == before
    finally:
        holder.kill()
        holder.communicate()


def test_files_that_changed_between_shares_are_named(tmp_path, configure, corpus):
    build_shards(configure(part=0, parts=3))
    before = folder_bytes(tmp_path / "shards")
    (corpus / "late.txt").write_text(story(77))
    (corpus / "03.txt").write_text(story(78))
    with pytest.raises(UserError, match=r"late.txt is new, .*03.txt has changed\). Bring it back") as error:
        build_shards(configure(part=1, parts=3))
    assert "\n" not in str(error.value) and folder_bytes(tmp_path / "shards") == before
    (corpus / "late.txt").unlink()
    build_shards(configure())
    (tmp_path / "shards" / "manifest.json").unlink()
    (corpus / "other.png").touch()
    with pytest.raises(UserError, match=r"passed over .*files_of_other_kinds.: 1"):
        build_shards(configure(part=1, parts=3))


def test_share_removes_only_its_own_half_written_files(tmp_path, configure):
    build_shards(configure(part=0, parts=3))
    listing = json.loads((tmp_path / "shards/parts/input.json").read_text())
    assert len(listing["files"]) == 31
    first, last = (tmp_path / "shards" / f"train-{part:05d}.array_record.n-7-1.partial" for part in (0, 30))
    first.touch(), last.touch()
    build_shards(configure(part=0, parts=3))
    assert not first.exists() and last.exists()
    for part in (1, 2):
        build_shards(configure(part=part, parts=3))
    check_shards(tmp_path / "shards")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("settings", [{"workers": 1}, {"workers": 3}, {"workers": 2, "part": 0, "parts": 1}])
def test_job_stopped_by_a_signal_is_resumed(tmp_path, configure, number, settings):
    build_shards(configure("whole", dupe_factor=60))
    folder = tmp_path / "shards"
    process = start(configure(dupe_factor=60, **settings))
    wait_for_parts(folder, 2, process)
    os.killpg(process.pid, number) if number == signal.SIGINT else process.terminate()  # Ctrl-C goes to the group
    out, error = process.communicate(timeout=20)
    lines = [line for line in error.splitlines() if not line.startswith("note: ")]
    assert process.returncode == 1 and len(lines) == 1, (out, error)
    assert f"stopped by {number.name}" in error and "goes on from here" in error
    assert not list(folder.rglob("*.partial")) and not (folder / "manifest.json").exists()
    build_shards(configure(dupe_factor=60))
    assert folder_bytes(folder) == folder_bytes(tmp_path / "whole")


def test_stopped_command_ends_with_code_75(tmp_path, configure, monkeypatch, capsys):
    from bert_jax import cli

    def stop(config, say):
        raise Stopped("stopped by SIGTERM")

    monkeypatch.setattr("data_prep.job.build.run_job", stop)
    assert cli.main(["prep", "shards", "--input", "a", "--tokenizer", "b", "--output", "c"]) == 75
    assert capsys.readouterr().err == "bert-jax prep: stopped by SIGTERM\n"


def test_share_with_other_input_keeps_the_hashes_of_the_first(tmp_path, configure, corpus):
    build_shards(configure(dedupe="exact", part=0, parts=2))
    hashes = sorted(path.name for path in (tmp_path / "shards" / "parts").glob("*.npy"))
    (corpus / "more.txt").write_text(story(99))
    with pytest.raises(UserError, match="the input is not what the job began with"):
        build_shards(configure(dedupe="exact", part=1, parts=2))
    assert hashes == sorted(path.name for path in (tmp_path / "shards" / "parts").glob("*.npy"))


def test_job_stopped_before_reading_its_notes_states_no_number_of_parts(configure, monkeypatch):
    build_shards(configure())

    def interrupted(*arguments) -> None:
        raise KeyboardInterrupt("SIGTERM")

    monkeypatch.setattr(build, "find_sources", interrupted)
    with pytest.raises(Stopped, match=r"stopped by SIGTERM\. The same command goes on from here"):
        build_shards(configure())


def test_files_that_other_shares_remove_meanwhile_are_ignored(tmp_path, monkeypatch):
    for name in ("a.partial", "24/b.partial", "61/c.partial", ".tokenizer.partial.x/vocab.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    listdir = os.listdir

    def listdir_without_24(path):
        if Path(path).name == "24":
            raise FileNotFoundError(path)
        return listdir(path)

    monkeypatch.setattr(os, "listdir", listdir_without_24)
    paths = job_lock._matching_files(tmp_path, job_lock.PARTIAL_NAMES)
    assert sorted(path.name for path in paths) == [".tokenizer.partial.x", "a.partial", "c.partial"]
