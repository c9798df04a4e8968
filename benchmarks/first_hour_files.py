"""Files that README.md and docs/*.md take for granted, made from the documentation of the installed packages.

corpus/, text/, books/, docs/, news/ and wiki/ for preparation; tickets.csv, tickets-june.csv, june.csv and new.csv;
GLUE, SQuAD, CoNLL and BEIR folders of a few dozen rows, pairs.csv and searches.jsonl; small.toml and own.toml, an
encoder; bert-base.toml, two phases of a few steps; vocab/, shards/, both/, vocab.txt; runs/, downloads/ and checkpoint/
with such encoders, one step from random weights; and links to launch/ and benchmarks/, as a checkout has them. Their
content only has to be in the right format: what is played is the commands.
"""

import csv
import itertools
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow
import pyarrow.parquet
import zstandard

from bert_jax.demo.corpus import Module, installed_sources, read_modules
from bert_jax.demo.docstring_task import make_rows

PRIORITIES = {"matplotlib": "P1", "python": "P2", "scipy": "P3"}
QUEUES = {  # library -> the queue of docs/tickets.md that it stands for
    "scipy": "powershell-concepts",
    "matplotlib": "react-docs",
    "numpy": "cpp-language",
    "jax": "powershell-about",
    "scikit-learn": "rust-reference",
    "tensorflow-datasets": "prometheus-docs",
    "flax": "rust-book",
    "optax": "wsl-docs",
}
SHAPE = "width = 32\ndepth = 2\nheads = 2\nmlp_width = 64\nmax_length = 512\n"
PHASES = """model = "shape.toml"
batch-size = 16
[[phases]]
data = "128"
steps = 20
[[phases]]
data = "512"
steps = 10
"""
COMMANDS = (  # folders as runs and hubs have them, made by the commands themselves
    "prep vocab --input books --output made/vocab --size 12000",  # as in docs/preparation.md
    "prep shards --input books --tokenizer made/vocab --output made/shards --length 64 --dupe-factor 1",
    "prep shards --input books --tokenizer made/vocab --output both --length 128 512 --dupe-factor 1",
    "pretrain --data made/shards --output runs/first --model shape.toml --steps 1 --batch-size 8",
    "finetune --from runs/first --data june.csv --text text --label priority --epochs 1 --output runs/tickets",
    "convert runs/first checkpoint --to hf",
    "convert runs/first downloads/e5-small --to sentence-transformers",
    "convert runs/first downloads/minilm --to sentence-transformers --normalize",
)
COPIES = {
    "runs/first": ("runs/mini", "runs/small"),
    "checkpoint": ("downloads/roberta-base", "downloads/bert-base-uncased"),
    "made/vocab": ("vocab",),
    "made/shards": ("shards",),
    "made/vocab/vocab.txt": ("vocab.txt", "bert-base-uncased.txt"),
}


def write(folder: Path, checkout: Path) -> None:
    """Write everything into `folder`, which is made."""
    folder.mkdir(parents=True)
    modules = read_modules(installed_sources())
    _write_texts(folder, modules)
    _write_tickets(folder, modules)
    sentences = [text for module in modules for d in module.docstrings for text in d.paragraphs if 40 < len(text) < 200]
    _write_glue(folder / "glue", sentences)
    _write_similarity(folder, sentences)
    _write_search(folder / "rust-docs", sentences)
    _write_squad(folder / "squad", sentences)
    _write_conll(folder / "conll", sentences)
    for name in ("shape", "small", "own"):
        (folder / f"{name}.toml").write_text(SHAPE, encoding="utf-8")
    (folder / "bert-base.toml").write_text(PHASES, encoding="utf-8")
    for name in ("made", "runs", "downloads"):
        (folder / name).mkdir()
    for command in COMMANDS:
        words = [sys.executable, "-m", "bert_jax.cli", *command.split()]
        end = subprocess.run(words, cwd=folder, capture_output=True, text=True)
        if end.returncode:
            raise SystemExit(f"{command}: {end.stderr}")
    for original, copies in COPIES.items():
        for copy in copies:
            (shutil.copytree if (folder / original).is_dir() else shutil.copy)(folder / original, folder / copy)
    shutil.rmtree(folder / "made")
    for name in ("launch", "benchmarks"):
        (folder / name).symlink_to(checkout / name)


def _write_texts(folder: Path, modules: Sequence[Module]) -> None:
    texts = [_text(module) for module in modules[::4]]
    for name in ("corpus", "text", "books"):
        (folder / name).mkdir()
        for i in range(4):
            (folder / name / f"{i:02}.txt").write_text("\n\n".join(texts[i::30]) + "\n", encoding="utf-8")
    for library, queue in QUEUES.items():
        documents = [{"id": module.id, "text": _text(module)} for module in modules if module.library == library]
        _write_lines(folder / "docs" / f"{queue}.jsonl", documents[:600])
    _write_lines(folder / "news" / "2025.jsonl", [{"body": text} for text in texts[:100]])
    pyarrow.parquet.write_table(pyarrow.table({"body": texts[100:200]}), folder / "news" / "2024.parquet")
    _write_table(folder / "2023.csv", ["body"], [[text] for text in texts[200:300]])
    packed = zstandard.compress((folder / "2023.csv").read_bytes())
    (folder / "news" / "2023.csv.zst").write_bytes(packed)
    (folder / "2023.csv").unlink()
    (folder / "wiki").mkdir()
    articles = [f'<doc id="{i}" title="T{i}">\n{text}\n</doc>\n' for i, text in enumerate(texts[:100])]
    (folder / "wiki" / "wiki_00").write_text("".join(articles), encoding="utf-8")


def _text(module: Module) -> str:
    return "\n".join(text for docstring in module.docstrings for text in docstring.paragraphs)


def _write_tickets(folder: Path, modules: Sequence[Module]) -> None:
    rows, _ = make_rows(modules, modules[::2], 1, tuple(PRIORITIES))
    head = ["id", "document", "customer", "body", "text", "priority", "queue", "label"]
    for name, chosen in (("tickets", rows), ("tickets-june", rows[:90]), ("june", rows[:90]), ("new", rows[::2])):
        table = [
            [i, f"d{i // 3}", f"c{i // 3}", row.text, row.text, PRIORITIES[row.label], row.label, PRIORITIES[row.label]]
            for i, row in enumerate(chosen)
        ]
        _write_table(folder / f"{name}.csv", head, table)
    (folder / "texts.txt").write_text("".join(f"{row.text}\n" for row in rows), encoding="utf-8")
    (folder / "sentences.txt").write_text("".join(f"{row.text}\n" for row in rows[:50]), encoding="utf-8")


def _write_glue(folder: Path, sentences: Sequence[str]) -> None:
    draw = random.Random(0)
    for name, labels in (("MRPC", ("0", "1")), ("RTE", ("entailment", "not_entailment"))):
        for split, count in (("train", 64), ("dev", 32), ("test", 16)):
            rows = []
            for i in range(count):
                first, second = draw.sample(sentences, 2)
                label = labels[i % 2]
                rows.append([label, i, i, first, second] if name == "MRPC" else [i, first, second, label])
            head = ["Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"]
            head = head if name == "MRPC" else ["index", "sentence1", "sentence2", "label"]
            if split == "test":
                head = ["index", *head[1:]] if name == "MRPC" else head[:-1]
                rows = [[row[1], *row[1:]] if name == "MRPC" else row[:-1] for row in rows]
            lines = ["\t".join(map(str, row)) + "\n" for row in (head, *rows)]
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name / f"{split}.tsv").write_text("".join(lines), encoding="utf-8")


def _write_similarity(folder: Path, sentences: Sequence[str]) -> None:
    head = ["index", "genre", "filename", "year", "old_index", "source1", "source2", "sentence1", "sentence2", "score"]
    pairs = list(itertools.pairwise(sentences[:33]))
    rows = [[i, "docs", "docs", 2026, i, "a", "b", *pair, i % 11 / 2] for i, pair in enumerate(pairs)]
    (folder / "glue" / "STS-B").mkdir()
    lines = ["\t".join(map(str, row)) + "\n" for row in (head, *rows)]
    (folder / "glue" / "STS-B" / "dev.tsv").write_text("".join(lines), encoding="utf-8")
    _write_table(folder / "pairs.csv", ["question", "title", "similarity"], [[*row[7:9], row[9] / 5] for row in rows])
    _write_lines(folder / "searches.jsonl", [{"query": a, "passage": b} for a, b in pairs])


def _write_search(folder: Path, sentences: Sequence[str]) -> None:
    _write_lines(folder / "corpus.jsonl", [{"_id": f"d{i}", "text": text} for i, text in enumerate(sentences[:60])])
    _write_lines(folder / "queries.jsonl", [{"_id": f"q{i}", "text": sentences[i][:40]} for i in range(20)])
    (folder / "qrels").mkdir()
    for split, queries in (("test", range(12)), ("dev", range(12, 20))):
        lines = ["query-id\tcorpus-id\tscore\n", *(f"q{i}\td{i}\t1\n" for i in queries)]
        (folder / "qrels" / f"{split}.tsv").write_text("".join(lines), encoding="utf-8")


def _write_squad(folder: Path, sentences: Sequence[str]) -> None:
    folder.mkdir()
    for split, chosen in (("train", sentences[:60]), ("dev", sentences[60:90])):
        paragraphs = []
        for i, text in enumerate(chosen):
            answer = text.split()[1]
            question = {"id": f"{split}-{i}", "question": f"What comes after {text.split()[0]}?"}
            question["answers"] = [{"text": answer, "answer_start": text.index(answer)}]
            paragraphs.append({"context": text, "qas": [question]})
        content = {"version": "1.1", "data": [{"title": split, "paragraphs": paragraphs}]}
        (folder / f"{split}.json").write_text(json.dumps(content), encoding="utf-8")


def _write_conll(folder: Path, sentences: Sequence[str]) -> None:
    folder.mkdir()
    for split, chosen in (("train", sentences[:80]), ("dev", sentences[80:120])):
        blocks = [
            "".join(f"{word}\t{'B-NAME' if word[0].isupper() else 'O'}\n" for word in text.split()) for text in chosen
        ]
        (folder / f"{split}.conll").write_text("\n".join(blocks), encoding="utf-8")
    (folder.parent / "words.conll").write_text("\n".join(blocks), encoding="utf-8")


def _write_table(path: Path, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)


def _write_lines(path: Path, rows: Sequence[dict[str, str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
