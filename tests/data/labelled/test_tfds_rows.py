"""GLUE and SQuAD from TFDS give the same rows as the official files."""

import json

import pytest
from tfds_builders import prepare_glue, prepare_squad

from bert_jax.data.formats.tfds import TfdsAddress
from bert_jax.data.labelled.glue import dev_file, glue_file, has_file, leaderboard_file, read_glue, read_labelled_task
from bert_jax.data.labelled.glue_tasks import GLUE
from bert_jax.data.labelled.labelled_rows import read_labelled
from bert_jax.data.labelled.rows import Columns
from bert_jax.data.labelled.split_files import find_split_files
from bert_jax.data.labelled.squad import read_squad
from bert_jax.errors import UserError

HEADERS = {
    "cola": None,
    "sst2": "sentence\tlabel",
    "mrpc": "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String",
    "qqp": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
    "stsb": "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore",
    "mnli": "index\tpromptID\tpairID\tgenre\tsentence1\tsentence2\tlabel1\tgold_label",
    "qnli": "index\tquestion\tsentence\tlabel",
    "rte": "index\tsentence1\tsentence2\tlabel",
    "wnli": "index\tsentence1\tsentence2\tlabel",
}
TEXTS = ['"Who went,', "zwölf Äpfel", "a  b", "it's “so”", "the end ."]


def write_official(name, path, rows):
    """Write a file in the official layout whose texts and labels differ from row to row."""
    task = GLUE[name]
    lines = [] if HEADERS[name] is None else [HEADERS[name]]
    names = task.header or HEADERS[name].removeprefix("\ufeff").split("\t")
    for i in range(rows):
        values = {
            task.text: f"{TEXTS[i % 5]} {i}",
            task.pair: f"{TEXTS[i % 3]} ?",
            task.label: str(round(5 * i / rows, 3)) if task.labels is None else task.spelled[i % len(task.spelled)],
        }
        lines.append("\t".join(values.get(column, str(i)) for column in names))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def equal_rows(a, b):
    return (a.texts, a.pairs, a.labels) == (b.texts, b.pairs, b.labels)


@pytest.mark.parametrize("name", GLUE)
def test_tfds_gives_the_rows_and_order_of_labels_of_the_official_files(tmp_path, name):
    task = GLUE[name]
    (tmp_path / task.folder).mkdir()
    files = ("train.tsv", *task.dev)
    for count, file in zip((23, 7, 5), files, strict=False):
        write_official(name, tmp_path / task.folder / file, count)
    splits = {file.removesuffix(".tsv").replace("dev", "validation"): file for file in files}
    builder = prepare_glue(name, tmp_path / task.folder, tmp_path / "tfds", splits)
    assert getattr(builder.info.features["label"], "names", None) == (task.labels and list(task.labels))
    official = read_labelled_task(name, tmp_path)
    for address in (f"tfds:glue@{tmp_path}/tfds", f"tfds:glue/{name}@{tmp_path}/tfds"):
        data = read_labelled_task(name, TfdsAddress.read(address).path(""))
        assert equal_rows(data.train, official.train) and equal_rows(data.dev, official.dev)
        assert data.also.keys() == official.also.keys() and all(
            equal_rows(data.also[key], official.also[key]) for key in data.also
        )
        assert len(set(data.train.labels)) > 1


@pytest.mark.parametrize("name", ["mrpc", "stsb", "cola", "rte"])
def test_tfds_gives_the_real_rows_of_the_official_files(tmp_path, shared_data, name):
    folder = shared_data / "glue" / GLUE[name].folder
    sliced = tmp_path / "files"
    sliced.mkdir()
    for file, rows in (("train", 211), ("dev", 53), ("test", 37)):
        lines = (folder / f"{file}.tsv").read_text(encoding="utf-8").split("\n")[:rows]
        (sliced / f"{file}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    splits = {"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"}
    prepare_glue(name, sliced, tmp_path / "tfds", splits)
    data = TfdsAddress.read(f"tfds:glue@{tmp_path}/tfds").path("")
    official, from_tfds = read_labelled_task(name, sliced), read_labelled_task(name, data)
    assert equal_rows(from_tfds.train, official.train) and equal_rows(from_tfds.dev, official.dev)
    test = read_glue(name, glue_file(name, data, "test.tsv"))
    assert test.labels is None and equal_rows(test, read_glue(name, sliced / "test.tsv"))
    part = read_glue(name, dev_file(name, TfdsAddress.read(str(data)).path("validation[:11]")))
    assert len(part) == 11


def test_diagnostic_set_is_read_for_mnli(tmp_path):
    (tmp_path / "diagnostic.tsv").write_text("index\tsentence1\tsentence2\n0\ta\tb\n1\tc\td\n")
    prepare_glue("ax", tmp_path, tmp_path / "tfds", {"test": "diagnostic.tsv"})
    data = TfdsAddress.read(f"tfds:glue@{tmp_path}/tfds").path("")
    assert equal_rows(read_glue("mnli", leaderboard_file("AX", data)), read_glue("mnli", tmp_path / "diagnostic.tsv"))
    assert leaderboard_file("MNLI-m", data) is None and not has_file("mnli", data, "train.tsv")


@pytest.fixture(scope="module")
def rte(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rte")
    for file, rows in (("train", 120), ("dev", 9)):
        write_official("rte", folder / f"{file}.tsv", rows)
    prepare_glue("rte", folder, folder / "tfds", {"train": "train.tsv", "validation": "dev.tsv"})
    return folder / "tfds"


@pytest.mark.parametrize(
    ("name", "address", "message"),
    [
        (
            "mrpc",
            "tfds:glue@{}",
            "glue/mrpc@.* not prepared in .* Did you mean tfds:glue/rte.*download_and",
        ),
        ("mrpc", "tfds:glue/rte@{}", "tfds:glue/rte@.*: not the data of mrpc, which is tfds:glue/mrpc@"),
        ("rte", "tfds:glu/rte@{}", "not the data of rte, which is tfds:glue/rte"),
        ("rte", "tfds:glue/rte@{}?split=train", "rte has its splits by itself. Leave .split= out"),
        ("rows", "tfds:glue/rtee@{}", "rtee@.*Did you mean tfds:glue/rte"),
        ("rows", "tfds:glue/rte@{}?split=test", "no split 'test'; it has train, validation"),
        ("rows", "tfds:glue/rte@{}", "no column 'text'; it has 'sentence1', .*. --text"),
    ],
)
def test_missing_data_sets_give_one_line_with_a_way_out(rte, name, address, message):
    text = address.format(rte)
    with pytest.raises(UserError, match=message) as caught:
        read_labelled_task(name, TfdsAddress.read(text).path("") if "?" not in text else _path(text))
    assert "\n" not in str(caught.value)


def _path(text):
    address = TfdsAddress.read(text)
    return address.path(address.split)


def test_task_rows_reads_any_data_set(rte):
    columns = Columns("sentence1", "sentence2", "label")
    data = read_labelled(_path(f"tfds:glue/rte@{rte}?split=train"), columns)
    assert data.labels == ("entailment", "not_entailment") and len(data.train) + len(data.dev) == 120
    whole = read_labelled(TfdsAddress.read(f"tfds:glue/rte@{rte}").path(""), columns)
    assert (len(whole.train), len(whole.dev)) == (120, 9) and whole.train.pairs[0].endswith("?")


def test_tfds_gives_the_questions_of_the_squad_file(tmp_path):
    def table(impossible):
        questions = []
        for i in range(5):
            answers = [{"text": "zwölf", "answer_start": 4}, {"text": "Äpfel", "answer_start": 10}]
            no_answer = impossible and i == 3
            questions.append({"id": f"q{i}", "question": f"How many {i}?", "answers": [] if no_answer else answers})
            if impossible:
                questions[-1] |= {"is_impossible": no_answer, "plausible_answers": answers if no_answer else []}
        paragraph = {"context": "ba, zwölf Äpfel", "qas": questions}
        return {"version": "1", "data": [{"title": "t", "paragraphs": [paragraph]}]}

    for config in ("v1.1", "v2.0"):
        path = tmp_path / f"{config}.json"
        path.write_text(json.dumps(table(config == "v2.0")))
        prepare_squad(config, tmp_path / "tfds", {"train": path, "validation": path})
        train, dev = find_split_files(TfdsAddress.read(f"tfds:squad/{config}@{tmp_path}/tfds").path(""), (".json",))
        assert str(train).endswith("?split=train") and str(dev).endswith("?split=validation")
        from_tfds, official = read_squad(dev), read_squad(path)
        assert from_tfds.has_no_answer == official.has_no_answer == (config == "v2.0")
        assert sorted(from_tfds.items, key=lambda item: item.id) == official.items
