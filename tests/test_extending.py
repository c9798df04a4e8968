"""The recipes of docs/extending.md: the code of the page is registered and run."""

import csv
import dataclasses
import importlib
import random
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx
from tiny import TINY, pretraining_batch

import bert_jax
from bert_jax.cli import main
from bert_jax.errors import UserError
from bert_jax.pretrained import outputs_of
from bert_jax.registry import HEADS, SUITE, TASKS
from bert_jax.settings.finetune import TASK_HELP
from bert_jax.tasks.finetuning_task import make_task

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "extending.md").read_text()
RECIPES = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
BLOCK = re.compile(r"^```python\n# (\S+\.py)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
WORDS = ["ba", "don", "ging", "fe", "lun", "kos"]


def blocks_of(title: str) -> list[tuple[str, str]]:
    """Return (path of the file, code) of each block of a recipe."""
    (recipe,) = (text for text in RECIPES if text.startswith(f"{title}\n"))
    return BLOCK.findall(recipe)


@pytest.fixture
def apply(monkeypatch, tmp_path):
    """Apply the blocks of a recipe: new files become modules, other blocks run at the end of theirs. Undone later."""
    root = Path(__file__).resolve().parents[1]
    new_modules: list[str] = []
    tables: list[tuple[dict, dict]] = []

    def apply_recipe(title: str) -> int:
        blocks = blocks_of(title)
        for path, code in blocks:
            name = path.removesuffix(".py").replace("/", ".")
            if not (root / path).exists():
                (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / path).write_text(code)
                package = importlib.import_module(name.rpartition(".")[0])
                monkeypatch.setattr(package, "__path__", [*package.__path__, str((tmp_path / path).parent)])
                new_modules.append(name)
                continue
            module = importlib.import_module(name)
            contents = [value for key, value in vars(module).items() if type(value) is dict and not key.startswith("_")]
            tables.extend((value, dict(value)) for value in contents)
            exec(compile(code, path, "exec"), dict(vars(module)))
        return len({path for path, _ in blocks})

    yield apply_recipe
    for table, content in tables:
        table.clear()
        table.update(content)
    for name in new_modules:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    """A run folder with a tiny encoder of random weights and a vocabulary of six words."""
    from bert_jax.config import ModelConfig
    from bert_jax.convert.run_folder import write_run
    from bert_jax.pretrained import Pretrained, build
    from bert_jax.random_bits import weight_keys
    from bert_jax.settings.convert import ConvertConfig
    from bert_jax.text.wordpiece import WordPieceTokenizer
    from bert_jax.text.wordpiece_rules import WordPieceRules
    from bert_jax.trees import flatten

    tokenizer = WordPieceTokenizer(
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS], WordPieceRules(lowercase=True)
    )
    model = ModelConfig(vocab_size=tokenizer.vocab_size, width=12, depth=1, heads=2, mlp_width=20, max_length=16)
    module = build("encoder", model, rngs=weight_keys(0))
    params = flatten(nnx.to_pure_dict(nnx.state(module, nnx.Param)))
    folder = tmp_path_factory.mktemp("encoder") / "run"
    folder.mkdir()
    arrays = {name: np.asarray(value) for name, value in params.items()}
    write_run(Pretrained("tiny", "encoder", model, tokenizer, arrays), folder, ConvertConfig(folder, folder))
    return folder


def finetune(encoder: Path, output: Path, *arguments: object) -> None:
    settings = ["--max-length", 8, "--batch-size", 8, "--epochs", 1, "--learning-rate", 1e-3, "--mesh.data", 1]
    assert main(["finetune", "--from", *map(str, [encoder, "--output", output, *settings, *arguments])]) == 0


def test_the_page_counts_its_files():
    rows = re.findall(r"^\| \[(.*?)\]\(.*?\) \| (\d)", PAGE, flags=re.MULTILINE)
    assert len(rows) == len(RECIPES) == 7
    for recipe, (title, count) in zip(RECIPES, rows, strict=True):
        heading = recipe.splitlines()[0]
        assert heading.lower() == title.lower()
        assert len({path for path, _ in blocks_of(heading)}) == int(count)


def test_a_task_on_an_existing_head(apply, encoder, tmp_path):
    assert apply("A task on an existing head") == 2
    rng = random.Random(0)
    for split, count in (("train", 16), ("dev", 6)):
        labels = [("sport", "news")[i % 2] for i in range(count)]
        lines = [f"{label}: {WORDS[label == 'news']} {rng.choice(WORDS)}\n" for label in labels]
        (tmp_path / f"{split}.txt").write_text("".join(lines))
    finetune(encoder, tmp_path / "run", "--task", "lines", "--data", tmp_path)
    assert bert_jax.load(tmp_path / "run").predict("don fe").label in ("sport", "news")


def test_a_task_with_another_loss(apply, encoder, tmp_path, capsys):
    assert apply("A task with another loss") == 3
    with (tmp_path / "ratings.csv").open("w", newline="") as file:
        csv.writer(file, delimiter=";").writerows(
            [["text", "label"], *([f"{WORDS[i % 6]} ba", i % 6] for i in range(30))]
        )
    finetune(encoder, tmp_path / "run", "--task", "ratings", "--data", tmp_path / "ratings.csv", "--delimiter", ";")
    assert isinstance(bert_jax.load(tmp_path / "run").predict("don fe").score, float)
    assert main(["evaluate", "--model", str(tmp_path / "run"), "--data", str(tmp_path / "ratings.csv")]) == 0
    task = importlib.import_module("bert_jax.tasks.huber_task").HuberTask(TINY)
    assert task.error_loss(jax.numpy.array([0.5, -3.0])).tolist() == [0.125, 2.5]
    capsys.readouterr()
    assert main(["convert", str(tmp_path / "run"), str(tmp_path / "hf")]) == 1
    assert "no huber head at Hugging Face. `bert-jax convert --to stablehlo`" in capsys.readouterr().err
    assert main(["convert", str(tmp_path / "run"), str(tmp_path / "hlo"), "--to", "stablehlo"]) == 0


def test_a_task_with_a_new_head(apply, encoder, tmp_path):
    assert apply("A task with a new head") == 4
    rows = [(f"{WORDS[i % 6]} ba", ("sport", "news")[i % 2]) for i in range(30)]
    with (tmp_path / "topics.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    finetune(encoder, tmp_path / "run", "--task", "topics", "--data", tmp_path / "topics.csv")
    assert bert_jax.load(tmp_path / "run").predict("don fe").label in ("sport", "news")
    assert main(["evaluate", "--model", str(tmp_path / "run"), "--data", str(tmp_path / "topics.csv")]) == 0


def test_a_head_that_is_not_registered_is_named(monkeypatch):
    with pytest.raises(UserError, match="unknown head 'sequense'; did you mean 'sequence'"):
        outputs_of("sequense", None)
    monkeypatch.setitem(HEADS, "token2", dataclasses.replace(HEADS["token"], tasks={"regression": "module:Task"}))
    with pytest.raises(UserError, match="head 'token2' trains on regression, not on single_label"):
        make_task("token2", TINY, 2, "single_label")


def test_a_second_head_of_a_hugging_face_class_leaves_it_to_the_first():
    code = (
        "from bert_jax.registry import HEADS; HEADS['second'] = HEADS['sequence']\n"
        "from bert_jax.convert.hugging_face.family import ARCHITECTURES\n"
        "print(ARCHITECTURES['ForSequenceClassification'])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "sequence\n"


def test_help_lists_a_task_after_the_whole_of_the_one_before():
    assert f"; {SUITE}: {TASKS[SUITE].about}; or one GLUE task: cola" in TASK_HELP


def test_a_family_of_hugging_face(apply, tmp_path):
    assert apply("A family of Hugging Face") == 1
    families = importlib.import_module("bert_jax.convert.hugging_face.families")
    family = families.family_named("toybert", "")
    assert family.read(family.write(TINY), "") == TINY
    assert family.architecture("sequence") == "ToyBertForSequenceClassification"


def test_an_attention(apply):
    assert apply("An attention") == 1
    from bert_jax.model.compute import Compute
    from bert_jax.model.encoder import Encoder
    from bert_jax.model.encoder_input import EncoderInput

    inputs = EncoderInput.from_batch(pretraining_batch())
    plain, library = (Encoder(TINY, compute=Compute(attention=name), rngs=nnx.Rngs(0)) for name in ("plain", "library"))
    mask = inputs.mask[..., None]
    np.testing.assert_allclose(plain(inputs) * mask, library(inputs) * mask, atol=1e-5)


def test_a_pre_training_objective(apply):
    assert apply("A pre-training objective") == 2
    from bert_jax.registry import OBJECTIVES, load_object

    batch = jax.tree.map(jax.numpy.asarray, pretraining_batch())
    task = load_object(OBJECTIVES["penalised"])(TINY)
    module = task.build(nnx.Rngs(0))
    sums, counts = task.sums(module, batch, None), task.counts(batch)
    assert sums.keys() == counts.keys() >= set(task.losses) and float(sums["penalty"]) > 0


def test_a_data_source(apply, tmp_path):
    assert apply("A data source") == 4
    from data_prep.corpus.documents import read_documents
    from data_prep.corpus.parts import Piece
    from data_prep.corpus.reader_contract import CorpusOptions, NotedCounter
    from data_prep.corpus.sources import find_sources

    (tmp_path / "a.srt").write_text(
        "1\n00:00:01,000 --> 00:00:02,500\nThe match\n\n2\n00:00:03,000 --> 00:00:04,000\nwas late.\n"
    )
    (source,), _ = find_sources((str(tmp_path),))
    (document,) = read_documents(Piece(source), CorpusOptions(), NotedCounter())
    assert document.text == "The match\nwas late."
