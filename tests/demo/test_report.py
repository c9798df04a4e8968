import dataclasses
import json
import math
from pathlib import Path

import pytest

from bert_jax.demo import report
from bert_jax.demo.report import DemoResults, Prediction

KEYS = {
    "pretrained_accuracy",
    "scratch_accuracy",
    "majority_accuracy",
    "pretrain_loss_first",
    "pretrain_loss_last",
    "seconds",
}


def write_run(run: Path, lines: list[dict]) -> Path:
    run.mkdir(parents=True)
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


@pytest.fixture
def results(tmp_path: Path) -> DemoResults:
    pretraining = [
        {"step": step, "split": "train", "loss": 3 + 6 * math.exp(-step / 50), "mlm_accuracy": step / 400}
        for step in range(1, 101)
    ]
    pretraining.append({"step": 100, "split": "held_out", "loss": 4.0, "mlm_accuracy": 0.2, "perplexity": 54.6})
    dev = [{"step": step, "split": "dev", "accuracy": 0.125 + step / 200} for step in range(0, 101, 25)]
    return DemoResults(
        pretrained_accuracy=0.625,
        scratch_accuracy=0.5,
        majority_accuracy=0.125,
        pretrain_loss_first=9.1,
        pretrain_loss_last=3.8,
        seconds=371.26,
        stage_seconds={"corpus": 20.0, "pre-training": 300.0},
        corpus={"documents": 4911},
        task={"training_rows": 2000},
        model="2 layers, 128 wide",
        device="2 CPU cores",
        predictions=[Prediction("Sort a | b.", "numpy", {"numpy": 0.75, "scipy": 0.25}, truth="scipy")],
        commands=["bert-jax inspect demo/pretrained"],
        pretrain_run=write_run(tmp_path / "runs" / "pretrain", pretraining),
        pretrained_run=write_run(tmp_path / "runs" / "fine", dev),
        scratch_run=write_run(tmp_path / "runs" / "scratch", dev[:2]),
    )


def test_report_says_what_was_measured(results, tmp_path):
    report.write_report(tmp_path / "demo", results)
    numbers = json.loads((tmp_path / "demo" / "results.json").read_text())
    assert set(numbers) >= KEYS
    assert numbers["pretrained_accuracy"] == 0.625 and numbers["seconds"] == 371.3
    text = (tmp_path / "demo" / "report.md").read_text()
    for expected in (
        "| always the most frequent label | 12.5 % |",
        "| fine-tuned from random weights | 50.0 % |",
        "| **fine-tuned from the pre-trained model** | **62.5 %** |",
        "worth 12.5 points",
        "4,911 documents",
        "from 9.10 to 3.80",
        "| Sort a \\| b. | scipy | numpy 75 %, scipy 25 % |",
        "bert-jax inspect demo/pretrained",
        "![Loss and accuracy over the steps](curves.png)",
    ):
        assert expected in text
    assert (tmp_path / "demo" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_report_is_honest_when_pretraining_did_not_help(results):
    assert "did not help" in report.report_text(dataclasses.replace(results, pretrained_accuracy=0.4))


def test_report_needs_no_metrics(results, tmp_path):
    (results.pretrain_run / "metrics.jsonl").write_text("")
    nothing = dataclasses.replace(
        results, pretrained_run=None, scratch_run=tmp_path / "missing", scratch_accuracy=None, predictions=[]
    )
    report.write_report(tmp_path / "demo", nothing)
    assert "not measured" in (tmp_path / "demo" / "report.md").read_text()
    assert (tmp_path / "demo" / "curves.png").stat().st_size > 0


def test_a_line_cut_off_half_way_is_passed_over(results):
    with (results.pretrain_run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 101, "spl')
    assert len(report.read_metrics(results.pretrain_run)) == 101


def test_smoothing_keeps_a_constant_and_does_not_lag():
    assert report.smooth([2.0] * 5) == pytest.approx([2.0] * 5)
    line = [float(value) for value in range(101)]
    assert report.smooth(line)[50] == pytest.approx(50)
    assert report.smooth([]) == []


def test_drawing_leaves_the_users_style_alone(results, tmp_path):
    import matplotlib

    with matplotlib.rc_context({"font.size": 17}):
        report.draw_curves(tmp_path / "curves.png", results)
        assert matplotlib.rcParams["font.size"] == 17
