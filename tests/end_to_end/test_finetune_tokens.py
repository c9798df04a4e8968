"""Entities, answers and choices: learned from files, scored, asked, exported."""

import dataclasses
import json
import math
import random

import numpy as np
import pytest
from gold import gold_answers, write_squad
from runs import WORDS, read_result

import bert_jax
from bert_jax.cli import main
from bert_jax.finetuning.readers.by_task import read_dev
from bert_jax.finetuning.task_data import ScoringRequest
from bert_jax.task_record import TaskRecord

QUICK = ["--epochs", 12, "--batch-size", 6, "--learning-rate", 0.02, "--max-length", 20, "--log-every", 50]
QUICK += ["--evaluate-every", 42]  # twice
CITIES, PEOPLE = WORDS[:3], WORDS[3:6]


def finetune(pretrained, task, data, output, *more):
    given = ["finetune", "--from", pretrained, "--task", task, "--data", data, "--output", output, *QUICK]
    assert main([str(part) for part in (*given, "--mesh.data", 1, *more)]) == 0
    return output


def evaluated(run, data, tmp_path):
    assert main(["evaluate", "--model", str(run), "--data", str(data), "--json", str(tmp_path / "scores.json")]) == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores.pop("rows_trained_on", 0) == 0 and scores.pop("baseline")["answer"]
    assert scores.pop("intervals").keys() == scores.keys() - {"threshold", "rows", "rows_cut"}
    return scores


@pytest.fixture(scope="session")
def tagged(once, pretrained):
    """A run that finds cities and people, which are words of their own, in sentences longer than its windows."""

    def make(folder):
        (folder / "data").mkdir(parents=True)
        for split, seed, count in (("train", 1, 40), ("dev", 2, 12)):
            rng = random.Random(seed)
            sentences = []
            for _ in range(count):
                words = [rng.choice(WORDS) for _ in range(rng.randint(2, 40))]
                tags = ["B-city" if word in CITIES else "B-person" if word in PEOPLE else "O" for word in words]
                sentences.append("".join(f"{word}\t{tag}\n" for word, tag in zip(words, tags, strict=True)))
            (folder / "data" / f"{split}.conll").write_text("\n".join(sentences))
        finetune(pretrained, "ner", folder / "data", folder / "run", "--overlap", 3)

    return once("tagged", make)


def test_entities_are_learned_scored_and_predicted(tagged, tmp_path):
    found = read_result(tagged / "run")
    assert found["dev"]["f1"] == 1.0
    assert (found["train_rows"], found["dev_rows"]) == (40, 12)
    scores = evaluated(tagged / "run", tagged / "data" / "dev.conll", tmp_path)
    assert {name: scores[name] for name in ("precision", "recall", "f1")} == {"precision": 1, "recall": 1, "f1": 1}
    assert scores["rows"] == 12
    text = f"  {WORDS[9]} {CITIES[1]}\n{PEOPLE[0]} " + " ".join(WORDS[9:19] * 5) + f" {CITIES[0]}"
    tagger = bert_jax.load(tagged / "run")
    assert tagger.overlap == 3
    entities = tagger.predict([text, ""])
    assert [(one.label, one.text) for one in entities[0]] == [
        ("city", CITIES[1]),
        ("person", PEOPLE[0]),
        ("city", CITIES[0]),
    ]
    assert entities[1] == []


def test_columns_of_words_are_scored_as_plain_text_is_predicted(pretrained, tmp_path):
    """O'Brien is one word in columns, so it is one in plain text: of its parts only the first was trained."""
    (tmp_path / "data").mkdir()
    surnames, others, sentences = WORDS[6:12], WORDS[12:], []
    for split, seed, count in (("train", 1, 60), ("dev", 2, 12)):
        rng, lines = random.Random(seed), []
        for _ in range(count):
            words = [rng.choice(others) for _ in range(rng.randint(3, 9))]
            words = [f"{word}.{rng.choice(others)}" if rng.random() < 0.4 else word for word in words]
            name = f"{rng.choice(PEOPLE)}-{rng.choice(surnames)}"
            words.insert(rng.randrange(len(words)), name)
            lines.append("".join(f"{word}\t{'B-person' if word == name else 'O'}\n" for word in words))
            sentences.append((split, " ".join(words), name))
        (tmp_path / "data" / f"{split}.conll").write_text("\n".join(lines))
    finetune(pretrained, "ner", tmp_path / "data", tmp_path / "run", "--evaluate-every", 1000)
    assert read_result(tmp_path / "run")["dev"]["f1"] == 1.0
    found = bert_jax.load(tmp_path / "run").predict([text for split, text, _ in sentences if split == "dev"])
    assert [[one.text for one in entities] for entities in found] == [
        [name] for split, _, name in sentences if split == "dev"
    ]


def test_problems_of_a_file_are_noted_when_scoring_on_it(tagged, tmp_path, capsys):
    (tmp_path / "dev.jsonl").write_text(json.dumps({"text": CITIES[0], "entities": [[1, 2, "city"]]}) + "\n")
    evaluated(tagged / "run", tmp_path / "dev.jsonl", tmp_path)
    assert "note: " in (told := capsys.readouterr().err) and "1 entity cut a word in two" in told


def test_a_tagger_converts_to_hugging_face_and_back(tagged, tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("torch")
    assert main(["convert", str(tagged / "run"), str(tmp_path / "hf"), "--to", "hf"]) == 0
    pipeline = transformers.pipeline("token-classification", model=str(tmp_path / "hf"), aggregation_strategy="first")
    text = f"{WORDS[9]} {CITIES[1]} {WORDS[11]} {PEOPLE[0]}"
    expected = [(one["entity_group"], one["start"], one["end"]) for one in pipeline(text)]
    for model in (tagged / "run", tmp_path / "hf"):
        assert [(one.label, one.start, one.end) for one in bert_jax.load(model).predict([text])[0]] == expected
    assert len(expected) == 2


def test_entities_without_a_type_work_in_every_format(pretrained, tmp_path):
    """Columns with B, I and O and carriage returns, a hidden word in a name; out as JSONL, and back; the pipeline."""
    (tmp_path / "data").mkdir()
    surnames, others, texts = WORDS[6:12], WORDS[12:], {"train": [], "dev": []}
    for split, count in (("train", 60), ("dev", 12)):
        rng, lines = random.Random(split), []
        for _ in range(count):
            words = [(rng.choice(others), "O") for _ in range(rng.randint(2, 8))]
            name = [(rng.choice(PEOPLE), "B"), ("\u200b", "I"), (rng.choice(surnames), "I")]
            at = rng.randrange(len(words))
            words[at:at] = name if rng.random() < 0.5 else [name[0], name[2]]
            lines += [f"{word}\t{tag}" for word, tag in words] + [""]
            texts[split].append(" ".join(word for word, _ in words))
        (tmp_path / "data" / f"{split}.conll").write_text("\r".join(lines), newline="")
    run = finetune(pretrained, "ner", tmp_path / "data", tmp_path / "run", "--evaluate-every", 1000)
    assert read_result(run)["dev"]["f1"] == 1.0
    found = bert_jax.load(run).predict(texts["dev"])
    assert {entity.label for entities in found for entity in entities} == {"ENTITY"}
    records = [
        {"text": text, "entities": [dataclasses.asdict(one) for one in entities]}
        for text, entities in zip(texts["dev"], found, strict=True)
    ]
    (tmp_path / "found.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    for data in (tmp_path / "found.jsonl", tmp_path / "data" / "dev.conll"):
        assert evaluated(run, data, tmp_path)["f1"] == 1.0
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("torch")
    assert main(["convert", str(run), str(tmp_path / "hf"), "--to", "hf"]) == 0
    pipeline = transformers.pipeline("token-classification", model=str(tmp_path / "hf"), aggregation_strategy="simple")
    for text, entities in zip(texts["dev"], found, strict=True):
        expected = [(one.label, one.start, one.end) for one in entities]
        assert [(one["entity_group"], one["start"], one["end"]) for one in pipeline(text)] == expected


@pytest.mark.parametrize(
    "labels", [("O", "B_art", "I_art"), ("O", "work-of-art"), ("O", "B-work-of-art", "I-work-of-art")]
)
def test_types_of_entities_may_have_any_name(tagged, tmp_path, labels):
    kind = "art" if "B_art" in labels else "work-of-art"
    tag = labels[1]
    (tmp_path / "dev.conll").write_text(f"{WORDS[0]} {tag}\n{WORDS[1]} O\n")
    tokenizer = bert_jax.load(tagged / "run").tokenizer
    examples = read_dev(
        "token", ScoringRequest(tmp_path / "dev.conll", TaskRecord(), labels, "single_label", tokenizer, length=20)
    )
    right = np.eye(len(labels))[[0, 1, *[0] * (len(examples.encoded.tokens) - 2)]]
    assert examples.score(right)["f1"] == 1.0, kind


def squad(path, seed, count, *, impossible=False):
    """The one city is the answer; where there is none, there is no answer."""
    rng = random.Random(seed)
    questions = []
    for i in range(count):
        words = [rng.choice(WORDS[6:]) for _ in range(rng.randint(4, 30))]
        none = impossible and i % 3 == 0
        answers = []
        if not none:
            at = rng.randrange(len(words))
            words[at] = rng.choice(CITIES)
            answers = [{"text": words[at], "answer_start": len(" ".join(words[:at])) + (at > 0)}]
        entry = {"id": f"{seed}-{i}", "question": "gon?", "answers": answers, "is_impossible": none}
        questions.append({"context": " ".join(words), "qas": [entry]})
    version = "v2.0" if impossible else "1.1"
    path.write_text(json.dumps({"version": version, "data": [{"title": "words", "paragraphs": questions}]}))


@pytest.fixture(scope="session")
def read(once, pretrained):
    """A run that has learned to answer, and to say that there is no answer."""

    def make(folder):
        (folder / "data").mkdir(parents=True)
        squad(folder / "data" / "train.json", 1, 60, impossible=True)
        squad(folder / "data" / "dev.json", 2, 24, impossible=True)
        finetune(pretrained, "squad", folder / "data", folder / "run", "--overlap", 5)

    return once("read", make)


def test_answers_are_learned_scored_and_predicted(read, tmp_path):
    found = read_result(read / "run")
    assert found["dev"]["exact_match"] > 60 and found["dev"]["no_answer_exact_match"] > 60
    scores = evaluated(read / "run", read / "data", tmp_path)
    assert scores["f1"] == pytest.approx(found["dev"]["f1"]) and scores["threshold"] == found["dev"]["threshold"]
    reader = bert_jax.load(read / "run")
    table = json.loads((read / "data" / "dev.json").read_text())
    paragraphs = table["data"][0]["paragraphs"]
    answers = reader.predict([one["qas"][0]["question"] for one in paragraphs], [one["context"] for one in paragraphs])
    texts = {one["qas"][0]["id"]: answer.text for one, answer in zip(paragraphs, answers, strict=True)}
    (tmp_path / "answers.json").write_text(json.dumps(texts))
    given = ["--predictions", str(tmp_path / "answers.json"), "--data", str(read / "data" / "dev.json")]
    assert main(["evaluate", *given, "--json", str(tmp_path / "official.json")]) == 0
    official = json.loads((tmp_path / "official.json").read_text())
    assert official["f1"] == pytest.approx(found["dev"]["f1"]) and official["rows_missing"] == 0
    for one, answer in zip(paragraphs, answers, strict=True):
        assert one["context"][answer.start : answer.end] == answer.text


def test_n_best_includes_no_answer_if_the_model_may_refuse(read):
    paragraphs = json.loads((read / "data" / "dev.json").read_text())["data"][0]["paragraphs"]
    answers = bert_jax.load(read / "run").predict(["gon?"] * len(paragraphs), [one["context"] for one in paragraphs])
    for answer in answers:
        likeliest = answer.as_dict(30)["n_best"]
        assert [one["answer"] for one in likeliest].count("") == 1 and sum(
            one["score"] for one in likeliest
        ) <= 1 + 1e-6
        refused = next(one["score"] for one in likeliest if not one["answer"])
        best = next(one["score"] for one in likeliest if one["answer"])
        assert math.log(refused / best) == pytest.approx(answer.no_answer, rel=1e-4, abs=1e-4)


def test_a_reader_exported_to_onnx_answers_as_the_run_does(read, tmp_path):
    pytest.importorskip("onnxruntime")
    assert main(["convert", str(read / "run"), str(tmp_path / "onnx"), "--to", "onnx"]) == 0
    run, exported = bert_jax.load(read / "run"), bert_jax.load(tmp_path / "onnx")
    assert run.threshold is not None and exported.threshold == run.threshold
    assert (exported.max_length, exported.overlap) == (run.max_length, run.overlap) == (20, 5)
    assert exported.max_answer_length == run.max_answer_length >= 30
    scores = evaluated(read / "run", read / "data", tmp_path)
    assert evaluated(tmp_path / "onnx", read / "data", tmp_path) == pytest.approx(scores)


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_max_answer_length_limits_answers(read, tmp_path, suffix):
    run, data = str(read / "run"), read / "data" / "dev.json"
    given = ["predict", "--model", run, "--input", str(data), "--output", str(tmp_path / f"out{suffix}")]
    assert main([*given, "--max-answer-length", "1"]) == 0
    text = (tmp_path / f"out{suffix}").read_text()
    answers = json.loads(text).values() if suffix == ".json" else [json.loads(x)["answer"] for x in text.splitlines()]
    tokenizer = bert_jax.load(run).tokenizer
    assert any(answers) and max(len(ids) for ids in tokenizer.ids(list(answers))) == 1
    assert main(["evaluate", "--model", run, "--data", str(data), "--max-answer-length", "1"]) == 0


def test_a_dialect_is_refused_for_files_that_are_no_tables(tagged, tmp_path, capsys):
    run = ["--model", str(tagged / "run"), "--dialect", "plain"]
    assert main(["evaluate", *run, "--data", str(tagged / "data" / "dev.conll")]) == 1
    for given in ("in.json", "in.conll"):
        assert main(["predict", *run, "--input", str(tmp_path / given), "--output", str(tmp_path / "out.jsonl")]) == 1
    assert capsys.readouterr().err.count("--dialect plain: ") == 3


def test_max_answer_length_is_refused_for_other_heads(tagged, tmp_path, capsys):
    run = ["--model", str(tagged / "run"), "--max-answer-length", "9"]
    assert main(["evaluate", *run, "--data", str(tagged / "data" / "dev.conll")]) == 1
    (tmp_path / "in.txt").write_text("ba\n")
    assert main(["predict", *run, "--input", str(tmp_path / "in.txt"), "--output", str(tmp_path / "out.jsonl")]) == 1
    told = capsys.readouterr().err
    assert "--max-answer-length is for models of spans" in told and "does not answer questions" in told
    assert told.count("\n") == 2


def test_unreachable_answers_are_noted_in_training(pretrained, tmp_path):
    from bert_jax.finetuning.readers.by_task import read_task_data
    from bert_jax.settings.finetune import FinetuneConfig
    from bert_jax.train.run import open_run

    rng = random.Random(3)
    for split, count in (("train", 8), ("dev", 5)):
        rows = []
        for i in range(count):
            words = [rng.choice(WORDS) for _ in range(260)]
            first, size = (90, 40) if i % 4 == 0 else (rng.randrange(250), 2)  # 115 words in a window
            rows.append((" ".join(words), " ".join(words[first : first + size])))
        write_squad(tmp_path / f"{split}.json", *rows)
    tokenizer = open_run(pretrained).tokenizer()

    def read(**more):
        config = FinetuneConfig(pretrained, tmp_path, tmp_path / "run", task="squad", max_length=120, **more)
        data = read_task_data(config, tokenizer)
        return data.record.max_answer_length, [line.split(": ", 1)[1] for line in data.notes]

    longest, notes = read()
    assert longest >= 50 and not any("longer than" in line for line in notes)
    longest, notes = read(max_answer_length=39)
    told = [line for line in notes if "--max-answer-length" in line]
    assert longest == 39 and [line.split(" are ")[0] for line in told] == [
        "2 of 8 training answers (25.00%)",
        "2 of 5 dev answers (40.00%)",
    ]
    assert all("longer than 39 tokens and cannot be given" in line for line in told)
    _, notes = read(overlap=3)
    assert any("stand whole in no window and cannot be given" in line for line in notes)
    scores, _ = gold_answers(tmp_path / "dev.json", tokenizer, 120, max_answer_length=read()[0])
    assert scores["exact_match"] == 100.0
    scores, _ = gold_answers(tmp_path / "dev.json", tokenizer, 120, max_answer_length=39)
    assert scores["exact_match"] == 60.0


def test_choices_are_learned_scored_and_predicted(once, pretrained, tmp_path):
    def make(folder):
        (folder / "data").mkdir(parents=True)
        for split, seed, count in (("train", 1, 60), ("dev", 2, 21)):
            rng = random.Random(seed)
            with open(folder / "data" / f"{split}.jsonl", "w") as file:
                for i in range(count):
                    choices = [" ".join(rng.choices(WORDS[6:], k=4)) for _ in range(3)]
                    choices[i % 3] += " ba ba"
                    row = {"text": rng.choice(WORDS), "choices": choices, "label": i % 3}
                    file.write(json.dumps(row) + "\n")
        finetune(pretrained, "choice", folder / "data", folder / "run", "--evaluate-every", 120)

    folder = once("chosen", make)
    assert read_result(folder / "run")["dev"]["accuracy"] > 0.9
    assert evaluated(folder / "run", folder / "data", tmp_path)["accuracy"] > 0.9
    plain, right = ["ding don fa fe", "kon ke ga fing", "gus ga don le"], "fa kon king dus ba ba"
    given = [[*plain[:2], right, plain[2]], [right, plain[0]]]
    chooser = bert_jax.load(folder / "run")
    assert [one.index for one in chooser.predict(["bus", "fa"], given)] == [2, 0]
    assert chooser.predict([], []) == []


CHOICE = '{"text": "a", "choices": ["b", "c"], "label": 0}\n' * 3 + '{"text": "a", "choices": ["b", "c"]'


@pytest.mark.parametrize(
    ("task", "name", "content", "says"),
    [
        ("ner", "train.conll", "word\n", "line 1: 'word' alone, where a word and its tag are expected"),
        ("ner", "train.conll", "a O\nb x O\n", "line 2: 3 columns, the lines before have 2"),
        ("ner", "train.conll", "a O\n\nb O\n", "no entities to learn"),
        ("ner", "train.jsonl", '{"text": "ba", "entities": [[0, 9, "x"]]}', "line 1: entity 0 to 9 lies outside"),
        ("squad", "train.json", "[1]", "not a SQuAD file"),
        ("squad", "train.json", '{"data": [{"paragraphs": [{"qas": []}]}]}', "data[0].paragraphs[0] has no context"),
        ("choice", "train.jsonl", '{"text": "a", "choices": ["b"], "label": 0}\n' * 3, "line 1: 1 choices"),
        ("choice", "train.jsonl", '{"text": "a", "choices": ["b", "c"], "label": 2}\n' * 3, "label '2' is not"),
        ("choice", "train.jsonl", CHOICE + f', "label": "{"1" * 5000}"}}\n', f"label '{'1' * 20}' is not"),
    ],
)
def test_mistakes_in_a_file_end_in_one_line(pretrained, tmp_path, capsys, task, name, content, says):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).write_text(content)
    given = ["finetune", "--from", str(pretrained), "--task", task, "--data", str(tmp_path / "data" / name)]
    assert main([*given, "--output", str(tmp_path / "run"), "--max-length", "16"]) == 1
    told = capsys.readouterr().err
    assert says in told and told.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_an_export_that_loses_the_threshold_prints_a_note(read, tmp_path, capsys):
    assert main(["convert", str(read / "run"), str(tmp_path / "hf"), "--to", "hf"]) == 0
    threshold = read_result(read / "run")["dev"]["threshold"]
    assert f"hf has no place for the threshold {threshold:.4f}" in capsys.readouterr().err


def test_cut_questions_are_counted(pretrained, tmp_path):
    from bert_jax.finetuning.readers.by_task import read_task_data
    from bert_jax.settings.finetune import FinetuneConfig
    from bert_jax.train.run import open_run

    squad(tmp_path / "train.json", 1, 9)
    squad(tmp_path / "dev.json", 2, 5)
    text = (tmp_path / "dev.json").read_text()
    (tmp_path / "dev.json").write_text(text.replace("gon?", "gon " * 70, 2))
    config = FinetuneConfig(pretrained, tmp_path, tmp_path / "run", task="squad", max_length=24)
    data = read_task_data(config, open_run(pretrained).tokenizer())
    assert (data.train.encoded.truncated, data.dev.encoded.truncated) == (0, 2)
    assert len(data.notes) == 1 and "dev.json: 2 dev questions are longer than their share of a row" in data.notes[0]
