"""Reading of SQuAD files: unusual answers get notes, invalid files are refused with the question id."""

import json

import pytest

from bert_jax.data.labelled.row_files import FileOptions
from bert_jax.data.labelled.split_files import read_splits
from bert_jax.data.labelled.squad import read_predictions, read_squad
from bert_jax.errors import UserError

CONTEXT = "Ada Lovelace was born in London. London is large."


def entry(name="1", text="London", start=25, **more):
    return {"id": name, "question": "Where?", "answers": [{"text": text, "answer_start": start}], **more}


def write(path, *entries, context=CONTEXT):
    path.write_text(json.dumps({"data": [{"paragraphs": [{"context": context, "qas": list(entries)}]}]}))
    return path


def test_answers_at_another_place_are_found_nearby(tmp_path):
    entries = entry("1"), entry("2", start=31), entry("3", start=0), entry("4", "Paris")
    questions = read_squad(write(tmp_path / "a.json", *entries))
    assert [item.answers for item in questions.items] == [
        (("London", 25),),
        (("London", 33),),
        (("London", 25),),
        (("Paris", -1),),
    ]
    assert [note.split(": ", 1)[1] for note in questions.notes] == [
        "2 answers were found at another place in the context than the file says, the first of id 2",
        "1 answers are not in their context, the first of id 4",
        "no version is given; scored as SQuAD 1.1, as every question has an answer",
    ]


def test_impossible_questions_with_answers_get_a_note(tmp_path):
    both = {**entry(), "is_impossible": True}
    questions = read_squad(write(tmp_path / "a.json", both))
    assert questions.items[0].answers == ()
    assert questions.items[0].impossible and questions.items[0].golds == ("London",)
    note = "1 questions marked as impossible have answers: they count in scores, but not in training"
    assert note in questions.notes[0]
    with pytest.raises(UserError, match=r"id .*: is_impossible is 'false', where true or false is expected"):
        read_squad(write(tmp_path / "b.json", {**entry(), "is_impossible": "false"}))


def test_undecodable_bytes_of_squad_are_replaced_on_request(tmp_path):
    path = write(tmp_path / "a.json", entry())
    path.write_bytes(path.read_bytes().replace(b"large", b"larg\xff"))
    with pytest.raises(UserError, match=r"not UTF-8 at byte .* --encoding-errors replace"):
        read_squad(path)
    options = FileOptions(encoding_errors="replace")
    assert read_squad(path, options=options).items[0].context.endswith("larg\ufffd.")


def test_questions_marked_as_impossible_have_no_answer(tmp_path):
    impossible = {"id": 7, "question": "Why?", "is_impossible": True}
    questions = read_squad(write(tmp_path / "a.json", entry(), impossible))
    assert questions.has_no_answer and questions.items[1].answers == () and questions.items[1].id == "7"


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([entry("1"), entry("1")], "id 1 is there twice"),
        ([{"question": "Where?"}], r"data\[0\].paragraphs\[0\].qas\[0\] has no id"),
        ([{"id": "x", "question": " "}], "id x has no question"),
        ([{"id": "x", "question": "Why?", "answers": []}], "id x has no answer"),
        ([entry("x", start="3")], "answer_start is no whole number"),
        ([], "no questions"),
    ],
)
def test_invalid_questions_are_refused_with_their_id(tmp_path, entries, message):
    with pytest.raises(UserError, match=message):
        read_squad(write(tmp_path / "a.json", *entries))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "line 1: not JSON"),
        ("[1]", "not a SQuAD file"),
        ('{"data": {}}', "not a SQuAD file"),
        ('{"data": [3]}', r"data\[0\] has no list of paragraphs"),
        ("[" * 100_000, "not JSON"),
        ('{"version": ' + "1" * 5_000 + "}", "not JSON of SQuAD"),
    ],
)
def test_other_files_than_squad_are_refused(tmp_path, content, message):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError, match=message):
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


def test_official_files_are_found_by_their_names(tmp_path):
    for name in ("train-v2.0.json", "dev-v2.0.json"):
        write(tmp_path / name, entry(name))
    train, dev, _ = read_splits(tmp_path, (".json",), read_squad, 0.1)
    assert [part.items[0].id for part in (train, dev)] == ["train-v2.0.json", "dev-v2.0.json"]
    write(tmp_path / "train-v1.1.json", entry())
    with pytest.raises(UserError, match=r"train-v1\.1\.json and train-v2\.0\.json; which one"):
        read_splits(tmp_path, (".json",), read_squad, 0.1)


def test_question_of_version_2_0_without_answers_is_impossible(tmp_path):
    path = write(tmp_path / "a.json", {"id": "x", "question": "Why?", "answers": []})
    path.write_text(json.dumps({"version": "v2.0", **json.loads(path.read_text())}))
    questions = read_squad(path)
    assert questions.version == "2.0" and questions.has_no_answer
    assert questions.items[0].impossible and questions.notes == []


def test_empty_answers_count_in_scores_only(tmp_path):
    both = {**entry(), "answers": [{"text": " ", "answer_start": 0}, {"text": "Ada", "answer_start": 0}]}
    empty = {**entry("2"), "answers": [{"text": "", "answer_start": 0}]}
    questions = read_squad(write(tmp_path / "a.json", both, empty))
    assert [(item.answers, item.golds) for item in questions.items] == [((("Ada", 0),), (" ", "Ada")), ((), ("",))]
    assert not questions.has_no_answer and "2 answers are empty" in questions.notes[0]


def test_empty_contexts_get_a_note(tmp_path):
    questions = read_squad(write(tmp_path / "a.json", entry(), context=""))
    assert questions.notes[-2].endswith("1 questions have an empty context, the first of id 1")


def test_invalid_predictions_are_refused(tmp_path):
    for content, message in (
        ('{"a": 1}', "not a file of predictions"),
        ('{"a": "x", "a": "y"}', "id a is there twice"),
    ):
        (tmp_path / "p.json").write_text(content)
        with pytest.raises(UserError, match=message):
            read_predictions(tmp_path / "p.json")
