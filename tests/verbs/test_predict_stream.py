"""bert-jax predict: order, memory, pipes, Parquet, SQuAD files, and going on after a kill."""

import errno
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from foreign import write_tiny_bert

from bert_jax.cli import main
from bert_jax.errors import UserError
from bert_jax.prediction.answer_file import answer_file
from bert_jax.verbs import predict as verb

LABELS = ("calm", "mild", "urgent")
TEXTS = [f"word{i % 30} word{i % 7}" for i in range(23)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    write_tiny_bert(folder / "hf", "sequence", LABELS)
    return folder / "hf"


def command(model, given, output, *more):
    return ["predict", "--model", str(model), "--input", str(given), "--output", str(output), *more]


def test_a_reader_that_has_enough_ends_it_without_a_word(model, tmp_path):
    (tmp_path / "in.txt").write_text("word1 word2\n" * 3000)
    given = [sys.executable, "-m", "bert_jax.cli", *command(model, tmp_path / "in.txt", "-")]
    ended = subprocess.run(
        ["bash", "-c", '"$@" | head -c 1; exit ${PIPESTATUS[0]}', "bash", *given], capture_output=True
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (141, b"{", b"")


@pytest.fixture(scope="module")
def expected(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("expected")
    (folder / "in.txt").write_text("\n".join(TEXTS) + "\n")
    assert main(command(model, folder / "in.txt", folder / "out.jsonl")) == 0
    return (folder / "out.jsonl").read_text()


def same(found, expected):
    for one, other in zip(found.splitlines(), expected.splitlines(), strict=True):
        one, other = json.loads(one), json.loads(other)
        assert one["label"] == other["label"]
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


@pytest.fixture
def interrupted(monkeypatch):
    """Runs predict up to the middle of its eleventh answer."""

    def run(*arguments, **more):
        written = verb._write
        calls = []

        def killed(file, *rest):
            if len(calls) == 2:
                file.write('{"label": "ca')  # half a line
                file.flush()
                raise KeyboardInterrupt
            calls.append(1)
            written(file, *rest)

        with monkeypatch.context() as patched:
            patched.setattr(verb, "_write", killed)
            with pytest.raises(KeyboardInterrupt):
                verb.predict(verb.PredictConfig(*arguments, **more))

    monkeypatch.setattr(verb, "CHUNK_ROWS", 5)
    monkeypatch.setattr(verb, "PIPED_ROWS", 5)
    return run


def test_an_interrupted_command_goes_on(model, expected, tmp_path, interrupted, capsys):
    (tmp_path / "in.txt").write_text("\n".join(TEXTS) + "\n")
    interrupted(model, tmp_path / "in.txt", tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()
    assert main(command(model, tmp_path / "in.txt", tmp_path / "out.jsonl")) == 0
    assert "going on after 10 rows" in capsys.readouterr().err
    same((tmp_path / "out.jsonl").read_text(), expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.txt", "out.jsonl"]


def test_standard_input_and_a_model_written_over_start_afresh(model, expected, tmp_path, interrupted, monkeypatch):
    def piped(texts):
        given = io.TextIOWrapper(io.BytesIO("".join(f"{text}\n" for text in texts).encode()))
        monkeypatch.setattr(sys, "stdin", given)

    out = tmp_path / "out.jsonl"
    piped(["word3"] * 23)
    interrupted(model, Path("-"), out, format="txt")
    piped(TEXTS)
    assert main(command(model, "-", out, "--format", "txt")) == 0
    same(out.read_text(), expected)
    out.unlink()

    shutil.copytree(model, tmp_path / "hf")
    (tmp_path / "in.txt").write_text("\n".join(TEXTS) + "\n")
    shutil.copy(tmp_path / "hf" / "model.safetensors", tmp_path / "kept")
    weights = (tmp_path / "hf" / "model.safetensors").read_bytes()
    (tmp_path / "hf" / "model.safetensors").write_bytes(weights[:-4000] + bytes(4000))
    interrupted(tmp_path / "hf", tmp_path / "in.txt", out)
    shutil.copy(tmp_path / "kept", tmp_path / "hf" / "model.safetensors")
    assert main(command(tmp_path / "hf", tmp_path / "in.txt", out)) == 0
    same(out.read_text(), expected)


def test_another_input_starts_afresh(model, tmp_path):
    (tmp_path / "in.txt").write_text("word1\nword2\n")
    (tmp_path / ".out.jsonl.answers").write_text("{}\n")
    (tmp_path / ".out.jsonl.job").write_text("of another command")
    assert main(command(model, tmp_path / "in.txt", tmp_path / "out.jsonl")) == 0
    assert [json.loads(line).keys() for line in (tmp_path / "out.jsonl").read_text().splitlines()] == [
        {"label", "probabilities"}
    ] * 2


def test_a_second_command_leaves_the_first_its_file(model, tmp_path, capsys):
    (tmp_path / "in.txt").write_text("word1\nword2\n")
    out = tmp_path / "out.jsonl"
    with answer_file(out, "another", resumable=True) as (file, _):
        file.write("{}\n")
        file.flush()
        assert main(command(model, tmp_path / "in.txt", out)) == 1
        told = capsys.readouterr().err
        assert "out.jsonl: another process is writing it" in told and told.count("\n") == 1
    assert out.read_text() == "{}\n"


def test_a_job_that_dies_before_its_note_is_not_taken_for_the_one_before(tmp_path, monkeypatch):
    def dies(*_):
        raise KeyboardInterrupt

    out = tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt), answer_file(out, "first", resumable=True) as (file, _):
        file.write("{}\n" * 3)
        file.flush()
        raise KeyboardInterrupt
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Path, "write_text", dies)
        with answer_file(out, "second", resumable=True):
            pass
    with answer_file(out, "first", resumable=True) as (file, finished):
        assert finished == 0
        file.write("[]\n")
    assert out.read_text() == "[]\n"


@pytest.mark.parametrize("resumable", [True, False])
def test_a_full_disk_keeps_what_can_go_on(tmp_path, resumable):
    out = tmp_path / "out.jsonl"
    says = "goes on" if resumable else "Make room, or"
    with pytest.raises(UserError, match=says), answer_file(out, "job", resumable=resumable) as (file, _):
        file.write('{}\n{"la')
        file.flush()
        raise OSError(errno.ENOSPC, "No space left on device")
    with answer_file(out, "job", resumable=resumable) as (file, finished):
        assert finished == resumable
        file.write("[]\n")
    assert out.read_text() == ("{}\n[]\n" if resumable else "[]\n")


def test_half_a_character_in_what_is_given_back_is_replaced(tmp_path):
    write_tiny_bert(tmp_path / "hf", "choice")
    (tmp_path / "in.jsonl").write_text('{"text": "word1", "choices": ["word2 \\ud83d", "word3 \\ud83d"]}\n')
    assert main(command(tmp_path / "hf", tmp_path / "in.jsonl", tmp_path / "out.jsonl")) == 0
    assert json.loads((tmp_path / "out.jsonl").read_text())["choice"][-1] == "\ufffd"


@pytest.mark.parametrize(("given", "to", "closed"), [("-", "out.jsonl", "<&-"), ("in.txt", "-", ">&-")])
def test_closed_standard_streams_are_told(model, tmp_path, given, to, closed):
    (tmp_path / "in.txt").write_text("word1\n")
    run = [sys.executable, "-m", "bert_jax.cli", *command(model, given, to, "--format", "txt")]
    ended = subprocess.run(
        ["bash", "-c", f'"$@" {closed}', "bash", *run], cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True
    )
    assert ended.returncode == 1
    assert b"is closed" in ended.stderr and ended.stderr.count(b"\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["in.txt"]


def test_from_a_pipe_to_a_pipe(model, expected, monkeypatch, capsys):
    rows = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(rows.encode())))
    assert main(command(model, "-", "-")) == 0
    out, err = capsys.readouterr()
    same(out, expected)
    assert "23 rows" in err


def test_parquet(model, expected, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"body": TEXTS, "more": range(23)}), tmp_path / "in.parquet", row_group_size=4)
    assert main(command(model, tmp_path / "in.parquet", tmp_path / "out.jsonl", "--text", "body")) == 0
    same((tmp_path / "out.jsonl").read_text(), expected)


@pytest.mark.parametrize(
    ("content", "more", "says"),
    [
        (b"PAR1 is not enough", (), "in.parquet: not a whole Parquet file"),
        (None, ("--text", "bodi"), "in.parquet: no column 'bodi'; did you mean 'body'?"),
        (None, ("--text", "more"), "in.parquet row 1: 'more' is not a text"),
    ],
)
def test_parquet_that_cannot_be_read(model, tmp_path, capsys, content, more, says):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"body": TEXTS, "more": range(23)}), tmp_path / "in.parquet")
    if content:
        (tmp_path / "in.parquet").write_bytes(content)
    assert main(command(model, tmp_path / "in.parquet", tmp_path / "out.jsonl", *more)) == 1
    told = capsys.readouterr().err
    assert says in told and told.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


@pytest.mark.parametrize("kind", ["string", "large_string", "binary"])
def test_parquet_that_is_not_utf8_is_told_or_replaced(model, tmp_path, capsys, kind):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    texts = pyarrow.array([b"word1", b"caf\xe9"], pyarrow.binary())
    if kind != "binary":
        wide = texts.cast(pyarrow.large_binary()) if kind.startswith("large") else texts
        texts = pyarrow.Array.from_buffers(getattr(pyarrow, kind)(), 2, wide.buffers())
    parquet.write_table(pyarrow.table({"text": texts}), tmp_path / "in.parquet")
    assert main(command(model, tmp_path / "in.parquet", tmp_path / "out.jsonl")) == 1
    told = capsys.readouterr().err
    assert "in.parquet row 2: not UTF-8 at byte 3" in told and told.count("\n") == 1
    given = command(model, tmp_path / "in.parquet", tmp_path / "out.jsonl", "--encoding-errors", "replace")
    assert main(given) == 0 and (tmp_path / "out.jsonl").read_text().count("\n") == 2


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_squad_files_are_answered_by_id(tmp_path, suffix, model, capsys):
    write_tiny_bert(tmp_path / "hf", "span")
    asked = [{"id": f"q{i}", "question": "word1"} for i in range(3)]
    table = {"data": [{"paragraphs": [{"context": "word2, word3", "qas": asked}]}]}
    (tmp_path / "in.json").write_text(json.dumps(table))
    assert main(command(tmp_path / "hf", tmp_path / "in.json", tmp_path / f"out{suffix}")) == 0
    text = (tmp_path / f"out{suffix}").read_text()
    if suffix == ".json":
        assert list(json.loads(text)) == ["q0", "q1", "q2"]
    else:
        assert [json.loads(line)["id"] for line in text.splitlines()] == ["q0", "q1", "q2"]
    assert main(command(model, tmp_path / "in.json", tmp_path / "other.json")) == 1
    assert "a file of questions, but" in capsys.readouterr().err


def test_test_files_of_glue_become_what_the_leaderboard_takes(model, tmp_path, monkeypatch, capsys):
    (tmp_path / "test.tsv").write_text("index\tsentence1\tsentence2\n0\tword1\tword2\n1\tword3\tword4\n")
    found = verb.load(model)
    found.task = found.task.changed(name="mnli", pair=True)
    monkeypatch.setattr(verb, "load", lambda path: found)
    assert main(command(model, tmp_path / "test.tsv", tmp_path / "out.tsv")) == 1
    assert "MNLI has the classes entailment, neutral, contradiction, the model calm" in capsys.readouterr().err
    found.labels = ["contradiction", "entailment", "neutral"]
    assert main(command(model, tmp_path / "test.tsv", tmp_path / "out.tsv")) == 0
    lines = (tmp_path / "out.tsv").read_text().splitlines()
    assert lines[0] == "index\tprediction" and [line.split("\t")[0] for line in lines[1:]] == ["0", "1"]
    assert {line.split("\t")[1] for line in lines[1:]} <= {"entailment", "neutral", "contradiction"}
