"""API functions do the same as the command, on rows in memory as on files; the notebook of the docs runs."""

import ast
import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from runs import write_rows

import bert_jax
from bert_jax.cli import main
from bert_jax.config import MeshConfig

NOTEBOOK = Path(__file__).parents[2] / "docs" / "python.ipynb"
SETTINGS = {"max_length": 12, "epochs": 1, "batch_size": 16, "learning_rate": 1e-3, "dev_share": 0.2}
FLAGS = [part for name, value in SETTINGS.items() for part in (f"--{name.replace('_', '-')}", str(value))]
ONE = MeshConfig(data=1)


def test_calls_from_python_do_the_same_as_the_command(pretrained, tmp_path, capsys):
    write_rows(tmp_path / "rows.csv", 45)
    with open(tmp_path / "rows.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    texts, labels = [row["body"] for row in rows], [row["label"] for row in rows]
    files = ["--from", pretrained, "--data", tmp_path / "rows.csv", "--output", tmp_path / "command"]
    arguments = [*files, "--text", "body"]
    assert main(["finetune", *map(str, arguments), *FLAGS, "--mesh.data", "1"]) == 0
    expected = json.loads((tmp_path / "command" / "result.json").read_text())

    called = bert_jax.finetune(
        from_=pretrained, texts=texts, labels=labels, text="body", output=tmp_path / "lists", mesh=ONE, **SETTINGS
    )
    result = called.runs[0].result()
    assert result["parameters_sha256"] == expected["parameters_sha256"]
    assert result["dev"] == expected["dev"] and called.scores["accuracy"] == expected["dev"]["accuracy"]
    assert called.baseline == expected["baseline"] and [run.path for run in called] == [called.path]
    assert "bert_jax.finetune(from_=" in called.report.read_text() and "accuracy" in called._repr_html_()
    config = bert_jax.FinetuneConfig(
        from_=str(pretrained), data=rows, text="body", output=str(called.path), mesh=ONE, **SETTINGS
    )
    again = bert_jax.finetune(config, log_every=10)  # finished before: nothing is trained
    assert again.scores == called.scores and "finished before" in capsys.readouterr().err

    seeds = bert_jax.finetune(
        from_=pretrained, data=rows, text="body", output=tmp_path / "seeds", seeds=(0, 1), mesh=ONE, **SETTINGS
    )
    assert len(seeds) == 2 and "seed-0" not in capsys.readouterr().out  # returned, not printed

    scores = bert_jax.evaluate(model=called, data=rows)
    assert scores["rows"] == 45 and set(scores.intervals) <= set(scores.scores)
    assert scores == bert_jax.evaluate(model=str(called.path), texts=texts, labels=labels)

    answer, answers = bert_jax.predict(texts[0], model=called), bert_jax.predict(np.array(texts[:5]), model=called)
    assert answers[0].label == answer.label == called.predict(texts[0]).label == called.predict(texts)[0].label
    assert [row["text"] for row in answers.table()] == texts[:5] and len(answers) == 5
    assert [answer.label for answer in bert_jax.predict(input=rows, text="body", model=called)][:5] == [
        answer.label for answer in answers
    ]
    written = bert_jax.predict(input=tmp_path / "rows.csv", text="body", model=called, output=tmp_path / "out.jsonl")
    assert len(written.read_text().splitlines()) == 45

    vectors = bert_jax.embed(texts[:3], model=called)
    assert vectors.shape == (3, 16)
    np.testing.assert_allclose(bert_jax.embed(texts[0], model=called), vectors[0], atol=1e-6)
    assert bert_jax.inspect(called)["head"] == "one answer for each text"
    assert bert_jax.convert(called, tmp_path / "hf", to="hf").path == tmp_path / "hf"
    with pytest.raises(bert_jax.UserError, match="row 2: label 'new' is not among"):
        bert_jax.evaluate(model=called, texts=texts[:2], labels=[labels[0], "new"])


def test_the_notebook_of_the_docs_runs(tmp_path):
    lines = ["import sys", "shown = []"]
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        if cell["cell_type"] == "code":
            body = ast.parse("".join(cell["source"])).body
            if isinstance(body[-1], ast.Expr):
                body[-1] = ast.parse(f"shown.append(({ast.unparse(body[-1])}))").body[0]
            lines.append(ast.unparse(ast.Module(body, [])))
    script = "\n".join(
        [
            *lines,
            "assert all(map(repr, shown))",
            "assert tuned.scores['accuracy'] > 2 * tuned.baseline, tuned",
            "assert sum(hasattr(value, '_repr_html_') and '<table>' in value._repr_html_() for value in shown) >= 6",
        ]
    )
    one_device = os.environ | {"JAX_NUM_CPU_DEVICES": "1"}
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path, env=one_device, timeout=300)
