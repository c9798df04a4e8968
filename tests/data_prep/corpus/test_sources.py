"""Inputs of files, folders, patterns and addresses."""

import gzip
import io

import fsspec
import pytest
from reader import json_lines, read
from stories import story

from bert_jax.errors import UserError
from data_prep.corpus.sources import find_sources
from data_prep.job.build import build_shards


def test_files_are_listed_once_and_sorted_with_their_relative_names(corpus):
    sources, skipped = find_sources((str(corpus / "more"), str(corpus), str(corpus / "*.jsonl")))
    assert [s.name for s in sources][:3] == ["20.txt.gz", "21.txt.gz", "22.txt.gz"]
    assert [s.name for s in sources][10:12] == ["00.txt", "01.txt"]
    assert len(sources) == 31
    assert skipped == {"files_of_other_kinds": 1, "files_given_twice": 11}
    assert "picture.png" in " ".join(skipped.notes)
    globbed, _ = find_sources((str(corpus / "**" / "*.gz"),))
    assert [s.name for s in globbed] == [f"more/{seed}.txt.gz" for seed in range(20, 30)]


@pytest.mark.parametrize("name", ["nothing.txt", "no/*.txt", "empty", "picture.png", "blank.txt"])
def test_input_without_text_is_named(corpus, name):
    (corpus / "empty").mkdir()
    (corpus / "blank.txt").touch()
    with pytest.raises(UserError, match=name.replace("*", r"\*")):
        find_sources((str(corpus / name),))


@pytest.fixture
def memory():
    """The address of a folder in fsspec's memory file system."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pipe(
        {
            "/bucket/a.txt": story(1).encode(),
            "/bucket/deep/b.jsonl.gz": gzip.compress(json_lines(["one", "two"]).encode()),
            "/bucket/deep/c.csv": b"n,text\n1,three\n",
            "/bucket/.hidden/d.txt": b"no",
            "/bucket/e.png": b"no",
            "/bucket/f.txt": b"",
            "/other/g.parquet": b"PAR1",
        }
    )
    yield "memory://bucket"
    system.store.clear()


@pytest.mark.parametrize("ending", ["", "/"])
def test_remote_folder_is_read_like_a_local_folder(memory, ending):
    sources, skipped = find_sources((memory + ending, f"{memory}/a.txt"))
    assert [source.name for source in sources] == ["a.txt", "deep/b.jsonl.gz", "deep/c.csv"]
    assert sources[0].size == len(story(1))
    assert skipped == {"files_of_other_kinds": 1, "files_empty": 1, "files_given_twice": 1}
    assert [text for source in sources for _, text in read(source)] == [story(1), "one", "two", "three"]


def test_remote_patterns_and_files_are_read(memory):
    sources, _ = find_sources((f"{memory}/**/*.csv", f"{memory}/deep/*.gz", f"{memory}/a.txt"))
    assert [source.name for source in sources] == ["deep/c.csv", "b.jsonl.gz", "a.txt"]
    assert "".join(text for _, text in read(sources[2], 3)) == story(1)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
@pytest.mark.parametrize("name", ["u.txt", "u.csv", "u.jsonl.gz"])
def test_byte_order_mark_of_a_remote_file_is_recognised(memory, name, encoding):
    content = {"u.txt": "zwölf\n", "u.csv": "text\nzwölf\n", "u.jsonl.gz": json_lines(["zwölf"])}[name].encode(encoding)
    data = gzip.compress(content) if name.endswith(".gz") else content
    fsspec.filesystem("memory").pipe(f"/bucket/{name}", data)
    sources, skipped = find_sources((memory,))
    (source,) = (source for source in sources if source.name == name)
    assert [text.strip() for _, text in read(source, 2)] == ["zwölf"]
    assert any(f"{name}: read as UTF-" in note for note in skipped.notes)


def test_changed_remote_file_has_another_stamp(memory):
    (before,), _ = find_sources((f"{memory}/a.txt",))
    (same,), _ = find_sources((f"{memory}/a.txt",))
    fsspec.filesystem("memory").pipe("/bucket/a.txt", story(2).encode())
    (after,), _ = find_sources((f"{memory}/a.txt",))
    assert before == same and before.stamp != after.stamp


def test_shards_of_remote_files_equal_those_of_local_copies(tmp_path, configure, memory):
    (tmp_path / "copy" / "deep").mkdir(parents=True)
    system = fsspec.filesystem("memory")
    for name in ("a.txt", "deep/b.jsonl.gz", "deep/c.csv"):
        (tmp_path / "copy" / name).write_bytes(system.cat(f"/bucket/{name}"))
    local = build_shards(configure("s1", input=(str(tmp_path / "copy"),), held_out=0.0))
    remote = build_shards(configure("s2", input=(memory,), held_out=0.0))
    assert local.splits == remote.splits


def test_file_addresses_are_paths(tmp_path, corpus):
    sources, _ = find_sources((f"file://{corpus}", str(corpus / "00.txt"), f"file://{corpus}/*.jsonl"))
    assert len(sources) == 31 and not sources[0].path.startswith("file:")


@pytest.mark.parametrize(
    "location, says",
    [
        ("memory://bucket/nothing.txt", "no such file or folder"),
        ("memory://bucket/*.tsv", "no file fits this pattern"),
        ("memory://bucket/e.png", "not one of"),
        ("memory://bucket/f.txt", "files empty: 1"),
        ("az://container/a.txt", r"az:// needs one more package: pip install adlfs"),
        ("nonsense://a/b.txt", r"nonsense:// cannot be used \(Protocol not known"),
        ("file:///nowhere/at/all.txt", "no such file or folder"),
    ],
)
def test_address_without_text_is_a_one_line_error(memory, location, says):
    with pytest.raises(UserError, match=says) as error:
        find_sources((location,))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("protocol, package", [("gs", "gcsfs"), ("s3", "s3fs"), ("https", "aiohttp")])
def test_missing_package_is_named(monkeypatch, protocol, package):
    def missing(path):
        raise ImportError("Please install it")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(UserError, match=rf"{protocol}:// needs one more package: pip install {package}"):
        find_sources((f"{protocol}://bucket/a.txt",))


def test_failing_remote_file_is_a_one_line_error(memory, monkeypatch):
    (source,), _ = find_sources((f"{memory}/a.txt",))

    class Failing(io.BytesIO):
        def readinto(self, *sizes):
            raise RuntimeError("the cloud\nis gone")

        read = readall = readinto

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "open", lambda *_: Failing(b"PAR1" * 9))
    with pytest.raises(UserError, match=r"a.txt: cannot be read \(the cloud\)"):
        read(source)
    with pytest.raises(UserError, match=r"g.parquet: cannot be read \(the cloud\)"):
        find_sources(("memory://other/g.parquet",))
