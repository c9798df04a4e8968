"""Task records keep what run.json and bert_jax.json hold, key by key."""

import json

import pytest

from bert_jax.errors import UserError
from bert_jax.task_record import TaskRecord

WRITTEN = {
    "name": "rows",
    "pair": False,
    "columns": {"text": "body", "pair": None, "label": "queue", "several": False},
    "metrics": ["accuracy", "f1"],
    "main": ["accuracy"],
    "long_texts": "cut",
    "overlap": None,
    "head": "sequence",
    "labels": ["a", "b"],
    "problem": "single_label",
    "max_length": 12,
    "of_a_later_version": {"x": [1]},
    "threshold": 0.5,
}


@pytest.mark.parametrize("table", [WRITTEN, {"name": "pretrain", "head": "masked_lm", "examples": "packed"}, {}])
def test_a_record_is_written_as_it_was_read(table):
    assert json.dumps(TaskRecord.from_dict(table, "run.json").as_dict()) == json.dumps(table)


def test_changed_fields_are_written_and_missing_ones_are_not():
    record = TaskRecord.of(name="squad", columns=None).changed(head="span", labels=None)
    assert list(record.as_dict()) == ["name", "columns", "head", "labels"]
    record = TaskRecord.from_dict(WRITTEN, "run.json")
    assert list(record.only({"threshold", "name", "of_a_later_version"}).as_dict()) == [
        "name",
        "of_a_later_version",
        "threshold",
    ]
    assert record.without("name").name == "" and record.labels == ("a", "b")


def test_a_value_of_another_type_is_refused():
    with pytest.raises(UserError, match="overlap is '5', int is expected"):
        TaskRecord.from_dict({"overlap": "5"}, "run.json")
