"""GLUE: official row counts, columns and order of labels; errors for invalid folders."""

import pytest

from bert_jax.data.labelled.glue import glue_folder, read_glue, read_labelled_task
from bert_jax.data.labelled.glue_tasks import GLUE
from bert_jax.data.labelled.row_files import FileOptions
from bert_jax.data.labelled.rows import Columns
from bert_jax.errors import UserError
from bert_jax.registry import find_task

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
    data = read_labelled_task(name, shared_data / "glue")
    train, dev, mean = OFFICIAL[name]
    assert (len(data.train), len(data.dev)) == (train, dev)
    assert sum(data.dev.labels) / dev == pytest.approx(mean, abs=5e-4)
    assert (data.train.pairs is None) == (GLUE[name].pair is None)
    assert read_labelled_task(name, shared_data / "glue" / GLUE[name].folder).dev == data.dev


@pytest.mark.parametrize(("name", "rows"), [("cola", 1063), ("mrpc", 1725), ("qnli", 5463), ("stsb", 1379)])
def test_test_files_have_no_labels(shared_data, name, rows):
    test = read_glue(name, glue_folder(name, shared_data / "glue") / "test.tsv")
    assert len(test) == rows and test.labels is None


def test_missing_training_file_is_named(shared_data):
    with pytest.raises(UserError, match=r"QNLI/train\.tsv: no such file; .*QNLI holds dev\.tsv, test\.tsv"):
        read_labelled_task("qnli", shared_data / "glue")


def test_quotation_marks_are_plain_and_cola_has_no_header(tmp_path):
    for name in ("train", "dev"):
        (tmp_path / f"{name}.tsv").write_text('gj04\t1\t\t"Who went.\ngj04\t0\t*\tWent "who" .\r\n', newline="")
    data = read_labelled_task("cola", tmp_path)
    assert data.train.texts == ['"Who went.', 'Went "who" .'] and data.train.labels == [1, 0]
    assert data.labels == ("unacceptable", "acceptable") and data.main == ("matthews",)


def test_order_of_labels_is_that_of_the_published_data_sets(tmp_path):
    for name in ("train", "dev"):
        (tmp_path / f"{name}.tsv").write_text("index\tsentence1\tsentence2\tlabel\n0\ta\tb\tnot_entailment\n")
    assert read_labelled_task("rte", tmp_path).train.labels == [1]
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
    data = read_labelled_task("mnli", tmp_path)
    assert (data.train.labels, data.dev.labels, data.also["mismatched"].labels) == ([1], [0], [2])
    (tmp_path / "diagnostic.tsv").write_text("index\tsentence1\tsentence2\n0\ta\tb\n")
    assert read_glue("mnli", tmp_path / "diagnostic.tsv").labels is None


def test_broken_rows_of_qqp_are_skipped_with_a_note(tmp_path):
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    for name in ("train", "dev"):
        (tmp_path / f"{name}.tsv").write_text(header + "0\t1\t2\ta\tb\t1\n1\t3\t4\tc\n")
    data = read_labelled_task("qqp", tmp_path)
    assert data.train.labels == [1] and len(data.notes) == 2


def test_wrong_folders_and_names_are_refused(tmp_path):
    with pytest.raises(UserError, match="unknown task 'SST-3'; did you mean 'sst2'"):
        find_task("SST-3")
    with pytest.raises(UserError, match="no such folder"):
        read_labelled_task("rte", tmp_path / "absent")
    with pytest.raises(UserError, match=r"no RTE/train\.tsv and no train\.tsv"):
        read_labelled_task("rte", tmp_path)
    (tmp_path / "train.tsv").write_text("sentence\tlabel\na\t1\n")
    with pytest.raises(UserError, match=r"no column 'sentence1'; it has 'sentence', 'label'\. Is it RTE"):
        read_labelled_task("rte", tmp_path)
    with pytest.raises(UserError, match=r"train\.tsv line 1: 2 fields, 4 are expected. Is it CoLA"):
        read_labelled_task("cola", tmp_path)
    with pytest.raises(UserError, match=r"dev\.tsv: no such file"):
        read_labelled_task("sst2", tmp_path)
    (tmp_path / "train.tsv").write_text("sentence\tlabel\na\t2\n")
    (tmp_path / "dev.tsv").write_text("sentence\tlabel\na\t2\n")
    with pytest.raises(UserError, match=r"train\.tsv line 2 \(row 1\): label '2' is not among 0, 1"):
        read_labelled_task("sst2", tmp_path)


def test_task_rows_reads_files_of_the_user(tmp_path):
    (tmp_path / "a.csv").write_text("body,urgent\n" + "a,yes\nb,no\n" * 60)
    assert read_labelled_task("rows", tmp_path / "a.csv", columns=Columns("body", label="urgent")).labels == (
        "no",
        "yes",
    )


def test_undecodable_bytes_of_glue_are_replaced_on_request(tmp_path):
    for name in ("train", "dev"):
        (tmp_path / f"{name}.tsv").write_bytes(b"sentence\tlabel\na\xff\t1\n")
    with pytest.raises(UserError, match=r"not UTF-8 at byte .* --encoding-errors replace"):
        read_labelled_task("sst2", tmp_path)
    data = read_labelled_task("sst2", tmp_path, options=FileOptions(encoding_errors="replace"))
    assert data.train.texts == data.dev.texts == ["a\ufffd"]
