"""Labelled rows to a model that answers."""

import csv
import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from costly import COSTLY
from runs import (
    has_logged,
    last_logged_step,
    read_log,
    read_result,
    wait_for,
    wait_for_exit,
    write_rows,
)

import bert_jax
from bert_jax.cli import main

COLUMNS = ["--text", "body", "--label", "label"]
QUICK = ["--epochs", 12, "--batch-size", 6, "--learning-rate", 0.01, "--max-length", 16, "--log-every", 1]


@pytest.fixture(scope="session")
def rows(common, once) -> Path:
    """train.csv and dev.csv of classes, and the same scored in a folder beside."""

    def make(folder: Path) -> None:
        for name, score in (("classes", False), ("scores", True)):
            (folder / name).mkdir(parents=True)
            write_rows(folder / name / "train.csv", 60, seed=1, score=score)
            write_rows(folder / name / "dev.csv", 30, seed=2, score=score)

    return once("rows", make)


def arguments(pretrained: Path, data: Path, output: Path, *more: object) -> list[str]:
    given = ["finetune", "--from", pretrained, "--data", data, "--output", output, *COLUMNS, *QUICK, "--mesh.data", 1]
    return [str(part) for part in (*given, *more)]


@pytest.fixture(scope="session")
def seeds(once, pretrained, rows) -> Path:
    """Two seeds of the task, in one folder."""

    def make(run: Path) -> None:
        assert main(arguments(pretrained, rows / "classes", run, "--seeds", 3, 4)) == 0

    return once("seeds", make)


def test_a_separable_task_is_learned(seeds):
    for name in ("seed-3", "seed-4"):
        found = read_result(seeds / name)
        assert found["dev"]["accuracy"] == 1.0 and found["dev"]["matthews"] == 1.0
        assert (found["train_rows"], found["dev_rows"]) == (60, 30)
        scores = [line["main"] for line in read_log(seeds / name) if line["split"] == "dev"]
        assert len(scores) == 12 and max(scores) == 1.0
        assert found["best_step"] == 10 * (1 + scores.index(1.0))  # the first of the best; ten steps an epoch
        assert (seeds / name / "checkpoints" / str(found["best_step"])).is_dir()


def test_several_seeds_are_summarised_and_the_best_predicts(seeds):
    summary = json.loads((seeds / "runs.json").read_text())
    assert summary["best"] == "seed-3"  # of equals the first
    assert summary["mean"]["accuracy"] == 1.0 and summary["deviation"]["accuracy"] == 0.0
    assert summary["scores"].keys() == {"seed-3", "seed-4"}
    assert read_result(seeds / "seed-3")["parameters_sha256"] != read_result(seeds / "seed-4")["parameters_sha256"]
    best = read_result(seeds / "seed-3")["best_step"]
    texts = ["ba me ba", "don me don ke"]
    by_folder = bert_jax.load(seeds).predict(texts)
    assert by_folder == bert_jax.load(seeds / "seed-3").predict(texts)
    assert by_folder == bert_jax.load(seeds / "seed-3" / "checkpoints" / str(best)).predict(texts)


def test_predictions_keep_their_order_and_are_probabilities(seeds):
    model = bert_jax.load(seeds)
    texts = ["me ba ke ba", "don don", "ke " * 40 + "ba", "me", "ba don me", "", "ba ba me ke"]
    together = model.predict(texts, batch_size=3)
    assert [prediction.label for prediction in together[:2]] == ["urgent", "calm"] and together[-1].label == "urgent"
    for text, prediction in zip(texts, together, strict=True):
        assert sum(prediction.probabilities.values()) == pytest.approx(1.0, abs=1e-6)
        assert prediction.label == max(prediction.probabilities, key=prediction.probabilities.get)
        alone = model.predict([text])[0]
        assert alone.probabilities == pytest.approx(prediction.probabilities, abs=1e-5)
    assert model.predict([]) == []
    with pytest.raises(bert_jax.UserError, match="trained on single texts"):
        model.predict(["a"], ["b"])
    with pytest.raises(bert_jax.UserError, match="1 text but 2 pairs"):
        model.predict(["a"], ["b", "c"])


def test_predict_refuses_input_that_is_no_list_of_strings(seeds):
    with pytest.raises(bert_jax.UserError, match="lists of strings"):
        bert_jax.load(seeds).predict(["ba", 5])


def test_evaluate_repeats_the_dev_score_and_predict_labels_a_file(seeds, rows, tmp_path, capsys):
    model = str(seeds / "seed-4")
    asked = ["evaluate", "--model", model, "--data", str(rows / "classes"), "--json"]
    assert main([*asked, str(tmp_path / "s.json")]) == 0
    scores = json.loads((tmp_path / "s.json").read_text())
    capsys.readouterr()
    assert main([*asked, "-"]) == 0
    assert json.loads(capsys.readouterr().out) == scores
    dev = read_result(seeds / "seed-4")["dev"]
    assert {name: scores[name] for name in ("accuracy", "f1", "matthews")} == {n: dev[n] for n in dev if n != "main"}
    assert scores["rows"] == 30

    out = tmp_path / "labels.jsonl"
    dev_file = rows / "classes" / "dev.csv"
    assert main(["predict", "--model", model, "--input", str(dev_file), "--output", str(out)]) == 0
    wanted = [row["label"] for row in csv.DictReader(dev_file.open())]
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["label"] for line in found] == wanted
    assert all(set(line["probabilities"]) == {"urgent", "calm", "mild"} for line in found)
    capsys.readouterr()
    assert main(["predict", "--model", model, "--input", str(dev_file), "--output", str(out)]) == 1
    assert capsys.readouterr().err.count("\n") == 1

    lines_in = tmp_path / "in.txt"
    lines_in.write_text("ba me ba\r\ndon me don\n\nme ke")
    assert main(["predict", "--model", model, "--input", str(lines_in), "--output", str(tmp_path / "o.jsonl")]) == 0
    labels = [json.loads(line)["label"] for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert labels[:2] == ["urgent", "calm"] and len(labels) == 4


def test_a_regression_is_learned(pretrained, rows, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(arguments(pretrained, rows / "scores", run, "--score", "--epochs", 20, "--evaluate-every", 100)) == 0, (
        capsys.readouterr()
    )
    assert read_result(run)["dev"]["pearson"] > 0.9
    high, low, middle = bert_jax.load(run).predict(["ba ba ke", "don don ke", "ging ging ke"])
    assert high.score > 0.5 > middle.score > -0.5 > low.score and high.label is None


def test_a_killed_and_stopped_run_resumes_exactly_with_the_same_best(command, seeds, pretrained, rows, tmp_path):
    run = tmp_path / "killed"
    started = arguments(pretrained, rows / "classes", run, "--seeds", 4)
    process = command(*started)
    wait_for(has_logged(run, 37), process)
    process.kill()
    process.communicate()
    process = command(*started)
    wait_for(has_logged(run, last_logged_step(run) + 10), process)
    process.send_signal(signal.SIGTERM)
    code, _, err = wait_for_exit(process)
    assert code == 75 and "SIGTERM: saved step" in err
    assert main(started) == 0
    assert read_result(run) == read_result(seeds / "seed-4")
    assert read_log(run) == read_log(seeds / "seed-4")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (["--label", "lable"], "no column 'lable'; did you mean 'label'?"),
        (["--max-length", "64"], "max_length 64"),
        (["--max-length", "0"], "max_length is 0"),
        (["--task", "mrcp"], "did you mean 'mrpc'?"),
        (["--data", "nowhere"], "nowhere: no such file"),
        (["--seeds", "1", "1"], "seeds (1, 1)"),
        (["--batch-size", "7", "--mesh.data", "2"], "batch_size 7 does not divide"),
        (["--from", "nowhere"], "nowhere: no such file or folder"),
        (["--dev-share", "1.5", "--data", "alone.csv"], "dev_share 1.5 is not between 0 and 1"),
        (["--data", "one-class.csv"], "every row has the label"),
    ],
)
def test_mistakes_end_in_one_line_and_leave_no_folder(pretrained, rows, tmp_path, monkeypatch, capsys, change, says):
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "alone.csv", 12)
    (tmp_path / "one-class.csv").write_text("body,label\na,x\nb,x\nc,x\n")
    before = sorted(tmp_path.iterdir())
    assert main([*arguments(pretrained, rows / "classes", tmp_path / "run"), *change]) == 1
    out, err = capsys.readouterr()
    errors = [line for line in err.splitlines() if not line.startswith("note: ")]
    assert not out and len(errors) == 1 and says in errors[0]
    assert sorted(tmp_path.iterdir()) == before


def test_an_output_folder_of_something_else_is_refused(pretrained, rows, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("years of work")
    for more in ([], ["--seeds", 1, 2]):
        assert main(arguments(pretrained, rows / "classes", tmp_path / "run", *more)) == 1
        assert "exists and is not empty (thesis.txt)" in capsys.readouterr().err
        assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.txt"]


def test_a_damaged_model_is_refused(seeds, tmp_path, capsys):
    run = Path(shutil.copytree(seeds / "seed-3", tmp_path / "run"))
    path = run / "checkpoints" / str(read_result(run)["best_step"]) / "params" / "_METADATA"
    path.write_bytes(path.read_bytes().replace(b"encoder", b"decoder", 1))
    assert main(["predict", "--model", str(run), "--input", "x.txt", "--output", str(tmp_path / "o")]) == 1
    err = capsys.readouterr().err
    assert "is damaged: params/_METADATA has changed" in err and err.count("\n") == 1


def test_a_pre_trained_run_cannot_predict(pretrained, tmp_path, capsys):
    assert main(["predict", "--model", str(pretrained), "--input", "x.txt", "--output", str(tmp_path / "o")]) == 1
    assert "is pre-trained only" in capsys.readouterr().err


def test_fine_tuning_starts_from_the_encoder_unless_from_scratch(pretrained, rows, tmp_path):
    from bert_jax.config import MeshConfig
    from bert_jax.convert.source import read_model
    from bert_jax.finetuning.single_run import first_state
    from bert_jax.sharding import make_mesh
    from bert_jax.tasks.finetuning_task import make_task
    from bert_jax.train.program import Program
    from bert_jax.trees import flatten

    source = read_model(pretrained)
    program = Program(make_task("sequence", source.model, 2, "single_label"), make_mesh(MeshConfig(1)))

    def kept(**settings):
        """Return the parts of the encoder that are those of the source."""
        config = bert_jax.FinetuneConfig(pretrained, rows, tmp_path, **settings)
        params = flatten(first_state(program, config, source, seed=1).params)
        return {
            name.split("/")[1]
            for name in params
            if name.endswith("kernel") and np.array_equal(params[name], source.params.get(name))
        }

    assert kept() == {"blocks", "pooler"}
    assert kept(fresh_layers=1) == set()  # the only one, and the pooler
    assert kept(from_scratch=True) == set()
    assert main(arguments(pretrained, rows / "classes", tmp_path / "run", "--fresh-layers", 2)) == 1


def test_patience_ends_training_and_a_rerun_knows_it(pretrained, rows, tmp_path):
    given = arguments(pretrained, rows / "classes", tmp_path / "run", "--patience", 2, "--learning-rate", 1e-9)
    assert main(given) == 0
    first = read_result(tmp_path / "run")
    scored = [line for line in read_log(tmp_path / "run") if line["split"] == "dev"]
    best = max(range(len(scored)), key=lambda i: (scored[i]["main"], -i))
    assert len(scored) == best + 3 < 12  # the best, and two more
    assert first["step"] == scored[-1]["step"] and first["best_step"] == scored[best]["step"]
    assert main(given) == 0
    assert read_result(tmp_path / "run") == first
    assert [line for line in read_log(tmp_path / "run") if line["split"] == "dev"] == scored


def test_frozen_layers_stay_as_they_were(pretrained, rows, tmp_path):
    from bert_jax.convert.source import read_model

    assert main(arguments(pretrained, rows / "classes", tmp_path / "run", "--freeze-layers", 1, "--epochs", 1)) == 0
    before, after = (read_model(path).params for path in (pretrained, tmp_path / "run"))
    moved = {name for name in before.keys() & after.keys() if not np.array_equal(before[name], after[name])}
    assert moved and all(name.startswith("encoder/pooler/") for name in moved)


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        (
            "model.toml",
            lambda text: text.replace("depth = 1", "depth = 2"),
            "model.toml has changed since",
        ),
        ("result.json", lambda text: "[1]", "result.json: a JSON object is expected"),
        ("result.json", lambda text: '{"best_step": 99}', "names step 99"),
        ("tokenizer/vocab.txt", lambda text: text.replace("mon\n", "moon\n", 1), "vocab"),
        ("tokenizer/tokenizer.json", lambda text: text.replace('"mon"', '"moon"', 1), "vocab"),
        ("checkpoints/{best}/SEAL.json", lambda text: "{}", "SEAL.json does not seal the parameters"),
        ("checkpoints/{best}/SEAL.json", lambda text: "[]", "SEAL.json: a JSON object is expected"),
    ],
)
def test_an_altered_run_is_refused(seeds, tmp_path, capsys, file, change, says):
    run = Path(shutil.copytree(seeds / "seed-3", tmp_path / "run"))
    path = run / file.format(best=read_result(run)["best_step"])
    text = path.read_text()
    assert change(text) != text
    path.write_text(change(text))
    assert main(["predict", "--model", str(run), "--input", "x.txt", "--output", str(tmp_path / "o")]) == 1
    err = capsys.readouterr().err
    assert says in err and err.count("\n") == 1


def test_a_run_with_another_tokenizer_is_refused(seeds, tmp_path, capsys):
    run = Path(shutil.copytree(seeds / "seed-3", tmp_path / "run"))
    (run / "tokenizer" / "tokenizer.json").unlink()
    path = run / "tokenizer" / "vocab.txt"
    path.write_text(path.read_text().replace("mon\n", "moon\n", 1))
    assert main(["predict", "--model", str(run), "--input", "x.txt", "--output", str(tmp_path / "o")]) == 1
    assert "Put the run's own tokenizer back" in capsys.readouterr().err


def test_a_second_process_cannot_write_the_same_run(command, pretrained, rows, tmp_path, capsys):
    words = arguments(pretrained, rows / "classes", tmp_path / "run", "--epochs", 400)
    first = command(*words)
    wait_for(lambda: (tmp_path / "run" / ".lock").exists(), first)
    assert main(words) == 1
    assert "another process is writing this run" in capsys.readouterr().err.splitlines()[-1]
    first.kill()
    wait_for_exit(first)


def test_one_command_runs_all_glue_tasks(pretrained, tmp_path, capsys):
    (tmp_path / "glue" / "RTE").mkdir(parents=True)
    (tmp_path / "glue" / "CoLA").mkdir()
    for split in ("train", "dev"):
        rows = "".join(f"{i}\tba {i}\tdon\t{('not_' * (i % 2))}entailment\n" for i in range(9))
        (tmp_path / "glue" / "RTE" / f"{split}.tsv").write_text("index\tsentence1\tsentence2\tlabel\n" + rows)
        (tmp_path / "glue" / "CoLA" / f"{split}.tsv").write_text("x\t0\t\tba\nx\t1\t\tdon\n" * 3)
    given = [
        "finetune",
        "--from",
        pretrained,
        "--task",
        "glue",
        "--data",
        tmp_path / "glue",
        "--output",
        tmp_path / "all",
    ]
    assert main([str(part) for part in (*given, *QUICK, "--epochs", 1, "--mesh.data", 1, "--seeds", 1, 2)]) == 0
    out, err = capsys.readouterr()
    summary = json.loads((tmp_path / "all" / "glue.json").read_text())
    assert list(summary["tasks"]) == ["cola", "rte"] and "mnli" in summary["left_out"]
    mains = [task["main"]["mean"] for task in summary["tasks"].values()]
    assert summary["average"] == pytest.approx(sum(mains) / 2)
    assert "average" in out and "MNLI: no train.tsv; mnli is skipped" in err
    assert read_result(tmp_path / "all" / "rte" / "seed-2")["dev_rows"] == 9
    assert (
        main(["finetune", "--from", str(pretrained), "--task", "glue", "--data", str(tmp_path), "--output", "x"]) == 1
    )


def test_multi_label_rows_are_learned(pretrained, tmp_path):
    rng = np.random.default_rng(0)
    words = {"urgent": "ba", "billing": "don", "login": "ging"}
    for split, count in (("train", 90), ("dev", 30)):
        with (tmp_path / f"{split}.jsonl").open("w") as file:
            for _ in range(count):
                own = [label for label in words if rng.random() < 0.4]
                text = " ".join([*(words[label] for label in own), "fa", "fe"])
                file.write(json.dumps({"body": text, "label": own}) + "\n")
    assert (
        main(arguments(pretrained, tmp_path, tmp_path / "run", "--several", "--epochs", 60, "--evaluate-every", 450))
        == 0
    )
    found = read_result(tmp_path / "run")["dev"]
    assert found["exact"] > 0.9 and found["micro_f1"] > 0.9 and found["main"] == found["micro_f1"]
    both, none = bert_jax.load(tmp_path / "run").predict(["ba don fa fe", "fa fe"])
    assert both.labels == ["billing", "urgent"] and none.labels == []
    (tmp_path / "new.csv").write_text("body,label\nba don fa fe,urgent|billing\nfa fe,\n")
    scored = ["evaluate", "--model", tmp_path / "run", "--data", tmp_path / "new.csv", "--json", tmp_path / "s.json"]
    assert main(list(map(str, scored))) == 0
    assert json.loads((tmp_path / "s.json").read_text())["exact"] == 1.0
    (tmp_path / "new.csv").write_text("body,label\nba,urgent|sales\n")
    assert main(list(map(str, scored))) == 1


@pytest.mark.parametrize("columns", ["two", pytest.param("list", marks=COSTLY)])
def test_several_numbers_are_learned(pretrained, rows, tmp_path, capsys, columns):
    """The score of the other tests, and its square."""
    for name in ("train", "dev"):
        with (rows / "scores" / f"{name}.csv").open(newline="") as file:
            table = [(row["body"], float(row["label"])) for row in csv.DictReader(file)]
        fields = [
            {"body": body} | ({"up": up, "far": up**2} if columns == "two" else {"up": [up, up**2]})
            for body, up in table
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in fields))
    run, names = tmp_path / "run", ["up", "far"] if columns == "two" else ["up_1", "up_2"]
    given = ["finetune", "--from", pretrained, "--data", tmp_path, "--output", run, "--text", "body", *QUICK]
    given += [
        "--mesh.data",
        1,
        "--epochs",
        20,
        "--evaluate-every",
        100,
        "--scores",
        *(names if columns == "two" else ["up"]),
    ]
    assert main(list(map(str, given))) == 0, capsys.readouterr()
    dev = read_result(run)["dev"]
    assert min(dev[f"pearson_{name}"] for name in names) > 0.9
    assert dev["pearson"] == pytest.approx(np.mean([dev[f"pearson_{name}"] for name in names]))
    high, low, middle = (
        answer.scores for answer in bert_jax.load(run).predict(["ba ba ke", "don don ke", "ging ging ke"])
    )
    assert list(high) == names
    assert high[names[0]] > middle[names[0]] > low[names[0]]
    assert min(high[names[1]], low[names[1]]) > middle[names[1]]
    capsys.readouterr()
    words = ["evaluate", "--model", run, "--data", tmp_path / "dev.jsonl", "--json", "-"]
    assert main(list(map(str, words))) == 0
    assert json.loads(capsys.readouterr().out)["pearson"] == pytest.approx(dev["pearson"], abs=1e-4)
