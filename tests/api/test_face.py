"""The Python API: names, keywords, errors, results."""

import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from costly import COSTLY

import bert_jax
from bert_jax.api.keywords import as_toml, spelled_call
from bert_jax.api.results import TableResult, html_table, text_table
from bert_jax.config import from_table
from bert_jax.errors import Stopped, UserError
from bert_jax.origin import called_as, origin
from bert_jax.settings.convert import ConvertConfig
from bert_jax.settings.embed import EmbedConfig
from bert_jax.settings.evaluate import EvaluateConfig
from bert_jax.settings.field_texts import field_texts
from bert_jax.settings.fill_mask import FillMaskConfig
from bert_jax.settings.finetune import FinetuneConfig
from bert_jax.settings.inspect import InspectConfig
from bert_jax.settings.predict import PredictConfig
from bert_jax.settings.pretrain import PretrainConfig
from data_prep.settings import ReportConfig, ShardsConfig, VocabConfig

VERBS = {
    "prepare": ShardsConfig,
    "prepare.vocab": VocabConfig,
    "prepare.report": ReportConfig,
    "pretrain": PretrainConfig,
    "finetune": FinetuneConfig,
    "evaluate": EvaluateConfig,
    "predict": PredictConfig,
    "embed": EmbedConfig,
    "fill_mask": FillMaskConfig,
    "convert": ConvertConfig,
    "inspect": InspectConfig,
}
LISTS = {"texts", "pairs", "labels"}


def function_of(name):
    verb, _, part = name.partition(".")
    return getattr(getattr(bert_jax, verb), part) if part else getattr(bert_jax, verb)


@pytest.mark.parametrize("name", VERBS)
def test_keywords_are_the_settings_of_the_command(name):
    parameters = inspect.signature(function_of(name)).parameters
    fields = {field.name: field.default for field in dataclasses.fields(VERBS[name])}
    assert fields.keys() - LISTS == parameters.keys() - LISTS - {"settings"}
    for field, default in fields.items():
        assert parameters[field].default in (default, None, inspect.Parameter.empty)
    documented = function_of(name).__doc__
    assert all(f"\n{field}: " in documented for field in field_texts(VERBS[name]))


@pytest.mark.parametrize(
    "before",
    [
        "import bert_jax.verbs.convert; ",
        pytest.param("", marks=COSTLY),
        pytest.param("import bert_jax.convert.hugging_face.tensor_names; ", marks=COSTLY),
    ],
)
def test_convert_is_callable_after_any_import(before):
    code = (
        f"{before}import bert_jax, inspect\n"
        "from bert_jax import convert\n"
        "assert convert is bert_jax.convert and callable(convert)\n"
        "assert list(inspect.signature(convert).parameters)[:3] == ['source', 'target', 'to']\n"
        "try:\n    bert_jax.convert('none', 'target')\n"
        "except bert_jax.UserError as error:\n    assert 'none' in str(error), error\n"
        "else:\n    raise SystemExit('converted')\n"
        "import bert_jax.convert.rules; assert bert_jax.convert.rules.Rule\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_dir_lists_exactly_the_public_names():
    names = [name for name in dir(bert_jax) if not name.startswith("__")]
    assert names == sorted(bert_jax.__all__) and {"finetune", "convert", "BertClassifier"} <= set(names)


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda: bert_jax.finetune(lable="x"), "finetune(): unknown key 'lable'; did you mean 'label'?"),
        (lambda: bert_jax.finetune(data="x.csv", output="y"), "finetune(): missing from"),
        (
            lambda: bert_jax.finetune("x"),
            "finetune(): pass 'x' by keyword; the keywords are from_=, data=",
        ),
        (
            lambda: bert_jax.finetune(from_="x", data={"a": [1]}, output="z", task="ner"),
            "task ner reads files of its own",
        ),
        (lambda: bert_jax.finetune("none.toml"), "none.toml: no such file"),
        (lambda: bert_jax.finetune(data="x", texts=["a"]), "finetune(): pass either data or texts"),
        (lambda: bert_jax.finetune(from_="x", data="y", output="z", seeds="one"), "seeds is 'one', int is expected"),
        (lambda: bert_jax.convert("a", "b", target="c"), "convert(): target is given twice, 'b' and 'c'"),
        (lambda: bert_jax.inspect("none"), "none: no such file or folder"),
        (lambda: bert_jax.prepare.check("none"), "none: no such folder"),
        (lambda: bert_jax.prepare(input="none", tokenizer="v", output="s"), "v: no such file or folder"),
    ],
)
def test_invalid_calls_raise_one_line(call, problem, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        call()
    assert problem in str(caught.value) and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir()) and "writes to" not in capsys.readouterr().err


def test_notebooks_show_errors_without_traceback():
    assert UserError("out of paper")._render_traceback_() == ["UserError: out of paper"]
    assert Stopped("saved")._render_traceback_() == ["Stopped: saved"]


def test_keywords_accept_paths_arrays_and_nested_settings():
    keywords = {
        "data": Path("rows.csv"),
        "seeds": np.arange(2),
        "batch_size": np.int64(16),
        "choices": "options",
        "sweep.epochs": 3.0,
        "sweep": {"learning_rates": (1e-3,)},
    }
    assert as_toml(FinetuneConfig, keywords) == {
        "data": "rows.csv",
        "seeds": [0, 1],
        "batch_size": 16,
        "choices": ["options"],
        "sweep": {"learning_rates": [1e-3], "epochs": [3.0]},
    }


@pytest.mark.parametrize("length", [64, (64, 128)])
def test_keywords_accept_one_value_or_several(length):
    keywords = {"input": Path("books"), "tokenizer": "vocab", "output": "shards", "length": length}
    config = from_table(ShardsConfig, as_toml(ShardsConfig, keywords), "prepare()")
    assert (config.input, config.length) == (("books",), length)


def test_origin_is_the_call_from_python():
    call = spelled_call("finetune", ("base.toml",), {"from_": Path("runs/mini"), "texts": ["a"] * 30, "seeds": (1, 2)})
    assert call == "bert_jax.finetune('base.toml', from_='runs/mini', texts=<list of 30>, seeds=(1, 2))"
    before = origin()
    with called_as(call), called_as("another, within"):
        assert origin() == call
    assert origin() == before


class Shown(TableResult):
    def title(self):
        return "runs/<b>\x1b[2J"

    def table(self):
        return [{"run": "<script>", "score": 0.5}, {"run": "b\nc", "score": 12.25, "labels": ["x", "y"]}]


def test_results_are_shown_as_text_and_html_with_escapes():
    shown = repr(Shown()).split("\n")
    assert shown[0] == "runs/<b>\\u001b[2J"
    assert shown[2:] == ["<script>   0.5000", "b\\nc      12.2500  x, y"]
    page = Shown()._repr_html_()
    assert "&lt;script&gt;" in page and "<script>" not in page and "<b>" not in page and "\x1b" not in page
    assert "0.5000" in page and text_table([]) == "" and "<table>" in html_table([])
    assert "... 30 rows in all" in text_table([{"row": i} for i in range(30)])
