"""Every task writes a report, and the same command repairs it."""

import csv
import json
import random
import re
import shutil
from pathlib import Path

import pytest
from costly import COSTLY
from runs import WORDS, read_result

from bert_jax.cli import main
from bert_jax.convert.source import read_model

QUICK = ["--epochs", 1, "--batch-size", 6, "--learning-rate", 0.01, "--max-length", 24, "--log-every", 1]
BAD = "<script>alert(1)</script>"
ALWAYS = ["Scores", "Data", "Confidence", "Training", "Drift from the pre-trained model", "How this was made"]


def texts(seed: int, count: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join([*rng.choices(WORDS, k=6), BAD]) for _ in range(count)]


def write_classes(folder: Path, labels: dict[str, list[str]]) -> None:
    for seed, (split, split_labels) in enumerate(labels.items()):
        with (folder / f"{split}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            writer.writerows(zip(texts(seed, len(split_labels)), split_labels, strict=True))


def single(folder: Path) -> list[object]:
    write_classes(folder, {"train": [f"{BAD}{i % 3}" for i in range(30)], "dev": [f"{BAD}{i % 2}" for i in range(11)]})
    return []


def several(folder: Path) -> list[object]:
    labels = ["", "a", "a|b"]
    write_classes(folder, {"train": [labels[i % 3] for i in range(30)], "dev": [labels[i % 2] for i in range(11)]})
    return ["--several"]


def scores(folder: Path) -> list[object]:
    write_classes(folder, {"train": [str(i % 7) for i in range(30)], "dev": [str(i % 5) for i in range(11)]})
    return ["--score"]


def tags(folder: Path) -> list[object]:
    rng = random.Random(0)
    for split, count in (("train", 12), ("dev", 5)):
        sentences = [[rng.choice(WORDS[:9]) for _ in range(rng.randint(2, 30))] for _ in range(count)]
        tagged = ["".join(f"{w}\t{'B-city' if w in WORDS[:3] else 'O'}\n" for w in words) for words in sentences]
        (folder / f"{split}.conll").write_text("\n".join(tagged))
    return ["--task", "ner"]


def questions(folder: Path, impossible: bool = False) -> list[object]:
    for split, seed, count in (("train", 1, 9), ("dev", 2, 5)):
        paragraphs = []
        for i, context in enumerate(texts(seed, count)):
            none = impossible and i % 3 == 0
            answers = [] if none else [{"text": context.split()[2], "answer_start": context.index(context.split()[2])}]
            entry = {"id": f"{seed}-{i}", "question": f"gon {BAD}?", "answers": answers, "is_impossible": none}
            paragraphs.append({"context": context, "qas": [entry]})
        (folder / f"{split}.json").write_text(json.dumps({"data": [{"title": "words", "paragraphs": paragraphs}]}))
    return ["--task", "squad"]


def choices(folder: Path) -> list[object]:
    for split, count in (("train", 12), ("dev", 7)):
        rows = [{"text": t, "choices": texts(i, 3), "label": i % 3} for i, t in enumerate(texts(9, count))]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["--task", "choice"]


KINDS = {
    "single": (single, "accuracy"),
    "several": (several, "micro_f1"),
    "scores": (scores, "pearson"),
    "tags": (tags, "f1"),
    "questions": (questions, "f1"),
    "refusals": (lambda folder: questions(folder, impossible=True), "no_answer_f1"),
    "choices": (choices, "accuracy"),
}

IN_SHORT = ("single", "scores", "tags", "refusals")  # the other tasks are played by BERT_JAX_ALL_CHECKS=1


@pytest.fixture(scope="session")
def reported(once, pretrained):
    """Return a function from a task to its run and the command that made it."""

    def run(kind: str) -> tuple[Path, list[str]]:
        def make(folder: Path) -> None:
            (folder / "data").mkdir(parents=True)
            more = KINDS[kind][0](folder / "data")
            arguments = ["finetune", "--from", pretrained, "--data", folder / "data", "--output", folder / "run"]
            words = [str(part) for part in (*arguments, *QUICK, *more, "--mesh.data", 1)]
            (folder / "words.json").write_text(json.dumps(words))
            assert main(words) == 0

        folder = once(f"reported-{kind}", make)
        return folder / "run", json.loads((folder / "words.json").read_text())

    return run


def pages(run: Path) -> dict[str, str]:
    """Return the files of a report without the training time."""
    names = ("report.md", "report.html", "report.json")
    return {name: re.sub(r"[\d.,]+ seconds", "", (run / name).read_text()) for name in names}


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=() if kind in IN_SHORT else COSTLY) for kind in KINDS])
def test_every_task_writes_a_report_and_the_same_command_repairs_it(reported, kind, capsys):
    run, words = reported(kind)
    report = pages(run)
    titles = re.findall(r"^## (.*)$", report["report.md"], re.MULTILINE)
    assert set(ALWAYS) <= set(titles) == set(re.findall(r"<h2>(.*?)</h2>", report["report.html"]))
    for text in report.values():
        assert not re.search(r"\b(nan|NaN|inf|None|Infinity)\b", text)
    assert BAD not in report["report.html"] and not re.search(r"(?<!\\)<script", report["report.md"])
    assert not re.search(r"(src|href)=\"(?!#|data:)", report["report.html"])

    dev, numbers = read_result(run)["dev"], json.loads(report["report.json"])
    assert numbers["scores"] == {name: dev[name] for name in dev if name not in ("main", "threshold")}
    assert KINDS[kind][1] in numbers["scores"]
    for name, (low, high) in numbers["intervals"].items():
        assert low <= high, name
    layers = ["embeddings", "block 1"]
    assert [layer["layer"] for layer in numbers["drift"]] == layers and numbers["drift"][1]["change"] > 0

    before = read_result(run)
    (run / "report.html").unlink()
    (run / "report.md").write_text("an older one")
    best = run / "checkpoints" / str(before["best_step"])
    shutil.copytree(best, best.with_name("99999"))  # as of a run that was killed after its result
    assert main(words) == 0
    assert [folder.name for folder in best.parent.iterdir() if folder.name.isdigit()] == [best.name]
    assert pages(run) == report and read_result(run) == before
    assert not list(run.glob("*.tmp")) and not list(run.glob(".*.writing"))


def test_class_missing_in_dev_has_no_recall(reported):
    text = (reported("single")[0] / "report.md").read_text()
    assert re.search(r"alert\(1\)\\</script\\>2 \| [\d.\u2013 %]+ \| \u2013 \|", text)
    assert "so their recall is unknown" in text


def test_evaluate_prints_intervals_and_writes_the_same_report(reported, tmp_path, capsys):
    run, words = reported("single")
    data = words[words.index("--data") + 1]
    arguments = ["evaluate", "--model", str(run), "--data", data, "--json", str(tmp_path / "scores.json")]
    assert main([*arguments, "--report", str(tmp_path / "pages")]) == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["intervals"] == json.loads((run / "report.json").read_text())["intervals"]
    low, high = scores["intervals"]["accuracy"]
    assert f"accuracy     {scores['accuracy']:.4f}  (95 % {low:.4f} to {high:.4f})" in capsys.readouterr().out
    report = pages(tmp_path / "pages")
    assert "## Mistakes" in report["report.md"] and "## Training" not in report["report.md"]
    mistakes = [
        re.search(r"## Mistakes.*?\n## ", text, re.DOTALL) for text in (report["report.md"], pages(run)["report.md"])
    ]
    assert mistakes[0] and mistakes[1] and mistakes[0].group() == mistakes[1].group()
    (tmp_path / "file").touch()
    assert main([*arguments, "--report", str(tmp_path / "file")]) == 1


def test_scores_of_a_predictions_file_have_intervals(reported, tmp_path):
    _, words = reported("refusals")
    data = Path(words[words.index("--data") + 1]) / "dev.json"
    (tmp_path / "answers.json").write_text(json.dumps({f"2-{i}": "" for i in range(5)}))
    arguments = ["evaluate", "--predictions", str(tmp_path / "answers.json"), "--data", str(data)]
    assert main([*arguments, "--json", str(tmp_path / "s.json"), "--report", str(tmp_path / "pages")]) == 0
    scores = json.loads((tmp_path / "s.json").read_text())
    assert scores["exact_match"] == pytest.approx(40.0)  # two of five have no answer
    low, high = scores["intervals"]["exact_match"]
    assert 5 < low < 40 < high < 80
    assert "Nothing to calibrate" in (tmp_path / "pages" / "report.md").read_text()


def test_report_names_the_best_step(reported):
    run, _ = reported("single")
    best = read_model(run / "checkpoints" / str(read_result(run)["best_step"])).params
    assert read_model(run).params.keys() == best.keys()
    assert f"Step {read_result(run)['best_step']} of" in (run / "report.md").read_text()
