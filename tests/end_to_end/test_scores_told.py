"""Scores on the terminal: a run that learned nothing, and rows that the model was trained on."""

import json
from pathlib import Path

import pytest
from runs import read_result

from bert_jax.cli import main
from bert_jax.finetuning.trained_on import HASHES_FILE

SETTINGS = ["--batch-size", 8, "--max-length", 8, "--mesh.data", 1]


def write(path: Path, rows: list[tuple[str, str]]) -> None:
    path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))


@pytest.fixture(scope="module")
def useless(once, pretrained, tmp_path_factory) -> Path:
    """A run with default settings on texts that are all the same, whatever their label."""

    def make(folder: Path) -> None:
        folder.mkdir()
        write(folder / "train.jsonl", [("ba me", "ham"), ("ba me", "spam"), ("ba me", "spam")] * 8)
        write(folder / "dev.jsonl", [("ba me", "ham"), ("ba me", "spam"), ("ba me", "spam")])
        write(folder / "june.jsonl", [("ba me", "spam"), ("don don", "ham"), ("BA   me", "ham"), ("ke", "ham")])
        arguments = ["finetune", "--from", pretrained, "--data", folder, "--output", folder / "run", *SETTINGS]
        assert main([str(part) for part in arguments]) == 0

    return once("useless", make)


def test_a_run_that_learned_nothing_says_so_with_advice(useless, capsys):
    arguments = [
        "finetune",
        "--from",
        useless.parent / "pretrained",
        "--data",
        useless,
        "--output",
        useless / "run",
        *SETTINGS,
    ]
    assert main([str(part) for part in arguments]) == 0  # finished before: prints the same again
    out, err = capsys.readouterr()
    finished = read_result(useless / "run")
    assert finished["dev"]["accuracy"] == finished["baseline"] == finished["bag_of_words"] == pytest.approx(2 / 3)
    score, baselines, verdict = out.splitlines()
    assert "f1 of spam" in score and "(best of step" in score
    assert "a bag of words (TF-IDF and logistic regression): accuracy 0.6667; always spam" in baselines
    assert "learned nothing: accuracy 0.6667 is no better than always spam" in verdict and " Try --learning-" in verdict
    assert "Nor is a bag of words" in verdict and "the default for" not in err
    page = (useless / "run" / "report.md").read_text()
    assert "bag of words" in page and "F1 of spam" in page and "learning_rate = " in page


def test_rows_seen_in_training_are_counted_and_the_others_scored_separately(useless, capsys):
    arguments = [
        "evaluate",
        "--model",
        useless / "run",
        "--data",
        useless / "june.jsonl",
        "--report",
        useless / "page",
    ]
    assert main([*map(str, arguments), "--json", str(useless / "june.json")]) == 0
    out, err = capsys.readouterr()
    scores = json.loads((useless / "june.json").read_text())
    assert (scores["rows"], scores["rows_trained_on"], scores["positive_class"]) == (4, 2, "spam")
    assert (
        "june.jsonl: the model was trained on 2 of 4 rows, so the scores are too good. The other 2 alone: accuracy"
        in err
    )
    assert f"accuracy {scores['not_trained_on']['accuracy']:.4f}" in err and "f1 of spam" in out
    assert "the model was trained on 2 of 4 rows" in (useless / "page" / "report.md").read_text()
    assert "baseline: always ham, the most frequent class: accuracy 0.7500" in out
    assert main([*map(str, arguments[:4]), str(useless / "train.jsonl")]) == 0
    assert "trained on all 24 rows, so the scores show what it learned by heart" in capsys.readouterr().err
    (useless / "run" / HASHES_FILE).unlink()  # as in runs of older versions
    assert main([*map(str, arguments), "--json", "-"]) == 0
    assert "rows_trained_on" not in json.loads(capsys.readouterr().out)
