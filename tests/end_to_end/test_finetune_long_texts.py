"""Texts whose label is told at their end: what a cut does not see, and the other ways do."""

import csv
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from costly import COSTLY
from runs import WORDS, has_logged, last_logged_step, read_log, read_result, wait_for

import bert_jax
from bert_jax.cli import main
from bert_jax.convert.source import read_model

LENGTH = 16
WAYS = ("cut", "head-tail", "mean", "max")
QUICK = ["--epochs", 10, "--batch-size", 16, "--learning-rate", 0.01, "--max-length", LENGTH, "--log-every", 1]
QUICK += ["--evaluate-every", 50]  # twice
SIGNALS = {"urgent": "ba", "calm": "don", "mild": "ging"}


def write_rows(path, rows, *, seed, told=lambda label: label):
    """Texts of 5 to 45 words; the last two but one say the label."""
    rng = random.Random(seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for i in range(rows):
            label = list(SIGNALS)[i % 3]
            words = rng.choices(WORDS[20:], k=rng.choice((2, 20, 30, 42)))
            writer.writerow([" ".join([*words, SIGNALS[label], SIGNALS[label], "fa"]), told(label)])


def finetune(pretrained, data, output, *more):
    given = ["finetune", "--from", pretrained, "--data", data, "--output", output, *QUICK, "--mesh.data", 1, *more]
    return [str(part) for part in given]


@pytest.fixture(scope="session")
def ended(once, pretrained) -> Path:
    """train.csv and dev.csv, and a run in each way."""

    def make(folder: Path) -> None:
        (folder / "data").mkdir(parents=True)
        write_rows(folder / "data" / "train.csv", 150, seed=1)
        write_rows(folder / "data" / "dev.csv", 45, seed=2)
        for way in WAYS:
            assert main(finetune(pretrained, folder / "data", folder / way, "--long-texts", way)) == 0

    return once("long", make)


def test_cut_misses_the_end_of_texts_and_the_other_ways_learn_it(ended):
    scores = {way: read_result(ended / way)["dev"]["accuracy"] for way in WAYS}
    assert scores["cut"] < 0.7 and all(scores[way] > 0.9 for way in WAYS[1:]), scores


@pytest.mark.parametrize("way", WAYS)
def test_the_best_checkpoint_is_scored_in_every_way(ended, way):
    found = read_result(ended / way)
    assert list(found["long_texts"]) == list(WAYS)
    assert found["long_texts"][way] == pytest.approx(found["dev"])
    assert (found["train_rows"], found["dev_rows"]) == (150, 45)
    assert found["long_texts"]["head-tail" if way == "cut" else "cut"] != found["long_texts"][way]


def test_evaluate_and_load_read_as_in_training_or_as_the_flag_says(ended, tmp_path, capsys):
    given = ["evaluate", "--model", ended / "max", "--data", ended / "data", "--json", tmp_path / "s.json"]

    def evaluated(*more):
        assert main([str(part) for part in (*given, *more)]) == 0
        return json.loads((tmp_path / "s.json").read_text())

    trained = read_result(ended / "max")
    assert evaluated()["accuracy"] == trained["dev"]["accuracy"] == evaluated("--long-texts", "max")["accuracy"]
    cut = evaluated("--long-texts", "cut")
    assert cut["accuracy"] == trained["long_texts"]["cut"]["accuracy"] and cut["rows_cut"] > 0
    capsys.readouterr()
    all_ways = evaluated("--long-texts", "head-tail", "cut", "max", "mean")
    assert {way: scores["f1"] for way, scores in all_ways["long_texts"].items()} == pytest.approx(
        {way: scores["f1"] for way, scores in trained["long_texts"].items()}
    )
    assert all_ways["accuracy"] == all_ways["long_texts"]["head-tail"]["accuracy"] and all_ways["rows"] == 45
    assert "head-tail" in capsys.readouterr().out

    rows = list(csv.DictReader((ended / "data" / "dev.csv").open()))
    answers = bert_jax.load(ended / "max").predict([row["text"] for row in rows], batch_size=7)
    right = np.mean([answer.label == row["label"] for answer, row in zip(answers, rows, strict=True)])
    assert right == pytest.approx(trained["dev"]["accuracy"])
    (tmp_path / "short.csv").write_text("text,label\nba ba,urgent\n")
    found = evaluated("--data", tmp_path / "short.csv", "--long-texts", "cut", "mean")
    assert found["long_texts"]["cut"] == found["long_texts"]["mean"]


def test_predict_streams_one_answer_for_each_text(ended, tmp_path, monkeypatch):
    from bert_jax.verbs import predict as verb

    data, model = ended / "data" / "dev.csv", bert_jax.load(ended / "mean")
    expected = [one.as_dict() for one in model.predict([row["text"] for row in csv.DictReader(data.open())])]
    monkeypatch.setattr(verb, "CHUNK_ROWS", 7)
    given = ["predict", "--model", ended / "mean", "--input", data, "--output", tmp_path / "out.jsonl"]
    assert main([str(part) for part in given]) == 0
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [one["label"] for one in found] == [one["label"] for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


@pytest.mark.parametrize("way", WAYS[1:])
def test_onnx_reads_long_texts_as_the_run_does(ended, tmp_path, way):
    pytest.importorskip("onnxruntime", reason="what is written is run")
    pytest.importorskip("onnx", reason="what is written is an ONNX file")
    assert main(["convert", str(ended / way), str(tmp_path / "onnx"), "--to", "onnx"]) == 0
    texts = [row["text"] for row in csv.DictReader((ended / "data" / "dev.csv").open())]
    ours, theirs = (bert_jax.load(path).predict(texts) for path in (ended / way, tmp_path / "onnx"))
    for one, other in zip(ours, theirs, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)
    cut = bert_jax.load(ended / way)
    cut.long_texts = "cut"
    assert any(a.label != b.label for a, b in zip(cut.predict(texts), theirs, strict=True))


def test_an_export_that_loses_the_way_prints_a_note(ended, tmp_path, capsys):
    from bert_jax.verbs import convert as verb

    for way, told in (("mean", True), ("cut", False)):
        assert main(["convert", str(ended / way), str(tmp_path / way), "--to", "tf"]) == 0
        err = capsys.readouterr().err
        assert ("their first 16 tokens only, as --long-texts cut" in err) == told
    assert "hf" in verb.FORMATS_WITHOUT_TASK and "onnx" not in verb.FORMATS_WITHOUT_TASK
    assert read_model(ended / "mean").task.long_texts == "mean"


@COSTLY
def test_a_run_killed_among_windows_resumes_exactly(command, ended, pretrained, tmp_path):
    run = tmp_path / "killed"
    started = finetune(pretrained, ended / "data", run, "--long-texts", "mean")
    process = command(*started)
    wait_for(has_logged(run, 70), process)
    process.kill()
    process.communicate()
    assert 0 < last_logged_step(run) < 220
    assert main(started) == 0
    assert read_result(run) == read_result(ended / "mean") and read_log(run) == read_log(ended / "mean")


def test_regression_and_multi_label_tasks_read_windows(pretrained, tmp_path):
    numbers = {"urgent": "1.0", "calm": "-1.0", "mild": "0.0"}
    several = {"urgent": "now|ours", "calm": "ours", "mild": ""}
    for name, told in (("score", numbers), ("several", several)):
        (tmp_path / name).mkdir()
        for split, rows, seed in (("train", 90, 1), ("dev", 30, 2)):
            write_rows(tmp_path / name / f"{split}.csv", rows, seed=seed, told=told.__getitem__)
        run = tmp_path / f"{name}-run"
        assert main(finetune(pretrained, tmp_path / name, run, f"--{name}", "--long-texts", "max")) == 0
        found = read_result(run)
        assert found["long_texts"]["max"] == pytest.approx(found["dev"])
        assert found["dev"]["main"] > found["long_texts"]["cut"]["main"]
        given = ["evaluate", "--model", str(run), "--data", str(tmp_path / name), "--json", str(tmp_path / "s.json")]
        assert main(given) == 0
        scores = json.loads((tmp_path / "s.json").read_text())
        assert scores["rows"] == 30 and {**scores, "main": found["dev"]["main"]}.items() >= found["dev"].items()


def test_class_weights_count_texts_not_windows(pretrained, tmp_path, monkeypatch):
    from bert_jax.finetuning import single_run

    words = " ".join(["fa"] * 40)
    texts = [("short", "fa")] * 6 + [("long", words)] * 3
    for split in ("train", "dev"):
        (tmp_path / f"{split}.csv").write_text("text,label\n" + "".join(f"{text},{name}\n" for name, text in texts))
    seen = []
    monkeypatch.setattr(single_run, "Program", lambda task, *more, **given: seen.append(task))
    config = bert_jax.FinetuneConfig(
        pretrained, tmp_path, tmp_path / "run", class_weights="balanced", long_texts="mean", max_length=LENGTH
    )
    single_run.read_inputs(config)
    assert seen[0].class_weights == pytest.approx((1.5, 0.75))  # long, short


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--long-texts", "mean", "--pair", "text"], "--long-texts mean is for single texts, --pair text makes pairs"),
        (["--long-texts", "max", "--task", "ner"], "--long-texts max is for single texts, ner has windows"),
        (["--long-texts", "head-tail", "--task", "rte"], "these are pairs. Use cut"),
        (["--long-texts", "mean", "--overlap", "14"], "overlap 14: windows of 14 tokens leave no step"),
        (["--group", "page", "--task", "squad"], "--group page: for task rows and choice, not squad"),
        (["--group", "customer"], "no column 'customer'"),
        (["--split-seed", "-1"], "split_seed is -1"),
    ],
)
def test_mistakes_end_in_one_line(pretrained, ended, tmp_path, capsys, more, says):
    data = Path(shutil.copytree(ended / "data", tmp_path / "data"))
    for split in ("train", "dev") if "rte" in more else ():
        (data / f"{split}.tsv").write_text("index\tsentence1\tsentence2\tlabel\n1\ta\tb\tentailment\n")
    assert main(finetune(pretrained, data, tmp_path / "run", *more)) == 1
    err = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("note: ")]
    assert len(err) == 1 and says in err[0]
    assert not (tmp_path / "run").exists()


def test_evaluate_refuses_ways_for_pairs(ended, tmp_path, capsys):
    given = ["evaluate", "--model", ended / "cut", "--data", ended / "data", "--pair", "text", "--long-texts", "max"]
    assert main([str(part) for part in given]) == 1
    assert "reads pairs of texts, which can only be cut" in capsys.readouterr().err
