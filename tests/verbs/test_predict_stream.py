"""bert-jax predict: order, pipes, Parquet, SQuAD files, and resuming after an interruption."""

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


def command(model, source, output, *more):
    return ["predict", "--model", str(model), "--input", str(source), "--output", str(output), *more]


def test_closed_output_pipe_ends_quietly(model, tmp_path):
    (tmp_path / "in.txt").write_text("word1 word2\n" * 3000)
    arguments = [sys.executable, "-m", "bert_jax.cli", *command(model, tmp_path / "in.txt", "-")]
    ended = subprocess.run(
        ["bash", "-c", '"$@" | head -c 1; exit ${PIPESTATUS[0]}', "bash", *arguments], capture_output=True
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (141, b"{", b"")


@pytest.fixture(scope="module")
def expected(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("expected")
    (folder / "in.txt").write_text("\n".join(TEXTS) + "\n")
    assert main(command(model, folder / "in.txt", folder / "out.jsonl")) == 0
    return (folder / "out.jsonl").read_text()


def assert_same_answers(output, expected):
    for answer, right in zip(*(map(json.loads, text.splitlines()) for text in (output, expected)), strict=True):
        assert answer["label"] == right["label"]
        assert answer["probabilities"] == pytest.approx(right["probabilities"], abs=1e-5)


@pytest.fixture
def interrupted(monkeypatch):
    """Return a function that runs predict and interrupts it in the middle of the eleventh answer."""

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


def test_interrupted_command_is_resumed(model, expected, tmp_path, interrupted, capsys):
    (tmp_path / "in.txt").write_text("\n".join(TEXTS) + "\n")
    interrupted(model, tmp_path / "in.txt", tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()
    assert main(command(model, tmp_path / "in.txt", tmp_path / "out.jsonl")) == 0
    assert "resuming after 10 rows" in capsys.readouterr().err
    assert_same_answers((tmp_path / "out.jsonl").read_text(), expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.txt", "out.jsonl"]


def test_standard_input_or_a_changed_model_starts_anew(model, expected, tmp_path, interrupted, monkeypatch):
    def piped(texts):
        stdin = io.TextIOWrapper(io.BytesIO("".join(f"{text}\n" for text in texts).encode()))
        monkeypatch.setattr(sys, "stdin", stdin)

    out = tmp_path / "out.jsonl"
    piped(["word3"] * 23)
    interrupted(model, Path("-"), out, format="txt")
    piped(TEXTS)
    assert main(command(model, "-", out, "--format", "txt")) == 0
    assert_same_answers(out.read_text(), expected)
    out.unlink()

    shutil.copytree(model, tmp_path / "hf")
    (tmp_path / "in.txt").write_text("\n".join(TEXTS) + "\n")
    shutil.copy(tmp_path / "hf" / "model.safetensors", tmp_path / "kept")
    weights = (tmp_path / "hf" / "model.safetensors").read_bytes()
    (tmp_path / "hf" / "model.safetensors").write_bytes(weights[:-4000] + bytes(4000))
    interrupted(tmp_path / "hf", tmp_path / "in.txt", out)
    shutil.copy(tmp_path / "kept", tmp_path / "hf" / "model.safetensors")
    assert main(command(tmp_path / "hf", tmp_path / "in.txt", out)) == 0
    assert_same_answers(out.read_text(), expected)


def test_another_input_starts_anew(model, tmp_path):
    (tmp_path / "in.txt").write_text("word1\nword2\n")
    (tmp_path / ".out.jsonl.answers").write_text("{}\n")
    (tmp_path / ".out.jsonl.job").write_text("of another command")
    assert main(command(model, tmp_path / "in.txt", tmp_path / "out.jsonl")) == 0
    assert [json.loads(line).keys() for line in (tmp_path / "out.jsonl").read_text().splitlines()] == [
        {"label", "probabilities"}
    ] * 2


def test_second_command_for_the_same_output_is_refused(model, tmp_path, capsys):
    (tmp_path / "in.txt").write_text("word1\nword2\n")
    out = tmp_path / "out.jsonl"
    with answer_file(out, "another", resumable=True) as (file, _):
        file.write("{}\n")
        file.flush()
        assert main(command(model, tmp_path / "in.txt", out)) == 1
        stderr = capsys.readouterr().err
        assert "out.jsonl: another process is writing it" in stderr and stderr.count("\n") == 1
    assert out.read_text() == "{}\n"


def test_lines_are_never_resumed_by_another_job(tmp_path, monkeypatch):
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
def test_full_disk_keeps_the_lines_of_a_resumable_job(tmp_path, resumable):
    out = tmp_path / "out.jsonl"
    message = "again to resume" if resumable else "Make room, or"
    with pytest.raises(UserError, match=message), answer_file(out, "job", resumable=resumable) as (file, _):
        file.write('{}\n{"la')
        file.flush()
        raise OSError(errno.ENOSPC, "No space left on device")
    with answer_file(out, "job", resumable=resumable) as (file, finished):
        assert finished == resumable
        file.write("[]\n")
    assert out.read_text() == ("{}\n[]\n" if resumable else "[]\n")


def test_lone_surrogates_are_replaced_in_the_output(tmp_path):
    write_tiny_bert(tmp_path / "hf", "choice")
    (tmp_path / "in.jsonl").write_text('{"text": "word1", "choices": ["word2 \\ud83d", "word3 \\ud83d"]}\n')
    assert main(command(tmp_path / "hf", tmp_path / "in.jsonl", tmp_path / "out.jsonl")) == 0
    assert json.loads((tmp_path / "out.jsonl").read_text())["choice"][-1] == "\ufffd"


@pytest.mark.parametrize(("source", "to", "closed"), [("-", "out.jsonl", "<&-"), ("in.txt", "-", ">&-")])
def test_closed_standard_streams_end_in_one_line(model, tmp_path, source, to, closed):
    (tmp_path / "in.txt").write_text("word1\n")
    run = [sys.executable, "-m", "bert_jax.cli", *command(model, source, to, "--format", "txt")]
    ended = subprocess.run(
        ["bash", "-c", f'"$@" {closed}', "bash", *run], cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True
    )
    assert ended.returncode == 1
    *progress, error = ended.stderr.splitlines()  # on a busy machine, reading the model takes seconds and says so
    assert b"is closed" in error and all(line.startswith(b"reading the model  ") for line in progress)
    assert [path.name for path in tmp_path.iterdir()] == ["in.txt"]


def test_rows_from_a_pipe_are_answered_to_a_pipe(model, expected, monkeypatch, capsys):
    rows = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(rows.encode())))
    assert main(command(model, "-", "-")) == 0
    out, err = capsys.readouterr()
    assert_same_answers(out, expected)
    assert "23 rows" in err


def test_control_characters_are_escaped_on_standard_output(tmp_path, capsys):
    label = "a\u202eb\x9b31m\x7f"
    write_tiny_bert(tmp_path / "hf", "sequence", ("calm", label))
    (tmp_path / "in.txt").write_text("word1\n")
    assert main(command(tmp_path / "hf", tmp_path / "in.txt", "-")) == 0
    shown = capsys.readouterr().out
    assert main(command(tmp_path / "hf", tmp_path / "in.txt", tmp_path / "out.jsonl")) == 0
    assert r"a\u202eb\u009b31m\u007f" in shown and label not in shown
    written = (tmp_path / "out.jsonl").read_text()
    assert label in written and json.loads(shown) == json.loads(written)


def test_parquet_is_read(model, expected, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"body": TEXTS, "more": range(23)}), tmp_path / "in.parquet", row_group_size=4)
    assert main(command(model, tmp_path / "in.parquet", tmp_path / "out.jsonl", "--text", "body")) == 0
    assert_same_answers((tmp_path / "out.jsonl").read_text(), expected)


@pytest.mark.parametrize(
    ("content", "more", "message"),
    [
        (b"PAR1 is not enough", (), "in.parquet: not a whole Parquet file"),
        (None, ("--text", "bodi"), "in.parquet: no column 'bodi'; did you mean 'body'?"),
        (None, ("--text", "more"), "in.parquet row 1: 'more' is not a text"),
    ],
)
def test_invalid_parquet_ends_in_one_line(model, tmp_path, capsys, content, more, message):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"body": TEXTS, "more": range(23)}), tmp_path / "in.parquet")
    if content:
        (tmp_path / "in.parquet").write_bytes(content)
    assert main(command(model, tmp_path / "in.parquet", tmp_path / "out.jsonl", *more)) == 1
    stderr = capsys.readouterr().err
    assert message in stderr and stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


@pytest.mark.parametrize("kind", ["string", "large_string", "binary"])
def test_parquet_that_is_not_utf8_is_refused_or_replaced(model, tmp_path, capsys, kind):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    texts = pyarrow.array([b"word1", b"caf\xe9"], pyarrow.binary())
    if kind != "binary":
        wide = texts.cast(pyarrow.large_binary()) if kind.startswith("large") else texts
        texts = pyarrow.Array.from_buffers(getattr(pyarrow, kind)(), 2, wide.buffers())
    parquet.write_table(pyarrow.table({"text": texts}), tmp_path / "in.parquet")
    assert main(command(model, tmp_path / "in.parquet", tmp_path / "out.jsonl")) == 1
    stderr = capsys.readouterr().err
    assert "in.parquet row 2: not UTF-8 at byte 3" in stderr and stderr.count("\n") == 1
    arguments = command(model, tmp_path / "in.parquet", tmp_path / "out.jsonl", "--encoding-errors", "replace")
    assert main(arguments) == 0 and (tmp_path / "out.jsonl").read_text().count("\n") == 2


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_squad_answers_have_their_ids(tmp_path, suffix, model, capsys):
    write_tiny_bert(tmp_path / "hf", "span")
    questions = [{"id": f"q{i}", "question": "word1"} for i in range(3)]
    table = {"data": [{"paragraphs": [{"context": "word2, word3", "qas": questions}]}]}
    (tmp_path / "in.json").write_text(json.dumps(table))
    assert main(command(tmp_path / "hf", tmp_path / "in.json", tmp_path / f"out{suffix}")) == 0
    text = (tmp_path / f"out{suffix}").read_text()
    if suffix == ".json":
        assert list(json.loads(text)) == ["q0", "q1", "q2"]
    else:
        assert [json.loads(line)["id"] for line in text.splitlines()] == ["q0", "q1", "q2"]
    assert main(command(model, tmp_path / "in.json", tmp_path / "other.json")) == 1
    assert "a file of questions, but" in capsys.readouterr().err


def test_glue_test_files_are_answered_in_the_format_of_the_leaderboard(model, tmp_path, monkeypatch, capsys):
    (tmp_path / "test.tsv").write_text("index\tsentence1\tsentence2\n0\tword1\tword2\n1\tword3\tword4\n")
    loaded = verb.load(model)
    loaded.task = loaded.task.changed(name="mnli", pair=True)
    monkeypatch.setattr(verb, "load", lambda path: loaded)
    assert main(command(model, tmp_path / "test.tsv", tmp_path / "out.tsv")) == 1
    assert "MNLI has the classes entailment, neutral, contradiction, the model calm" in capsys.readouterr().err
    loaded.labels = ["contradiction", "entailment", "neutral"]
    assert main(command(model, tmp_path / "test.tsv", tmp_path / "out.tsv")) == 0
    lines = (tmp_path / "out.tsv").read_text().splitlines()
    assert lines[0] == "index\tprediction" and [line.split("\t")[0] for line in lines[1:]] == ["0", "1"]
    assert {line.split("\t")[1] for line in lines[1:]} <= {"entailment", "neutral", "contradiction"}
