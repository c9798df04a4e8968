"""Folders of Hugging Face: config.json, weights, tokenizer. Read and written without their library, no code is run."""

import json
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from bert_jax.config import ModelConfig
from bert_jax.convert.families import Family, Table, family_named, family_of, family_without_name
from bert_jax.convert.pretrained import (
    MULTI_LABEL,
    REGRESSION,
    SINGLE_LABEL,
    Pretrained,
    check_vocabulary,
    outputs_of,
    shapes_of,
)
from bert_jax.convert.rules import Shape, read_tensors, to_theirs
from bert_jax.convert.torch_pickle import BFLOAT16
from bert_jax.convert.weight_files import Weights, open_weights, write_weights
from bert_jax.errors import UserError
from bert_jax.files import read_json
from bert_jax.text import load_tokenizer
from bert_jax.text.classes import has_tokenizer
from bert_jax.text.files import SETTINGS
from bert_jax.text.tokenizer import Tokenizer

T = TypeVar("T")

CONFIG = "config.json"
MAX_CONFIG_BYTES = 50_000_000
MOST_LEVELS = 32
MOST_CLASSES = 1 << 16
BUFFERS = re.compile(r"(^|\.)(position_ids|token_type_ids|inv_freq|num_batches_tracked)$")
OLD_NAMES = ((re.compile(r"(?<=LayerNorm\.)gamma$"), "weight"), (re.compile(r"(?<=LayerNorm\.)beta$"), "bias"))
PROBLEMS = {
    "single_label_classification": SINGLE_LABEL,
    "multi_label_classification": MULTI_LABEL,
    "regression": REGRESSION,
}
CLASSIFIERS = ("sequence", "token")


def is_huggingface(folder: Path) -> bool:
    return (folder / CONFIG).is_file()


def read_huggingface(folder: Path, *, lowercase: bool | None = None) -> Pretrained:
    """The model in a folder, with the head that its weights have.

    `lowercase` is for the tokenizer, as in `load_tokenizer`.
    Raises one UserError with all that is wrong with its configuration, weights and vocabulary; a tensor that is there
    for nothing is wrong, too.
    """
    table = read_table(folder / CONFIG)
    where = str(folder / CONFIG)
    problems: list[str] = []
    weights = _noted(problems, lambda: _Renamed(open_weights(folder)))
    tokenizer = _noted(problems, lambda: read_tokenizer(folder, lowercase=lowercase))
    family = _noted(problems, lambda: _family(table, weights.names() if weights else (), where))
    model = _noted(problems, lambda: family.read(table, where)) if family else None
    if model and tokenizer:
        _noted(problems, lambda: check_vocabulary(tokenizer, model.vocab_size, str(folder)))
    pretrained = None
    if family and model and weights:
        pretrained = _noted(problems, lambda: _fitted(folder, table, family, model, weights))
    if problems or pretrained is None:
        raise UserError("; ".join(problems))
    return pretrained.changed(tokenizer=tokenizer)


def _fitted(folder: Path, table: Table, family: Family, model: ModelConfig, weights: "_Renamed") -> Pretrained:
    """The model, all but its tokenizer. Raises UserError with all that does not fit."""
    where = str(folder / CONFIG)
    if model.depth > len(weights.names()):  # before that many are built
        raise UserError(
            f"{where}: {model.depth} layers, and all of {weights.source} are {len(weights.names())} tensors"
        )
    at = family.prefix if any(name.startswith(family.prefix) for name in weights.names()) else ""
    kind = _kind(family, table, set(weights.names()), where)
    labels, problem = _labels(table, where) if kind in CLASSIFIERS else (None, SINGLE_LABEL)
    pooler = f"{at}pooler.dense.weight" in weights.names() and "pooler" in family.heads
    rules = family.rules(model, kind, pooler=pooler, at=at)
    if pooler and not any(rule.theirs == f"{at}pooler.dense.weight" for rule in rules):
        for part in ("weight", "bias"):  # of pre-training; RoBERTa's classifiers pass it over
            weights.drop(f"{at}pooler.dense.{part}")
    has_pooler = any(name.startswith("encoder/pooler") for rule in rules for name in rule.ours)
    shapes = shapes_of(kind, model, outputs=outputs_of(kind, labels), pooler=has_pooler)
    tied = _drop_tied(weights, family, at, where)
    source = str(weights.source)
    if "quantization_config" in table or (whole := weights.whole_numbers()):
        told = "its configuration has a quantization_config" if "quantization_config" in table else f"{whole[0]} is"
        raise UserError(f"{source}: {told} of whole numbers; quantised models are not read. Save it in floating point")
    params = read_tensors(rules, weights, shapes, vocab_size=model.vocab_size, where=source)
    dtypes = {rule.ours[0]: str(weights.dtype(rule.theirs)) for rule in rules}
    dtype = dtypes[rules[0].ours[0]]
    origin = {
        "format": "hf",
        "family": family.name,
        "config": table,
        "prefix": at,
        "tied": tied,
        "dtype": dtype,
        "other_dtypes": {name: other for name, other in dtypes.items() if other != dtype},
    }
    max_length = min(model.max_length, _tokenizer_length(folder))
    return Pretrained(str(folder), kind, model, None, params, labels, problem, max_length, origin)


def write_huggingface(pretrained: Pretrained, folder: Path) -> None:
    """Leaves config.json, model.safetensors and the tokenizer in `folder`, which is there and empty."""
    origin = pretrained.origin if pretrained.origin.get("format") == "hf" else {}
    family = family_named(origin["family"], "") if origin else family_of(pretrained.model)
    at = origin.get("prefix", "" if pretrained.kind == "encoder" else family.prefix)
    rules = family.rules(pretrained.model, pretrained.kind, pooler=pretrained.pooler, at=at)
    dtype, others = origin.get("dtype", "float32"), origin.get("other_dtypes", {})
    tensors = {}
    for rule in rules:
        array = to_theirs(rule, pretrained.params, pretrained.model.vocab_size)
        tensors[rule.theirs] = array.astype(_dtype(others.get(rule.ours[0], dtype)), copy=False)
    for name, repeats in origin.get("tied", {}).items():
        tensors[name] = tensors[repeats]
    table = {**origin.get("config", {}), **config_table(pretrained, family)}
    (folder / CONFIG).write_text(json.dumps(table, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    write_weights(folder, tensors)
    if pretrained.tokenizer is not None:
        pretrained.tokenizer.save(folder)
        _write_length(folder / SETTINGS, pretrained.max_length)


def _write_length(path: Path, max_length: int) -> None:
    """The tokenizer's settings say where a text is cut: pipelines cut it there, as our own predictions do."""
    settings = {**read_json(path), "model_max_length": max_length}
    path.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def config_table(pretrained: Pretrained, family: Family) -> Table:
    """config.json of a model."""
    dtype = pretrained.origin.get("dtype", "float32")
    table = {
        "architectures": [family.architecture(pretrained.kind)],
        **family.write(pretrained.model),
        "dtype": dtype,
        "torch_dtype": dtype,
    }
    if pretrained.tokenizer is not None and not pretrained.model.first_position:  # where positions are counted from it
        table["pad_token_id"] = pretrained.tokenizer.special.pad
    labels = ("LABEL_0",) if pretrained.kind == "sequence" and pretrained.labels is None else pretrained.labels
    if labels is not None:
        table["id2label"] = {str(i): label for i, label in enumerate(labels)}
        table["label2id"] = {label: i for i, label in enumerate(labels)}
    if pretrained.kind == "sequence" and not (pretrained.origin and pretrained.problem == SINGLE_LABEL):
        table["problem_type"] = next(theirs for theirs, ours in PROBLEMS.items() if ours == pretrained.problem)
    return table


def read_table(path: Path) -> Table:
    """The JSON object in a configuration file."""
    if path.is_file() and path.stat().st_size > MAX_CONFIG_BYTES:
        raise UserError(f"{path}: larger than {MAX_CONFIG_BYTES} bytes; not a configuration")
    table = read_json(path)
    if _deeper_than(MOST_LEVELS, table):
        raise UserError(f"{path}: more than {MOST_LEVELS} objects and lists within each other; not a configuration")
    try:
        json.dumps(table, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:  # half a pair of surrogates could not be written again
        raise UserError(f"{path}: not JSON: {error}") from None
    return table


def _deeper_than(levels: int, value: Any) -> bool:
    level = [value]
    for _ in range(levels):
        nested = (node.values() if isinstance(node, dict) else node for node in level if isinstance(node, dict | list))
        level = [child for children in nested for child in children]
    return bool(level)


def read_tokenizer(folder: Path, *, lowercase: bool | None = None) -> Tokenizer | None:
    """Return the tokenizer beside the weights, or None where no file of one is there."""
    return load_tokenizer(folder, lowercase=lowercase) if has_tokenizer(folder) else None


def _tokenizer_length(folder: Path) -> int:
    """Tokens that the tokenizer cuts a text to; a very large number where it does not say."""
    path = folder / "tokenizer_config.json"
    try:
        length = json.loads(path.read_text(encoding="utf-8-sig")).get("model_max_length")
    except (OSError, ValueError, AttributeError):
        length = None
    return length if isinstance(length, int) and length > 2 else 1 << 62


def _noted(problems: list[str], step: Callable[[], T]) -> T | None:
    """What the step gives; where it raises UserError, that is among the problems."""
    try:
        return step()
    except UserError as error:
        problems.append(str(error))
        return None


def _family(table: Table, tensors: Collection[str], where: str) -> Family:
    named = table.get("model_type")
    early = family_without_name(table.get("architectures"), tensors) if named is None else None
    return early or family_named(named, where)


def _kind(family: Family, table: Table, there: set[str], where: str) -> str:
    """What config.json says the model is; the fuller kind where the weights of one are there besides."""
    named = table.get("architectures") or [f"{family.classes}Model"]
    if not isinstance(named, list) or not isinstance(named[0], str):
        raise UserError(f"{where}: architectures is {named!r}, a list of one name is expected")
    kind = family.kind(named[0], where)
    if kind not in ("encoder", "masked_lm"):
        return kind

    def has(head: str) -> bool:
        rules = family.heads[head]("") if head in family.heads else []
        return bool(rules) and {rules[0].theirs, rules[-1].theirs} <= there

    if has("masked_lm"):
        return "pretrain" if has("next_sentence") else "masked_lm"
    return "discriminator" if kind == "encoder" and has("discriminator") else kind


def _labels(table: Table, where: str) -> tuple[tuple[str, ...], str]:
    """The classes in the order of the outputs, and the kind of problem."""
    by_id = table.get("id2label")
    if by_id is None:
        count = table.get("num_labels", 2)
        if type(count) is not int or not 1 <= count <= MOST_CLASSES:
            raise UserError(f"{where}: num_labels is {count!r}; a whole number from 1 to {MOST_CLASSES} is expected")
        by_id = {str(i): f"LABEL_{i}" for i in range(count)}
    try:
        labels = tuple(str(by_id[str(i)]) for i in range(len(by_id)))
    except (KeyError, TypeError):
        labels = ()
    if not labels:
        raise UserError(f"{where}: id2label is {by_id!r}; ids from 0 on, each once, are expected")
    problem = table.get("problem_type")
    if problem is not None and (not isinstance(problem, str) or problem not in PROBLEMS):
        raise UserError(f"{where}: problem_type {problem!r} is not among {', '.join(PROBLEMS)}")
    return labels, PROBLEMS[problem] if problem else REGRESSION if len(labels) == 1 else SINGLE_LABEL


def _drop_tied(weights: "_Renamed", family: Family, at: str, where: str) -> dict[str, str]:
    """Takes away names that repeat another tensor, and returns which did. Raises UserError where they differ.

    Where the other is not there, the tensor was kept under this name only, and gets the other.
    """
    found = {}
    for name, repeats in family.tied.items():
        repeats = repeats.format(at=at)
        if name not in weights.names():
            continue
        if repeats not in weights.names():
            weights.rename(name, repeats)
            continue
        if weights.shape(name) != weights.shape(repeats) or not np.array_equal(
            weights.read(name), weights.read(repeats)
        ):
            raise UserError(f"{where}: {name} differs from {repeats}; only tied output layers are supported")
        weights.drop(name)
        found[name] = repeats
    return found


def _dtype(name: str) -> Any:
    return BFLOAT16 if name == "bfloat16" else np.dtype(name)


class _Renamed:
    """Weights by the names of today: LayerNorm's gamma and beta are weight and bias, buffers are not there."""

    def __init__(self, weights: Weights) -> None:
        self.source, self._weights = weights.source, weights
        self._names = {_today(name): name for name in weights if not BUFFERS.search(name)}

    def names(self) -> Collection[str]:
        return self._names.keys()

    def whole_numbers(self) -> list[str]:
        """Names of tensors that are not of floating-point numbers."""
        kinds = {name: self.dtype(name) for name in self._names}
        return [name for name, kind in kinds.items() if not (np.issubdtype(kind, np.floating) or kind == BFLOAT16)]

    def shape(self, name: str) -> Shape:
        return self._weights[self._names[name]].shape

    def dtype(self, name: str) -> Any:
        return self._weights[self._names[name]].dtype

    def read(self, name: str) -> np.ndarray:
        return self._weights.read(self._names[name])

    def rename(self, name: str, new: str) -> None:
        self._names[new] = self._names.pop(name)

    def drop(self, name: str) -> None:
        self._names.pop(name, None)


def _today(name: str) -> str:
    for old, new in OLD_NAMES:
        name = old.sub(new, name)
    return name
