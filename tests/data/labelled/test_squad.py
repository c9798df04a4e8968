"""SQuAD files as they come: good ones are read whole, bad ones are told by id."""

import json

import pytest

from bert_jax.data.labelled.row_files import Reading
from bert_jax.data.labelled.split_files import read_splits
from bert_jax.data.labelled.squad import read_predictions, read_squad
from bert_jax.errors import UserError

CONTEXT = "Ada Lovelace was born in London. London is large."


def entry(name="1", text="London", start=25, **more):
    return {"id": name, "question": "Where?", "answers": [{"text": text, "answer_start": start}], **more}


def write(path, *entries, context=CONTEXT):
    path.write_text(json.dumps({"data": [{"paragraphs": [{"context": context, "qas": list(entries)}]}]}))
    return path


def test_answers_that_stand_elsewhere_are_found_nearby(tmp_path):
    entries = entry("1"), entry("2", start=31), entry("3", start=0), entry("4", "Paris")
    found = read_squad(write(tmp_path / "a.json", *entries))
    assert [item.answers for item in found.items] == [
        (("London", 25),),
        (("London", 33),),
        (("London", 25),),
        (("Paris", -1),),
    ]
    assert [note.split(": ", 1)[1] for note in found.notes] == [
        "2 answers stood elsewhere in the context and were found, the first of id 2",
        "1 answers are nowhere, the first of id 4",
        "no version is given; scored as SQuAD 1.1, as every question has an answer",
    ]


def test_what_is_said_of_impossible_questions_is_checked(tmp_path):
    both = {**entry(), "is_impossible": True}
    found = read_squad(write(tmp_path / "a.json", both))
    assert found.items[0].answers == ()
    assert found.items[0].impossible and found.items[0].golds == ("London",)
    assert "1 questions marked as impossible have answers: they are scored by, and not learned from" in found.notes[0]
    with pytest.raises(UserError, match=r"id .*: is_impossible is 'false', where true or false is expected"):
        read_squad(write(tmp_path / "b.json", {**entry(), "is_impossible": "false"}))


def test_unreadable_bytes_are_replaced_when_told(tmp_path):
    path = write(tmp_path / "a.json", entry())
    path.write_bytes(path.read_bytes().replace(b"large", b"larg\xff"))
    with pytest.raises(UserError, match=r"not UTF-8 at byte .* --encoding-errors replace"):
        read_squad(path)
    assert read_squad(path, reading=Reading("replace")).items[0].context.endswith("larg\ufffd.")


def test_questions_without_an_answer_say_so(tmp_path):
    found = read_squad(write(tmp_path / "a.json", entry(), {"id": 7, "question": "Why?", "is_impossible": True}))
    assert found.has_no_answer and found.items[1].answers == () and found.items[1].id == "7"


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([entry("1"), entry("1")], "id 1 is there twice"),
        ([{"question": "Where?"}], r"data\[0\].paragraphs\[0\].qas\[0\] has no id"),
        ([{"id": "x", "question": " "}], "id x has no question"),
        ([{"id": "x", "question": "Why?", "answers": []}], "id x has no answer"),
        ([entry("x", start="3")], "answer_start is no whole number"),
        ([], "no questions"),
    ],
)
def test_what_is_wrong_is_told_by_id(tmp_path, entries, says):
    with pytest.raises(UserError, match=says):
        read_squad(write(tmp_path / "a.json", *entries))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "line 1: not JSON"),
        ("[1]", "not a SQuAD file"),
        ('{"data": {}}', "not a SQuAD file"),
        ('{"data": [3]}', r"data\[0\] has no list of paragraphs"),
        ("[" * 100_000, "not JSON"),
        ('{"version": ' + "1" * 5_000 + "}", "not JSON of SQuAD"),
    ],
)
def test_what_is_no_squad_file_is_told(tmp_path, content, says):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError, match=says):
        read_squad(tmp_path / "a.json")


def test_questions_of_one_context_are_held_out_together(tmp_path):
    paragraphs = [
        {"context": f"{CONTEXT} {i}", "qas": [entry(f"{i}-{j}") for j in range(1 + i % 3)]} for i in range(11)
    ]
    (tmp_path / "a.json").write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    train, dev, notes = read_splits(tmp_path / "a.json", (".json",), read_squad, 0.3, lambda item: item.context)
    assert len(train) + len(dev) == 21 and 6 <= len(dev) <= 9
    assert not {item.context for item in train.items} & {item.context for item in dev.items}
    assert f"{len(dev)} of 21 examples are held out" in notes[-1]
    (tmp_path / "a.json").write_text(json.dumps({"data": [{"paragraphs": paragraphs[2:3]}]}))
    with pytest.raises(UserError, match="too few examples to hold some out"):
        read_splits(tmp_path / "a.json", (".json",), read_squad, 0.3, lambda item: item.context)


def test_the_official_files_are_found_by_their_names(tmp_path):
    for name in ("train-v2.0.json", "dev-v2.0.json"):
        write(tmp_path / name, entry(name))
    train, dev, _ = read_splits(tmp_path, (".json",), read_squad, 0.1)
    assert [part.items[0].id for part in (train, dev)] == ["train-v2.0.json", "dev-v2.0.json"]
    write(tmp_path / "train-v1.1.json", entry())
    with pytest.raises(UserError, match=r"train-v1\.1\.json and train-v2\.0\.json; which one"):
        read_splits(tmp_path, (".json",), read_squad, 0.1)


def test_a_file_of_2_0_needs_no_mark_where_no_answer_is_listed(tmp_path):
    path = write(tmp_path / "a.json", {"id": "x", "question": "Why?", "answers": []})
    path.write_text(json.dumps({"version": "v2.0", **json.loads(path.read_text())}))
    found = read_squad(path)
    assert found.version == "2.0" and found.has_no_answer and found.items[0].impossible and found.notes == []


def test_empty_answers_are_kept_to_score_by(tmp_path):
    both = {**entry(), "answers": [{"text": " ", "answer_start": 0}, {"text": "Ada", "answer_start": 0}]}
    found = read_squad(write(tmp_path / "a.json", both, {**entry("2"), "answers": [{"text": "", "answer_start": 0}]}))
    assert [(item.answers, item.golds) for item in found.items] == [((("Ada", 0),), (" ", "Ada")), ((), ("",))]
    assert not found.has_no_answer and "2 answers are empty" in found.notes[0]


def test_empty_contexts_are_told(tmp_path):
    found = read_squad(write(tmp_path / "a.json", entry(), context=""))
    assert found.notes[-2].endswith("1 questions have an empty context, the first of id 1")


def test_predictions_are_texts_by_id_each_once(tmp_path):
    for content, says in (('{"a": 1}', "not a file of predictions"), ('{"a": "x", "a": "y"}', "id a is there twice")):
        (tmp_path / "p.json").write_text(content)
        with pytest.raises(UserError, match=says):
            read_predictions(tmp_path / "p.json")
