"""GLUE: official counts, columns and label order; bad folders."""

import pytest

from bert_jax.data.labelled.glue import glue_folder, read_glue, read_task
from bert_jax.data.labelled.glue_tasks import GLUE
from bert_jax.data.labelled.rows import Columns, Reading
from bert_jax.errors import UserError

# As published on gluebenchmark.com: rows of train and dev, share of class 1 in dev (mean score for STS-B).
OFFICIAL = {
    "cola": (8551, 1043, 721 / 1043),
    "sst2": (67349, 872, 444 / 872),
    "mrpc": (3668, 408, 279 / 408),
    "stsb": (5749, 1500, 2.364),
    "rte": (2490, 277, 131 / 277),
    "wnli": (635, 71, 31 / 71),
}


@pytest.mark.parametrize("name", OFFICIAL)
def test_rows_equal_the_official_counts(shared_data, name):
    found = read_task(name, shared_data / "glue")
    train, dev, mean = OFFICIAL[name]
    assert (len(found.train), len(found.dev)) == (train, dev)
    assert sum(found.dev.labels) / dev == pytest.approx(mean, abs=5e-4)
    assert (found.train.pairs is None) == (GLUE[name].pair is None)
    assert read_task(name, shared_data / "glue" / GLUE[name].folder).dev == found.dev


@pytest.mark.parametrize(("name", "rows"), [("cola", 1063), ("mrpc", 1725), ("qnli", 5463), ("stsb", 1379)])
def test_test_files_have_no_labels(shared_data, name, rows):
    found = read_glue(name, glue_folder(name, shared_data / "glue") / "test.tsv")
    assert len(found) == rows and found.labels is None


def test_missing_training_file_is_named(shared_data):
    with pytest.raises(UserError, match=r"QNLI/train\.tsv: no such file; .*QNLI holds dev\.tsv, test\.tsv"):
        read_task("qnli", shared_data / "glue")


def test_quotation_marks_are_plain_and_cola_has_no_header(tmp_path):
    for name in ("train", "dev"):
        (tmp_path / f"{name}.tsv").write_text('gj04\t1\t\t"Who went.\ngj04\t0\t*\tWent "who" .\r\n', newline="")
    found = read_task("cola", tmp_path)
    assert found.train.texts == ['"Who went.', 'Went "who" .'] and found.train.labels == [1, 0]
    assert found.labels == ("unacceptable", "acceptable") and found.main == ("matthews",)


def test_label_order_is_that_of_the_published_data_sets(tmp_path):
    for name in ("train", "dev"):
        (tmp_path / f"{name}.tsv").write_text("index\tsentence1\tsentence2\tlabel\n0\ta\tb\tnot_entailment\n")
    assert read_task("rte", tmp_path).train.labels == [1]
    assert {name: task.labels[0] for name, task in GLUE.items() if task.labels} == {
        "cola": "unacceptable",
        "sst2": "negative",
        "mrpc": "not_equivalent",
        "qqp": "not_duplicate",
        "mnli": "entailment",
        "qnli": "entailment",
        "rte": "entailment",
        "wnli": "not_entailment",
    }


def test_mnli_has_two_dev_sets(tmp_path):
    header = "index\tsentence1\tsentence2\tlabel1\tgold_label\n"
    for name, label in (("train", "neutral"), ("dev_matched", "entailment"), ("dev_mismatched", "contradiction")):
        (tmp_path / f"{name}.tsv").write_text(header + f"0\ta\tb\tneutral\t{label}\n")
    found = read_task("mnli", tmp_path)
    assert (found.train.labels, found.dev.labels, found.also["mismatched"].labels) == ([1], [0], [2])
    (tmp_path / "diagnostic.tsv").write_text("index\tsentence1\tsentence2\n0\ta\tb\n")
    assert read_glue("mnli", tmp_path / "diagnostic.tsv").labels is None


def test_broken_rows_of_qqp_are_left_out_and_said(tmp_path):
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    for name in ("train", "dev"):
        (tmp_path / f"{name}.tsv").write_text(header + "0\t1\t2\ta\tb\t1\n1\t3\t4\tc\n")
    found = read_task("qqp", tmp_path)
    assert found.train.labels == [1] and len(found.notes) == 2


def test_wrong_folders_and_names_are_refused(tmp_path):
    with pytest.raises(UserError, match="unknown task 'SST-3'; did you mean 'sst2'"):
        read_task("SST-3", tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        read_task("rte", tmp_path / "absent")
    with pytest.raises(UserError, match=r"no RTE/train\.tsv and no train\.tsv"):
        read_task("rte", tmp_path)
    (tmp_path / "train.tsv").write_text("sentence\tlabel\na\t1\n")
    with pytest.raises(UserError, match=r"no column 'sentence1'; it has 'sentence', 'label'\. Is it RTE"):
        read_task("rte", tmp_path)
    with pytest.raises(UserError, match=r"train\.tsv line 1: 2 fields, 4 are expected. Is it CoLA"):
        read_task("cola", tmp_path)
    with pytest.raises(UserError, match=r"dev\.tsv: no such file"):
        read_task("sst2", tmp_path)
    (tmp_path / "train.tsv").write_text("sentence\tlabel\na\t2\n")
    (tmp_path / "dev.tsv").write_text("sentence\tlabel\na\t2\n")
    with pytest.raises(UserError, match=r"train\.tsv line 2 \(row 1\): label '2' is not among 0, 1"):
        read_task("sst2", tmp_path)


def test_own_rows_go_by_the_same_door(tmp_path):
    (tmp_path / "a.csv").write_text("body,urgent\n" + "a,yes\nb,no\n" * 60)
    assert read_task("rows", tmp_path / "a.csv", columns=Columns("body", label="urgent")).labels == ("no", "yes")


def test_unreadable_bytes_are_replaced_when_told(tmp_path):
    for name in ("train", "dev"):
        (tmp_path / f"{name}.tsv").write_bytes(b"sentence\tlabel\na\xff\t1\n")
    with pytest.raises(UserError, match=r"not UTF-8 at byte .* --encoding-errors replace"):
        read_task("sst2", tmp_path)
    found = read_task("sst2", tmp_path, reading=Reading("replace"))
    assert found.train.texts == found.dev.texts == ["a\ufffd"]
