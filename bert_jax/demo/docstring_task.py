"""The demo's classification task: which library does a docstring come from?

Dev rows come from modules that are not in the pre-training corpus; the names of libraries are removed from all rows.
"""

import collections
import csv
import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from bert_jax.demo.corpus import CorpusCounts, Module, installed_sources, read_modules, write_corpus
from bert_jax.errors import UserError
from bert_jax.files import read_json
from bert_jax.output import write_text

TASK_LIBRARIES = ("matplotlib", "python", "scipy", "tensorflow-datasets")  # on different subjects
HELD_OUT_SHARE = 0.15  # of the modules of these libraries
TRAIN_ROWS = 160
DEV_ROWS = 480
ROWS_A_MODULE = 10  # at most, so that no single file stands for its library
MIN_ROW_WORDS, MAX_ROW_WORDS = 6, 40
COUNTS = "task.json"

GIVEAWAY = re.compile(
    r".*(numpy|scipy|sklearn|scikit|matplotlib|pyplot|jax|flax|orbax|optax|tensorflow|tfds|python).*"
    r"|_*(np|sp|mpl|plt|pylab|jnp|lax|pjit|xla|nnx|linen|ocp|tf|py|pep)_*\d*"
)


@dataclasses.dataclass(frozen=True)
class LabelledText:
    """One labelled text."""

    text: str
    label: str


@dataclasses.dataclass(frozen=True)
class DemoData:
    """The demo's data files and their counts. `majority` is the share of the most frequent label in dev."""

    folder: Path
    corpus_counts: CorpusCounts
    held_out_counts: CorpusCounts
    train_rows: int
    dev_rows: int
    labels: tuple[str, ...]
    majority: float

    @property
    def corpus(self) -> Path:
        return self.folder / "corpus.jsonl"

    @property
    def held_out(self) -> Path:
        return self.folder / "held_out.jsonl"

    @property
    def train(self) -> Path:
        return self.folder / "train.csv"

    @property
    def dev(self) -> Path:
        return self.folder / "dev.csv"


def write_corpus_and_task(folder: Path, seed: int) -> DemoData:
    """Write corpus.jsonl, held_out.jsonl (other modules), train.csv and dev.csv (columns text, label) into `folder`.

    The same installation and seed write the same bytes. All dev rows come from the held-out modules; held_out.jsonl is
    for measuring the pre-trained model. `read_demo_data` reads the counts again.
    """
    return write_task(read_modules(installed_sources()), folder, seed)


def write_task(
    modules: Sequence[Module], folder: Path, seed: int, libraries: Sequence[str] = TASK_LIBRARIES
) -> DemoData:
    """Write the files of `write_corpus_and_task` from modules that have been read."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = [module for module in modules if not is_held_out_module(module, seed, libraries)]
    held_out = [module for module in modules if is_held_out_module(module, seed, libraries)]
    train, dev = make_rows(kept, held_out, seed, libraries)
    if not train or not dev:
        raise UserError(
            f"{len(modules)} modules with documentation gave {len(train)} training and {len(dev)} dev rows, too few "
            "for a task. Were the packages installed without their sources? Install them again with pip."
        )
    data = DemoData(
        folder,
        corpus_counts=write_corpus(kept, folder / "corpus.jsonl"),
        held_out_counts=write_corpus(held_out, folder / "held_out.jsonl"),
        train_rows=len(train),
        dev_rows=len(dev),
        labels=tuple(sorted({row.label for row in train})),
        majority=max(collections.Counter(row.label for row in dev).values()) / len(dev),
    )
    write_rows(train, data.train)
    write_rows(dev, data.dev)
    counts = {name: value for name, value in dataclasses.asdict(data).items() if name != "folder"}
    write_text(folder / COUNTS, json.dumps(counts, indent=2) + "\n")
    return data


def read_demo_data(folder: Path) -> DemoData:
    """Return what `write_task` returned for the files in `folder`."""
    counts = read_json(folder / COUNTS)
    corpus, held_out = (CorpusCounts(**counts.pop(name)) for name in ("corpus_counts", "held_out_counts"))
    return DemoData(folder, corpus, held_out, **{**counts, "labels": tuple(counts["labels"])})


def is_held_out_module(module: Module, seed: int, libraries: Sequence[str] = TASK_LIBRARIES) -> bool:
    """Return whether the module is left out of the pre-training corpus, by a hash of its name and the seed."""
    return module.library in libraries and _lot(seed, module.id) < HELD_OUT_SHARE


def make_rows(
    kept: Sequence[Module], held_out: Sequence[Module], seed: int, libraries: Sequence[str] = TASK_LIBRARIES
) -> tuple[list[LabelledText], list[LabelledText]]:
    """Return training rows from `kept` and dev rows from `held_out`, nearly balanced, in an order fixed by the seed.

    No text is in both, none has two labels, and no dev row starts with a paragraph that occurs in `kept`.
    """
    train, dev = _candidates(kept, libraries), _candidates(held_out, libraries)
    labels_of = collections.defaultdict(set)
    for candidate in (*train, *dev):
        labels_of[_key(candidate.row.text)].add(candidate.row.label)
    ambiguous = {key for key, labels in labels_of.items() if len(labels) > 1}
    paragraphs = {text for module in kept for docstring in module.docstrings for text in docstring.paragraphs}
    training_keys = set(map(_key, paragraphs)) | {_key(candidate.row.text) for candidate in train}
    unseen = [candidate for candidate in dev if candidate.summary not in training_keys]
    return (
        _choose(train, TRAIN_ROWS, ambiguous, seed, libraries),
        _choose(unseen, DEV_ROWS, ambiguous | training_keys, seed, libraries),
    )


def redact(text: str) -> str:
    """Return the text without the names of libraries: `jnp.sum` becomes `sum`, `NumPy array` becomes `array`."""
    text = re.sub(
        r"(\w+)(?:\.(?=\w)|-(?=[a-z]))?", lambda match: "" if gives_away(match[1]) else match[0], _joined(text)
    )
    text = re.sub(r"\(\s*\)|\s+(?=[,.;:!?)](?:\s|$))", "", text)
    return " ".join(text.split())


@functools.cache
def gives_away(word: str) -> bool:
    """Return whether a word contains the name of a library or is its usual import alias."""
    return GIVEAWAY.fullmatch(word.lower()) is not None


def _joined(text: str) -> str:
    """Return the text with library names of two words written as one."""
    return re.sub("tensorflow[- ]datasets", "tfds", re.sub("scikit-learn", "sklearn", text, flags=re.I), flags=re.I)


def write_rows(rows: Iterable[LabelledText], path: Path) -> None:
    """Write a CSV file with the columns text and label."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("text", "label"))
        writer.writerows((row.text, row.label) for row in rows)


@dataclasses.dataclass(frozen=True)
class _Candidate:
    row: LabelledText
    module: str
    summary: str  # the key of the first paragraph


def _candidates(modules: Sequence[Module], libraries: Sequence[str]) -> list[_Candidate]:
    """Return a row for each function and class with enough documentation."""
    candidates = []
    for module in modules:
        if module.library not in libraries:
            continue
        for docstring in module.docstrings:
            text = redact(_opening(" ".join(docstring.paragraphs)))
            if docstring.kind in ("class", "function") and len(text.split()) >= MIN_ROW_WORDS:
                summary = _key(docstring.paragraphs[0])
                candidates.append(_Candidate(LabelledText(text, module.library), module.id, summary))
    return candidates


def _choose(
    candidates: Sequence[_Candidate], count: int, refused: set[str], seed: int, libraries: Sequence[str]
) -> list[LabelledText]:
    """Choose about `count` rows in random order, of each label at most an equal share, without repeated texts."""
    chosen: list[LabelledText] = []
    seen = set(refused)
    of_label: collections.Counter[str] = collections.Counter()
    of_module: collections.Counter[str] = collections.Counter()
    for candidate in sorted(candidates, key=lambda candidate: _lot(seed, candidate.module, candidate.row.text)):
        row, module, key = candidate.row, candidate.module, _key(candidate.row.text)
        if key in seen or of_label[row.label] >= count // len(libraries) or of_module[module] >= ROWS_A_MODULE:
            continue
        seen.add(key)
        of_label[row.label] += 1
        of_module[module] += 1
        chosen.append(row)
    return chosen


def _opening(text: str) -> str:
    """Return the first whole sentences of at most `MAX_ROW_WORDS` words, or that many words if the first is longer."""
    words = text.split()
    if len(words) <= MAX_ROW_WORDS:
        return text
    whole_sentences = re.match(r".*[.!?](?=\s|$)", " ".join(words[:MAX_ROW_WORDS]))
    return whole_sentences[0] if whole_sentences else " ".join(words[:MAX_ROW_WORDS])


def _key(text: str) -> str:
    """Return a key that is equal for texts that differ only in case, digits, punctuation and library names."""
    words = (word for word in re.findall(r"\w+", _joined(text)) if not gives_away(word))
    return " ".join(re.findall("[a-z]+", " ".join(words).lower()))


def _lot(seed: int, *names: str) -> float:
    """Return a pseudo-random number in [0, 1) that depends only on the seed and the names."""
    digest = hashlib.sha256("\0".join((str(seed), *names)).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
