"""Sentences with entities: gold tags score 1, whatever the tokenizer drops."""

import json
import random

import numpy as np
import pytest

from bert_jax.errors import UserError
from bert_jax.finetuning.readers.questions import read_questions_dev
from bert_jax.finetuning.readers.tagging import read_tagging, read_tagging_dev
from bert_jax.finetuning.task_data import Examples, ScoringRequest
from bert_jax.settings.finetune import FinetuneConfig
from bert_jax.task_record import TaskRecord
from bert_jax.text.wordpiece import WordPieceTokenizer
from bert_jax.text.wordpiece_rules import WordPieceRules

CONTROL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = [*"abcdnowyAL", "##a", "##d", "##o", "##w", "é", "न", "##म", "\ufe0f", "👩"]
CASED, UNCASED = (WordPieceTokenizer([*CONTROL, *LETTERS], WordPieceRules(lowercase=lower)) for lower in (False, True))
LABELS = ("O", "B-x", "I-x", "B-y", "I-y")


def examples_of(path, tokenizer, labels=LABELS) -> Examples:
    return read_tagging_dev(ScoringRequest(path, TaskRecord.of(overlap=2), labels, "single_label", tokenizer, length=9))


def gold_scores(examples: Examples, labels=LABELS) -> dict[str, float]:
    return examples.score(np.eye(len(labels))[examples.encoded.token_labels])


@pytest.mark.parametrize("tokenizer", [CASED, UNCASED], ids=["cased", "uncased"])
@pytest.mark.parametrize(
    "rows",
    [
        "now O|\u200b B-x|Ada I-x|Low I-x|\u200d I-x|now O",
        "caf\ufffd B-x|\ufffd I-x|X I-x",
        "a O|Ada B-x|\ufe0f I-x|X I-x|\u200b B-x|no I-x",
        "\u0301 B-x|abc I-x|\u093f O|\u0902 B-x|\u093f I-x|a O",
        "\u00a0 B-x|a I-x|\u00a0 O|b I-x|\u3000 O|\u3000 O",
        "[CLS] O|[MASK] B-x|[SEP] I-x|##a O|\u200e O|👩\u200d👩 B-y",
        "Ada B-x|\u200b O|Low B-x|Ad B-x",
    ],
)
def test_gold_tags_score_1_despite_words_without_tokens(tmp_path, tokenizer, rows):
    path = tmp_path / "a.conll"
    path.write_text(rows.replace(" ", "\t").replace("|", "\n"))
    scores = gold_scores(examples_of(path, tokenizer))
    assert scores["f1"] == scores["accuracy"] == 1.0


@pytest.mark.parametrize("tokenizer", [CASED, UNCASED], ids=["cased", "uncased"])
def test_gold_tags_of_random_files_score_1(tmp_path, tokenizer):
    """Windows of nine tokens, words of up to three characters of all kinds."""
    rng = random.Random(3)
    characters = [*"aAbdno\u00e9\u0301\u200b\u200d\ufffd\ufe0f\u00a0\u3000\u00ad\x01\u0928\u092e\u093f👩½北"]
    for _ in range(60):
        lines = ["a\tB-x"]
        for _ in range(40):
            word = "".join(rng.choices(characters, k=rng.randint(1, 3)))
            lines.append(f"{word}\t{rng.choice(('O', *LABELS))}" if rng.random() < 0.9 else "")
        (tmp_path / "a.conll").write_text("\n".join(lines))
        scores = gold_scores(examples_of(tmp_path / "a.conll", tokenizer))
        assert scores["f1"] == scores["accuracy"] == 1.0


def test_entities_without_any_token_are_left_out_and_counted(tmp_path):
    path = tmp_path / "a.conll"
    path.write_text("now\tO\n\u200b\tB-x\nAda\tB-y\n\n\ufffd\tB-x\n\ufffd\tI-x\n")
    examples = examples_of(path, CASED)
    assert gold_scores(examples)["f1"] == 1.0
    (note,) = examples.notes
    assert "a.conll: 2 entities, the first (x) after line 1, are of characters that the tokenizer drops" in note
    path.write_text("now\tO\n\u200b\tB-x\n")
    with pytest.raises(UserError, match=r"1 entity, .* is of characters .* and no entity is left"):
        examples_of(path, CASED)


def test_left_out_entities_are_noted_for_each_file(tmp_path):
    (tmp_path / "train.conll").write_text("now\tO\n\u200b\tB-x\nAda\tB-y\n")
    (tmp_path / "dev.conll").write_text("now\tO\nAda\tB-y\n\u200b\tB-y\n")
    config = FinetuneConfig(from_=tmp_path, task="ner", data=tmp_path, output=tmp_path, max_length=9)
    notes = read_tagging(config, CASED).notes
    assert [note.split(": ")[0].split("/")[-1] for note in notes] == ["train.conll", "dev.conll"]


def test_scoring_sentences_without_entities_is_noted(tmp_path):
    (tmp_path / "train.conll").write_text("now\tO\nAda\tB-x\n")
    (tmp_path / "dev.conll").write_text("now\tO\n\nno\tO\n")
    config = FinetuneConfig(from_=tmp_path, task="ner", data=tmp_path, output=tmp_path, max_length=9)
    note = f"{tmp_path / 'dev.conll'}: none of the 2 {{}} sentences has an entity, so F1 can only be 0"
    assert read_tagging(config, CASED).notes == [note.format("dev")]
    assert examples_of(tmp_path / "dev.conll", CASED).notes == [note.format("scored")]


def test_predictions_on_words_without_tokens_are_not_scored(tmp_path):
    """A model that predicts x for every token: words without a token form no entities."""
    path = tmp_path / "a.conll"
    path.write_text("now\tB-x\n\u200b\tO\nAda\tI-x\n\u200b\tO\n")
    examples = examples_of(path, CASED)
    always = np.eye(5)[np.full(len(examples.encoded.tokens), 2)]
    assert examples.score(always)["precision"] == 0.0  # one entity where two are expected
    review = examples.review(always)
    assert [case.given for case in review.worst()] == ["spurious: now \u200b Ada (x)"]


@pytest.mark.parametrize("labels", [("O", "B", "I"), ("O", "B-ENTITY", "I-ENTITY"), ("B", "M", "E", "S", "O")])
def test_models_and_files_without_entity_types_match(tmp_path, labels):
    (tmp_path / "a.conll").write_text("I\tI\nno\tO\nAda\tB\nLow\tI\nc\tB\n")
    assert gold_scores(examples_of(tmp_path / "a.conll", CASED, labels), labels)["f1"] == 1.0
    with pytest.raises(UserError, match="type 'ENTITY' is not among x, y"):
        examples_of(tmp_path / "a.conll", CASED)


def test_a_folder_without_a_dev_file_is_scored_on_its_training_file_with_a_note(tmp_path):
    (tmp_path / "train.conll").write_text("now\tO\nAda\tB-x\n")
    (note,) = examples_of(tmp_path, CASED).notes
    assert "so train.conll is scored" in note
    context = {"context": "Ada now", "qas": [{"id": "1", "question": "no", "answers": []}]}
    context["qas"][0]["answers"] = [{"text": "Ada", "answer_start": 0}]
    (tmp_path / "train.json").write_text(json.dumps({"version": "1.1", "data": [{"paragraphs": [context]}]}))
    record = TaskRecord.of(overlap=2, max_answer_length=4)
    request = ScoringRequest(tmp_path, record, None, "single_label", CASED, length=24)
    assert "so train.json is scored" in read_questions_dev(request).notes[0]
