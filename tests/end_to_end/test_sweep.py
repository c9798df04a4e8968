"""Several runs of one command: sweeps and learning curves."""

import dataclasses
import json
from pathlib import Path

import pytest
from runs import read_result, write_rows

import bert_jax
from bert_jax.cli import main
from bert_jax.data.batches import Batches
from bert_jax.data.encoded import encode_rows
from bert_jax.data.labelled.rows import Columns, read_rows
from bert_jax.text import load_tokenizer
from bert_jax.train.program import Program
from bert_jax.train.run import open_run

SETTINGS = ["--text", "body", "--batch-size", 6, "--learning-rate", 0.01, "--max-length", 16, "--mesh.data", 1]


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    write_rows(folder / "train.csv", 60, seed=1)
    write_rows(folder / "dev.csv", 30, seed=2)
    return folder


def arguments(pretrained: Path, data: Path, output: Path, *more: object) -> list[str]:
    return [
        str(part) for part in ("finetune", "--from", pretrained, "--data", data, "--output", output, *SETTINGS, *more)
    ]


def test_a_sweep_compiles_each_shape_once_and_resumes_after_a_stop(
    pretrained, model, rows, tmp_path, monkeypatch, capsys
):
    vocabulary = Path(model).parent / "vocab.txt"
    programs = []
    build = Program.__init__

    def count_builds(self, *call, **more):
        build(self, *call, **more)
        programs.append(self)

    monkeypatch.setattr(Program, "__init__", count_builds)
    grid = ["--sweep.learning-rates", 0.01, 0.001, "--sweep.batch-sizes", 6, 10, "--sweep.epochs", 1, 3]
    call = arguments(pretrained, rows, tmp_path / "grid", *grid)
    assert main(call) == 0
    shown = capsys.readouterr().out
    summary = json.loads((tmp_path / "grid" / "runs.json").read_text())
    assert len(summary["scores"]) == 8 == len(summary["settings"]) and "learning rate" in shown
    (program,) = programs
    shapes = {
        batch.batch(step)["tokens"].shape
        for batch in map(_batches_of(rows, vocabulary), (6, 10))
        for step in range(3 * batch.steps_per_epoch)
    }
    assert (
        program._gradients._cache_size() == len(shapes)
        and program._update._cache_size() == 1
        and program._init._cache_size() == 1
    )
    page = (tmp_path / "grid" / "report.html").read_text()
    assert all(f'href="{name}/report.html"' in page for name in summary["scores"])
    assert all((tmp_path / "grid" / name / "report.html").is_file() for name in summary["scores"])
    assert bert_jax.load(tmp_path / "grid").predict(["ba me ba"])[0].label == "urgent"

    (tmp_path / "grid" / "runs.json").unlink()
    name = summary["best"]
    (tmp_path / "grid" / name / "result.json").unlink()
    assert main(call) == 0
    again = json.loads((tmp_path / "grid" / "runs.json").read_text())
    assert again == summary
    assert capsys.readouterr().err.count("finished before") == 7


def _batches_of(data: Path, vocabulary: Path):
    """Training batches of the rows by batch size."""

    def batches(size: int) -> Batches:
        return Batches(encode_rows(read, tokenizer, 16), size, 0)

    tokenizer = load_tokenizer(vocabulary)
    read = dataclasses.replace(read_rows(data / "train.csv", Columns("body")), labels=None)
    return batches


def test_a_learning_curve_trains_on_growing_shares(pretrained, rows, tmp_path, capsys):
    call = arguments(pretrained, rows, tmp_path / "curve", "--learning-curve", "--epochs", 1)
    assert main(call) == 0
    assert "The last doubling of the examples (30 to 60 rows) brought" in capsys.readouterr().out
    runs = [read_result(path) for path in sorted((tmp_path / "curve").glob("share-*"))]
    assert sorted(run["train_rows"] for run in runs) == [8, 15, 30, 60]
    assert {run["step"] for run in runs} == {10}
    assert {open_run(path).record()["attention"] for path in (tmp_path / "curve").glob("share-*")} == {"plain"}
    assert "The last doubling of the examples (30 to 60 rows) brought" in (tmp_path / "curve" / "report.md").read_text()
