import csv
import json

import pytest

from bert_jax.demo import docstring_task
from bert_jax.demo.corpus import Docstring, Module
from bert_jax.errors import UserError

NOUNS = ("array", "tree", "graph")
VERBS = ("sort", "merge", "split", "copy", "scan", "pack")
LIBRARIES = ("jax", "numpy", "scipy")


def make_modules() -> list[Module]:
    """Return four libraries of 40 modules, with the library's name in every summary, and one text that all share."""
    modules = []
    for library in (*LIBRARIES, "rich"):
        for number in range(40):
            letters = "abcdefghij"[number // 10] + "abcdefghij"[number % 10]
            summaries = [
                f"Uses {library} to {verb} the {noun} of the {library}.{noun} module {letters} quickly"
                f"{' and well' * LIBRARIES.index(library) if library in LIBRARIES else ''}."
                for verb in VERBS
                for noun in NOUNS
            ]
            summaries += ["Every library has this very sentence in it.", "Too short for us."]
            docstrings = tuple(Docstring("function", (summary,)) for summary in summaries)
            modules.append(Module(library, f"{library}/{number}.py", docstrings))
    return modules


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return docstring_task.write_task(make_modules(), tmp_path_factory.mktemp("demo"), seed=3, libraries=LIBRARIES)


def test_counts_match_the_files(data):
    train, dev = read_csv(data.train), read_csv(data.dev)
    assert set(train[0]) == {"text", "label"}
    assert (len(train), len(dev)) == (data.train_rows, data.dev_rows)
    assert data.labels == LIBRARIES
    shares = [sum(row["label"] == label for row in dev) / len(dev) for label in LIBRARIES]
    assert data.majority == max(shares)


def test_splits_share_no_texts_and_no_modules(data):
    train, dev = read_csv(data.train), read_csv(data.dev)
    texts = [row["text"] for row in (*train, *dev)]
    assert len(set(texts)) == len(texts)
    ids = [{json.loads(line)["id"] for line in path.read_text().splitlines()} for path in (data.corpus, data.held_out)]
    assert ids[0] and ids[1] and not ids[0] & ids[1]
    assert all(name.startswith(LIBRARIES) for name in ids[1])
    pretraining_text = data.corpus.read_text()
    for row in dev:
        letters = row["text"].split(" module ")[1].split()[0]
        assert (
            f"Uses {row['label']} to sort the array of the {row['label']}.array module {letters} "
            not in pretraining_text
        )


def test_texts_do_not_contain_labels_and_have_one_label(data):
    for row in (*read_csv(data.train), *read_csv(data.dev)):
        assert not any(name in row["text"].lower() for name in LIBRARIES)
        assert row["text"] != "Every library has this very sentence in it."
        assert len(row["text"].split()) >= docstring_task.MIN_ROW_WORDS


def test_the_seed_decides_the_bytes_of_the_files(data, tmp_path):
    again = docstring_task.write_task(make_modules(), tmp_path / "again", seed=3, libraries=LIBRARIES)
    other = docstring_task.write_task(make_modules(), tmp_path / "other", seed=4, libraries=LIBRARIES)
    for name in ("corpus", "held_out", "train", "dev"):
        assert getattr(again, name).read_bytes() == getattr(data, name).read_bytes()
    assert other.held_out.read_bytes() != data.held_out.read_bytes()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Return a NumPy array, see np.sum and jnp.sum.", "Return a array, see sum and sum."),
        ("A scikit-learn estimator (sklearn) for jax.Array.", "A estimator for Array."),
        ("The matplotlib.pyplot figure of from_numpy2 is_jax_array", "The figure of"),
        ("The Python-based relaxation of a grasp", "The based relaxation of a grasp"),
        ("Copy flax.nnx.State to the orbax checkpoint.", "Copy State to the checkpoint."),
        ("Relax the parallax, then collapse", "Relax the parallax, then collapse"),
    ],
)
def test_redact_removes_names_of_libraries(text, expected):
    assert docstring_task.redact(text) == expected


def test_opening_ends_with_a_whole_sentence():
    sentence = "This is a sentence of just ten words for you. "
    assert docstring_task._opening(sentence * 9) == (sentence * 4).strip()
    assert docstring_task._opening("word " * 50) == ("word " * 40).strip()


def test_too_little_documentation_raises_an_error(tmp_path):
    with pytest.raises(UserError, match="too few"):
        docstring_task.write_task([], tmp_path, seed=0)
