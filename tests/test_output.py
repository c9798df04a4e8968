"""Files and folders are written completely or not at all, on any kind of file system."""

from pathlib import Path

import pytest

from bert_jax import output
from bert_jax.data.pretraining.record import read_manifest
from bert_jax.errors import UserError
from bert_jax.output import (
    LOCK,
    MAKING,
    check_new_file,
    check_new_folder,
    replace_file,
    require_local,
    whole_file,
    whole_folder,
    write_text,
)


def fill(path: Path) -> None:
    with whole_folder(path, last=("run.toml",)) as folder:
        (folder / "run.toml").write_text("a = 1")
        (folder / "tokenizer").mkdir()
        (folder / "tokenizer" / "vocab.txt").write_text("[PAD]")


def names(path: Path) -> list[str]:
    return sorted(str(p.relative_to(path)) for p in path.rglob("*"))


WHOLE = ["run.toml", "tokenizer", "tokenizer/vocab.txt"]


def test_new_folder_appears_complete_with_its_parents(tmp_path: Path) -> None:
    fill(tmp_path / "a" / "b")
    assert names(tmp_path / "a" / "b") == WHOLE
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_existing_empty_folder_is_filled_in_place(tmp_path: Path) -> None:
    target = tmp_path / "mounted"
    target.mkdir()
    (target / "lost+found").mkdir()  # the root of a volume
    before = target.stat().st_ino
    fill(target)
    assert names(target) == ["lost+found", *WHOLE]
    assert target.stat().st_ino == before


def test_lock_of_a_removed_run_does_not_count_as_content(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).touch()
    fill(tmp_path / "run")
    assert names(tmp_path / "run") == [LOCK, *WHOLE]


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "volume")
    fill(tmp_path / "link")
    assert names(tmp_path / "volume") == WHOLE and (tmp_path / "link").is_symlink()
    (tmp_path / "ahead").symlink_to(tmp_path / "not yet")
    fill(tmp_path / "ahead")
    assert names(tmp_path / "not yet") == WHOLE


def test_existing_folder_needs_no_writable_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "parent" / "run"
    target.mkdir(parents=True)
    monkeypatch.setattr(output.os, "access", lambda path, mode: Path(path) != target.parent)  # root may write anywhere
    fill(target)
    assert names(target) == WHOLE
    with pytest.raises(UserError, match=r"cannot be written: no permission"):
        check_new_folder(target.parent / "other")


@pytest.mark.parametrize("exists", [False, True])
def test_an_error_leaves_nothing(tmp_path: Path, exists: bool) -> None:
    target = tmp_path / "a" / "run"
    if exists:
        target.mkdir(parents=True)
    with pytest.raises(UserError, match="wrong"), whole_folder(target) as folder:
        (folder / "half").write_text("x")
        raise UserError("wrong")
    assert names(tmp_path) == (["a", "a/run"] if exists else [])


@pytest.mark.parametrize("moved", [0, 1])
def test_a_kill_while_moving_entries_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    target = tmp_path / "run"
    target.mkdir()

    class Killed(BaseException):
        pass

    rename, done = Path.rename, []

    def killed(self: Path, to: Path) -> Path:
        if Path(to).parent == target:
            if len(done) == moved:
                raise Killed
            done.append(to)
        return rename(self, to)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        patched.setattr(output, "clear_leftovers", lambda folder: None)  # nobody is left to do it
        with pytest.raises(Killed):
            fill(target)
    assert not (target / "run.toml").exists()  # the name that says it is finished comes last
    check_new_folder(target)
    fill(target)
    assert names(target) == WHOLE


@pytest.mark.parametrize("content", ["file", "folder"])
def test_existing_output_is_refused_before_the_work(tmp_path: Path, content: str) -> None:
    path = tmp_path / "out"
    if content == "file":
        path.write_text("mine")
    else:
        path.mkdir()
        (path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"out exists and is not .*Choose another --output"):
        check_new_folder(path)
    assert path.exists()


def test_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot be made"):
        check_new_folder(tmp_path / "file" / "a" / "run")


def test_file_is_complete_or_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "answers.json"
    write_text(path, "first")
    with pytest.raises(UserError, match="stop"), whole_file(path) as file:
        file.write(b"half")
        raise UserError("stop")
    assert path.read_text() == "first"
    (tmp_path / "link").symlink_to(path)
    write_text(tmp_path / "link", "second\n")
    assert path.read_bytes() == b"second\n" and (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.json", "link"]


def test_mounted_file_is_written_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "new", tmp_path / "mounted"
    source.write_text("new")
    target.write_text("a longer text that was there")

    def busy(self: Path, target: Path) -> Path:
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(Path, "replace", busy)
    replace_file(source, target)
    assert target.read_text() == "new" and not source.exists()


def test_file_in_a_read_only_folder_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "scores.json"
    target.write_text("before")
    opened, replace = Path.open, Path.replace

    def read_only(self: Path, *arguments: str, **named: str) -> object:
        if self.name.endswith(".writing"):
            raise OSError(30, "Read-only file system")
        return opened(self, *arguments, **named)

    def across(self: Path, target: Path) -> Path:
        if self.parent != Path(target).parent:
            raise OSError(18, "Invalid cross-device link")
        return replace(self, target)

    monkeypatch.setattr(Path, "open", read_only)
    monkeypatch.setattr(Path, "replace", across)
    write_text(target, "after")
    assert target.read_text() == "after"


def test_errors_of_other_files_are_not_blamed_on_the_output(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-input"), whole_folder(tmp_path / "a" / "out"):
        Path("/no-such-input").read_text()


def test_text_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"run.toml: .*udcff.* cannot be written in UTF-8"):
        write_text(tmp_path / "run.toml", 'output = "r\udcff"')
    assert not list(tmp_path.iterdir())


def test_devices_are_written_to_directly() -> None:
    write_text(Path("/dev/null"), "gone")
    assert Path("/dev/null").is_char_device()


def test_full_disk_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"/dev/full cannot be written: No space left on device\. Make room"):
        write_text(Path("/dev/full"), "x" * 100_000)


def test_file_in_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="its folder does not exist"):
        check_new_file(tmp_path / "no" / "a.npy")
    with pytest.raises(UserError, match="is a folder"):
        check_new_file(tmp_path)
    check_new_file(tmp_path / "a.npy")
    assert MAKING.startswith(".")


@pytest.mark.parametrize("address", ["gs://bucket/run", Path("gs://bucket/run"), "s3://bucket/a/b"])
def test_an_address_is_refused_where_a_path_is_needed(address, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = str(address).replace(":/b", "://b")
    with pytest.raises(UserError, match=f"^{shown}: --output has to be a path of a file system.*Mount the bucket"):
        check_new_folder(Path(address))
    with pytest.raises(UserError, match=f"^{shown}: "):
        check_new_file(Path(address))
    with pytest.raises(UserError, match="a folder of shards has to be a path"):
        read_manifest(Path(address))
    assert not list(tmp_path.iterdir())
    (tmp_path / "gs:" / "bucket").mkdir(parents=True)
    require_local("gs:/bucket", "--output")  # a folder of that name
