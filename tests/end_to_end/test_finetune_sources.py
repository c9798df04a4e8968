"""Fine-tuning from TFDS, on SWAG's files, and the answers for GLUE's leaderboard."""

import csv
import json
import random

import numpy as np
import pytest
from costly import COSTLY
from runs import read_result
from tfds_builders import prepare_glue, prepare_squad

from bert_jax.cli import main
from bert_jax.finetuning.glue_suite import task_score

QUICK = ["--epochs", 1, "--batch-size", 6, "--learning-rate", 0.01, "--max-length", 24, "--log-every", 1]
CLASSES = ("entailment", "neutral", "contradiction")
ENDINGS = [f"ending{i}" for i in range(4)]


def run(*words):
    return main([str(word) for word in words])


def finetune(pretrained, task, data, output, *more):
    command = ["finetune", "--from", pretrained, "--task", task, "--data", data, "--output", output]
    return run(*command, *QUICK, "--mesh.data", 1, *more)


def rows_of(header, count, values):
    return header + "\n" + "".join("\t".join(values(i)) + "\n" for i in range(count))


@pytest.fixture
def suite(tmp_path):
    """RTE, CoLA, STS-B and MNLI with test files, MNLI's diagnostic rows, WNLI without a test file."""
    folder = tmp_path / "glue"
    for name in ("RTE", "CoLA", "STS-B", "MNLI", "WNLI", "AX"):
        (folder / name).mkdir(parents=True)
    pair = "index\tsentence1\tsentence2"
    for split, count in (("train", 13), ("dev", 9)):
        files = {
            f"RTE/{split}": rows_of(
                pair + "\tlabel", count, lambda i: (str(i), "ba", f"don {i}", f"{'not_' * (i % 2)}entailment")
            ),
            f"WNLI/{split}": rows_of(pair + "\tlabel", count, lambda i: (str(i), "ba", "don", str(i % 2))),
            f"CoLA/{split}": rows_of("x\t0\t\tba", count, lambda i: ("x", str(i % 2), "", f"don {i}")),
            f"STS-B/{split}": rows_of(pair + "\tscore", count, lambda i: (str(i), "ba", f"fe {i}", str(i % 5 * 2))),
        }
        for kind in ("",) if split == "train" else ("_matched", "_mismatched"):
            files[f"MNLI/{split}{kind}"] = rows_of(
                pair + "\tgold_label", count, lambda i: (str(i), "ba", "ke", CLASSES[i % 3])
            )
        for name, text in files.items():
            (folder / f"{name}.tsv").write_text(text)
    tests = {"RTE/test": 7, "CoLA/test": 5, "STS-B/test": 6, "MNLI/test_matched": 4, "MNLI/test_mismatched": 3}
    for name, count in {**tests, "AX/diagnostic": 8}.items():
        single = name.startswith("CoLA")
        text = rows_of(
            "index\tsentence" if single else pair, count, lambda i, one=single: (str(i), "ba", "don")[: 2 if one else 3]
        )
        (folder / f"{name}.tsv").write_text(text)
    return folder


@pytest.mark.parametrize("seeds", [(1,), pytest.param((1, 2), marks=COSTLY)], ids=str)
def test_the_suite_writes_answers_for_the_leaderboard(pretrained, suite, tmp_path, capsys, seeds):
    assert finetune(pretrained, "glue", suite, tmp_path / "all", "--seeds", *seeds) == 0, capsys.readouterr()
    submission = tmp_path / "all" / "submission"
    expected = {
        "RTE": (7, {"entailment", "not_entailment"}),
        "CoLA": (5, {"0", "1"}),
        "STS-B": (6, None),
        "MNLI-m": (4, {"entailment", "neutral", "contradiction"}),
        "MNLI-mm": (3, {"entailment", "neutral", "contradiction"}),
        "AX": (8, {"entailment", "neutral", "contradiction"}),
    }
    assert sorted(path.name for path in submission.iterdir()) == sorted(f"{name}.tsv" for name in expected)
    for name, (count, spelled) in expected.items():
        header, *lines = (submission / f"{name}.tsv").read_text().removesuffix("\n").split("\n")
        assert header == "index\tprediction" and [line.split("\t")[0] for line in lines] == list(map(str, range(count)))
        spelled_labels = [line.split("\t")[1] for line in lines]
        assert set(spelled_labels) <= spelled if spelled else all(0 <= float(value) <= 5 for value in spelled_labels)
    assert "lacks SST-2, MRPC, QQP, QNLI, WNLI, which the leaderboard requires" in capsys.readouterr().err
    single = ["predict", "--model", tmp_path / "all" / "mnli", "--input", suite / "AX" / "diagnostic.tsv"]
    assert run(*single, "--output", tmp_path / "AX.tsv") == 0
    assert (tmp_path / "AX.tsv").read_text() == (submission / "AX.tsv").read_text()

    summary = json.loads((tmp_path / "all" / "glue.json").read_text())
    scores = {name: task["score"]["mean"] for name, task in summary["tasks"].items()}
    mnli = summary["tasks"]["mnli"]
    both = (mnli["accuracy"]["mean"] + mnli["mismatched_accuracy"]["mean"]) / 2
    assert scores["mnli"] == pytest.approx(both)
    assert summary["average"] == pytest.approx(np.mean(list(scores.values())))
    assert summary["average_without_wnli"] == pytest.approx(
        np.mean([scores[name] for name in scores if name != "wnli"])
    )


def test_a_task_counts_once_in_the_average():
    assert task_score("mnli", {"accuracy": 0.8, "mismatched_accuracy": 0.6, "main": 0.8}) == pytest.approx(0.7)
    assert task_score("mrpc", {"f1": 0.9, "accuracy": 0.7, "main": 0.8}) == pytest.approx(0.8)
    assert task_score("cola", {"matthews": 0.5, "accuracy": 0.9, "main": 0.5}) == 0.5


def test_a_broken_test_file_is_refused_before_training(pretrained, suite, tmp_path, capsys):
    (suite / "RTE" / "test.tsv").write_text("index\tsentence1\tsentence2\n0\tba\n")
    assert finetune(pretrained, "glue", suite, tmp_path / "all") == 1
    assert "test.tsv line 2: 2 fields, 3 are expected" in capsys.readouterr().err
    assert not (tmp_path / "all").exists()


def test_a_missing_dev_file_is_refused_before_training(pretrained, suite, tmp_path, capsys):
    lost = suite / "WNLI" / "dev.tsv"
    lost.unlink()
    assert finetune(pretrained, "glue", suite, tmp_path / "all") == 1
    assert f"{lost}: missing, although the training file is there" in capsys.readouterr().err
    assert not (tmp_path / "all").exists()


def test_glue_from_tfds_gives_the_same_run_as_files(pretrained, suite, tmp_path):
    splits = {"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"}
    prepare_glue("rte", suite / "RTE", tmp_path / "tfds", splits)
    prepare_glue("stsb", suite / "STS-B", tmp_path / "tfds", splits)
    data = f"tfds:glue@{tmp_path}/tfds"
    assert finetune(pretrained, "glue", data, tmp_path / "all") == 0
    assert finetune(pretrained, "rte", suite, tmp_path / "rte") == 0
    one, other = read_result(tmp_path / "all" / "rte"), read_result(tmp_path / "rte")
    assert one == other
    assert sorted(path.name for path in (tmp_path / "all" / "submission").iterdir()) == ["RTE.tsv", "STS-B.tsv"]
    scored = ["evaluate", "--model", tmp_path / "rte", "--json", tmp_path / "s.json", "--data"]
    for source, rows in ((data, 9), (f"{data}?split=validation[:5]", 5), (suite, 9)):
        assert run(*scored, source) == 0
        assert json.loads((tmp_path / "s.json").read_text())["rows"] == rows


def test_squad_from_tfds_is_learned_and_scored(pretrained, tmp_path):
    asked = [{"id": f"q{i}", "question": f"ba {i}", "answers": [{"text": "don", "answer_start": 3}]} for i in range(7)]
    (tmp_path / "all.json").write_text(json.dumps({"data": [{"paragraphs": [{"context": "ba don fe", "qas": asked}]}]}))
    prepare_squad("v1.1", tmp_path / "tfds", dict.fromkeys(("train", "validation"), tmp_path / "all.json"))
    data = f"tfds:squad@{tmp_path}/tfds"
    assert finetune(pretrained, "squad", data, tmp_path / "run") == 0
    assert read_result(tmp_path / "run")["dev_rows"] == 7
    assert run("evaluate", "--model", tmp_path / "run", "--data", data, "--json", tmp_path / "s.json") == 0
    assert json.loads((tmp_path / "s.json").read_text())["f1"] == pytest.approx(
        read_result(tmp_path / "run")["dev"]["f1"]
    )


def write_swag(path, rows, *, labels=True, seed=0):
    """The right ending contains "ba"."""
    rng = random.Random(seed)
    with path.open("w", newline="") as file:
        names = ["", "video-id", "fold-ind", "startphrase", "sent1", "sent2", "gold-source", *ENDINGS]
        writer = csv.writer(file)
        writer.writerow([*names, *(["label"] if labels else [])])
        for i in range(rows):
            right = rng.randrange(4)
            endings = ["ba ba" if k == right else "don ke" for k in range(4)]
            known = ["v", i, "ging me fa", "ging me", "fa", "gold", *endings]
            writer.writerow([i, *known, *([right] if labels else [])])


def test_swag_is_learned_scored_and_predicted(pretrained, tmp_path):
    for name, rows in (("train", 48), ("val", 12)):
        write_swag(tmp_path / f"{name}.csv", rows, seed=rows)
    write_swag(tmp_path / "test.csv", 5, labels=False)
    assert finetune(pretrained, "swag", tmp_path, tmp_path / "run", "--epochs", 12, "--evaluate-every", 48) == 0
    assert read_result(tmp_path / "run")["dev"]["accuracy"] > 0.9 and read_result(tmp_path / "run")["dev_rows"] == 12
    assert run("evaluate", "--model", tmp_path / "run", "--data", tmp_path, "--json", tmp_path / "s.json") == 0
    scores = json.loads((tmp_path / "s.json").read_text())
    assert scores["accuracy"] == read_result(tmp_path / "run")["dev"]["accuracy"] and scores["rows"] == 12
    out = tmp_path / "out.jsonl"
    assert run("predict", "--model", tmp_path / "run", "--input", tmp_path / "test.csv", "--output", out) == 0
    answers = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(answers) == 5 and {answer["choice"] for answer in answers} <= {"fa ba ba", "fa don ke"}
