import dataclasses
import json
import math
from pathlib import Path

import pytest

from bert_jax.demo import demo_report, picture
from bert_jax.demo.closing import closing_lines
from bert_jax.demo.demo_results import DemoAnswer, DemoResults, MaskedSentence, Seeds


def write_run(run: Path, lines: list[dict]) -> Path:
    run.mkdir(parents=True)
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


def answer(label: str, confidence: float, truth: str, text: str = "Sort a | b.") -> DemoAnswer:
    other = "scipy" if label == "numpy" else "numpy"
    return DemoAnswer(text, label, {label: confidence, other: 1 - confidence}, truth)


@pytest.fixture
def results(tmp_path: Path) -> DemoResults:
    pretraining = [
        {"step": step, "split": "train", "mlm_loss": 3 + 6 * math.exp(-step / 50), "mlm_accuracy": step / 400}
        for step in range(1, 101)
    ]
    pretraining.append({"step": 100, "split": "held_out", "mlm_loss": 4.0, "mlm_accuracy": 0.2, "perplexity": 54.6})
    dev = [{"step": step, "split": "dev", "accuracy": 0.125 + step / 200} for step in range(0, 101, 25)]
    return DemoResults(
        pretrained=Seeds([0.625, 0.65, 0.6]),
        scratch=Seeds([0.5]),
        majority_accuracy=0.125,
        words_accuracy=0.55,
        pretrain_loss_first=9.1,
        pretrain_loss_last=3.8,
        stage_seconds={"corpus": 20.0, "pre-training": 351.26},
        corpus={"documents": 4911},
        task={"training rows": 2000},
        labels=("numpy", "scipy"),
        model="2 layers, 128 wide",
        device="2 CPU cores",
        answers=[
            answer("numpy", 0.75, "scipy"),
            answer("numpy", 0.99, "numpy"),
            answer("scipy", 0.9, "scipy"),
            answer("scipy", 0.55, "numpy"),
            answer("numpy", 0.98, "numpy"),
            answer("numpy", 0.97, "numpy"),
        ],
        hidden=[MaskedSentence("Sort the [MASK].", [("array", 0.25), ("list", 0.125)])],
        commands=["bert-jax pretrain --data demo/shards"],
        next_steps=[("bert-jax predict 'a line'", "a line of your own")],
        pretrain_run=write_run(tmp_path / "runs" / "pretrain", pretraining),
        pretrained_runs=[write_run(tmp_path / "runs" / f"fine-{i}", dev[: 3 + i]) for i in range(3)],
        scratch_runs=[write_run(tmp_path / "runs" / "scratch", dev[:2])],
    )


def test_report_contains_the_measurements(results, tmp_path):
    demo_report.write_report(tmp_path / "demo", results)
    numbers = json.loads((tmp_path / "demo" / "results.json").read_text())
    assert numbers["pretrained_accuracy"] == 0.625 and numbers["seconds"] == 371.3
    text = (tmp_path / "demo" / "report.md").read_text()
    for expected in (
        "| always the most frequent label | 12.5 % |",
        "| bag of words (TF-IDF, logistic regression) | 55.0 % |",
        "| fine-tuned from random weights | 50.0 % |",
        "| fine-tuned from the pre-trained model | 62.5 +- 2.5 % |",
        "worth 12.5 points",
        "7.5 points better than a bag of words",
        "4,911 documents",
        "from 9.10 to 3.80",
        "| Sort a \\| b. | scipy ✗ | numpy 75 %, scipy 25 % |",
        "| Sort the [MASK]. | array 25 %, list 12 % |",
        "| `bert-jax predict 'a line'` | a line of your own |",
        "![Loss and accuracy over the steps](curves.png)",
    ):
        assert expected in text
    assert (tmp_path / "demo" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_verdict_says_if_pretraining_did_not_help(results):
    assert "did not help" in demo_report.demo_verdict(dataclasses.replace(results, scratch=Seeds([0.7])))
    assert "7.5 points better still" in demo_report.demo_verdict(dataclasses.replace(results, words_accuracy=0.7))


def test_most_confident_answers_are_per_label_and_least_confident_overall(results):
    assert [(answer.label, answer.confidence) for answer in results.surest(2)] == [
        ("numpy", 0.99),
        ("numpy", 0.98),
        ("scipy", 0.9),
        ("scipy", 0.55),
    ]
    assert [answer.confidence for answer in results.least_sure(2)] == [0.75, 0.55]
    assert results.halves() == (1.0, pytest.approx(1 / 3))


@pytest.mark.parametrize("columns", [20, 80, 200])
def test_closing_lines_fit_the_terminal(results, columns):
    long = dataclasses.replace(results, answers=[answer("numpy", 0.9, "scipy", "word " * 90)] * 4)
    lines = list(closing_lines(long, Path("demo"), columns))
    assert all(len(line) <= max(columns, 60) for line in lines if line.endswith("..."))
    text = "\n".join(closing_lines(results, Path("demo"), columns))
    for expected in ("62.5 +- 2.5 %", "no, scipy", "array 25 %", "bert-jax predict 'a line'"):
        assert expected in text


def test_figure_can_be_drawn_without_metrics(results, tmp_path):
    for run in (results.pretrain_run, *results.pretrained_runs, *results.scratch_runs):
        (run / "metrics.jsonl").write_text("")
    picture.draw_demo_curves(tmp_path / "curves.png", results)
    assert (tmp_path / "curves.png").stat().st_size > 0


def test_figure_says_what_its_dots_are(results):
    from bert_jax.pictures import picture as new_picture
    from bert_jax.train.metrics import read_metrics

    with new_picture(5, 5) as figure:
        loss, accuracy = figure.subplots(2)
        picture._draw_pretraining(loss, accuracy, read_metrics(results.pretrain_run))
        dots = [line for axes in (loss, accuracy) for line in axes.lines if line.get_marker() == "o"]
        assert [list(line.get_xdata()) for line in dots] == [[100], [100]]
        assert "● held-out text" in [text.get_text() for text in loss.texts]


def test_labels_of_lines_do_not_overlap():
    heights = [0.5, 0.52, 0.51, 0.1]
    apart = picture._apart(heights, 1.0)
    assert [sorted(apart).index(height) for height in apart] == [1, 3, 2, 0]
    assert min(b - a for a, b in zip(sorted(apart), sorted(apart)[1:], strict=False)) >= 0.99 * picture.LINES_APART
    assert apart[3] == pytest.approx(0.1)


def test_smoothing_keeps_constants_and_does_not_lag():
    from bert_jax.pictures import smooth

    assert smooth([2.0] * 5) == pytest.approx([2.0] * 5)
    line = [float(value) for value in range(101)]
    assert smooth(line)[50] == pytest.approx(50)
    assert smooth([]) == []


def test_drawing_restores_the_style_of_the_user(results, tmp_path):
    import matplotlib

    with matplotlib.rc_context({"font.size": 17}):
        picture.draw_demo_curves(tmp_path / "curves.png", results)
        assert matplotlib.rcParams["font.size"] == 17
