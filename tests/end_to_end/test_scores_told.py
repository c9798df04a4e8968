"""Scores on the terminal: of a run that learned nothing, and of rows that were trained on."""

import json
from pathlib import Path

import pytest
from runs import result

from bert_jax.cli import main
from bert_jax.finetuning.trained_on import FILE

SETTINGS = ["--batch-size", 8, "--max-length", 8, "--mesh.data", 1]


def write(path: Path, rows: list[tuple[str, str]]) -> None:
    path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))


@pytest.fixture(scope="module")
def told(once, pretrained, tmp_path_factory) -> Path:
    """A run on texts that are all the same, whatever their label, with the settings that are usual."""

    def make(folder: Path) -> None:
        folder.mkdir()
        write(folder / "train.jsonl", [("ba me", "ham"), ("ba me", "spam"), ("ba me", "spam")] * 8)
        write(folder / "dev.jsonl", [("ba me", "ham"), ("ba me", "spam"), ("ba me", "spam")])
        write(folder / "june.jsonl", [("ba me", "spam"), ("don don", "ham"), ("BA   me", "ham"), ("ke", "ham")])
        given = ["finetune", "--from", pretrained, "--data", folder, "--output", folder / "run", *SETTINGS]
        assert main([str(part) for part in given]) == 0

    return once("told", make)


def test_a_run_that_learned_nothing_says_so_and_what_to_try(told, capsys):
    given = ["finetune", "--from", told.parent / "pretrained", "--data", told, "--output", told / "run", *SETTINGS]
    assert main([str(part) for part in given]) == 0  # finished before: the same is said again
    out, err = capsys.readouterr()
    found = result(told / "run")
    assert found["dev"]["accuracy"] == found["baseline"] == found["bag_of_words"] == pytest.approx(2 / 3)
    score, beside, nothing = out.splitlines()
    assert "f1 of spam" in score and "(best of step" in score
    assert "a bag of words (TF-IDF and logistic regression): accuracy 0.6667; always spam" in beside
    assert "learned nothing: accuracy 0.6667 is no better than always spam" in nothing and " Try --learning-" in nothing
    assert "Nor is a bag of words" in nothing and "as none was given" not in err
    page = (told / "run" / "report.md").read_text()
    assert "bag of words" in page and "F1 of spam" in page and "learning_rate = " in page


def test_rows_that_were_trained_on_are_counted_and_the_others_scored_alone(told, capsys):
    given = ["evaluate", "--model", told / "run", "--data", told / "june.jsonl", "--report", told / "page"]
    assert main([*map(str, given), "--json", str(told / "june.json")]) == 0
    out, err = capsys.readouterr()
    scores = json.loads((told / "june.json").read_text())
    assert (scores["rows"], scores["rows_trained_on"], scores["positive_class"]) == (4, 2, "spam")
    assert "june.jsonl: 2 of 4 rows were trained on, so the scores flatter. The other 2 alone: accuracy" in err
    assert f"accuracy {scores['not_trained_on']['accuracy']:.4f}" in err and "f1 of spam" in out
    assert "2 of 4 rows were trained on" in (told / "page" / "report.md").read_text()
    assert "beside it: always ham, the most frequent class: accuracy 0.7500" in out
    assert main([*map(str, given[:4]), str(told / "train.jsonl")]) == 0
    assert "all 24 rows were trained on, so the scores say what was learned by heart" in capsys.readouterr().err
    (told / "run" / FILE).unlink()  # as in a run of an older version
    assert main([*map(str, given), "--json", "-"]) == 0
    assert "rows_trained_on" not in json.loads(capsys.readouterr().out)
