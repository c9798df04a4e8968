"""Folders of Hugging Face: config.json, weights, tokenizer. Read and written without their library, no code is run."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from bert_jax.convert.families import Family, Table, family_named, family_of
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
from bert_jax.convert.weight_files import Weights, open_weights, write_weights
from bert_jax.errors import UserError
from bert_jax.text import load_tokenizer
from bert_jax.text.tokenizer import Tokenizer

CONFIG = "config.json"
MAX_CONFIG_BYTES = 50_000_000
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


def read_huggingface(folder: Path) -> Pretrained:
    """The model in a folder, with the head that its weights have.

    Raises UserError with all that is wrong with its weights; a tensor that is there for nothing is wrong, too.
    """
    table = read_table(folder / CONFIG)
    where = str(folder / CONFIG)
    family = family_named(table.get("model_type"), where)
    model = family.read(table, where)
    weights = _Renamed(open_weights(folder))
    at = family.prefix if any(name.startswith(family.prefix) for name in weights.names()) else ""
    kind = _kind(family, table, set(weights.names()), where)
    labels, problem = _labels(table, where) if kind in CLASSIFIERS else (None, SINGLE_LABEL)
    pooler = f"{at}pooler.dense.weight" in weights.names() and "pooler" in family.heads
    rules = family.rules(model, kind, pooler=pooler, at=at)
    has_pooler = any(name.startswith("encoder/pooler") for rule in rules for name in rule.ours)
    shapes = shapes_of(kind, model, outputs=outputs_of(kind, labels), pooler=has_pooler)
    tied = _drop_tied(weights, family, at, where)
    params = read_tensors(rules, weights, shapes, vocab_size=model.vocab_size, where=str(weights.source))
    tokenizer = read_tokenizer(folder)
    if tokenizer is not None:
        check_vocabulary(tokenizer, model.vocab_size, str(folder))
    origin = {
        "format": "hf",
        "family": family.name,
        "config": table,
        "prefix": at,
        "tied": tied,
        "dtype": str(weights.dtype(rules[0].theirs)),
    }
    max_length = min(model.max_length, _tokenizer_length(folder))
    return Pretrained(str(folder), kind, model, tokenizer, params, labels, problem, max_length, origin)


def write_huggingface(pretrained: Pretrained, folder: Path) -> None:
    """Leaves config.json, model.safetensors and the tokenizer in `folder`, which is there and empty."""
    origin = pretrained.origin if pretrained.origin.get("format") == "hf" else {}
    family = family_named(origin["family"], "") if origin else family_of(pretrained.model)
    at = origin.get("prefix", "" if pretrained.kind == "encoder" else family.prefix)
    rules = family.rules(pretrained.model, pretrained.kind, pooler=pretrained.pooler, at=at)
    dtype = np.dtype(_dtype(origin.get("dtype", "float32")))
    tensors = {
        rule.theirs: to_theirs(rule, pretrained.params, pretrained.model.vocab_size).astype(dtype, copy=False)
        for rule in rules
    }
    for name, repeats in origin.get("tied", {}).items():
        tensors[name] = tensors[repeats]
    table = {**origin.get("config", {}), **config_table(pretrained, family)}
    (folder / CONFIG).write_text(json.dumps(table, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    write_weights(folder, tensors)
    if pretrained.tokenizer is not None:
        pretrained.tokenizer.save(folder)


def config_table(pretrained: Pretrained, family: Family) -> Table:
    """config.json of a model."""
    dtype = pretrained.origin.get("dtype", "float32")
    table = {
        "architectures": [family.architecture(pretrained.kind)],
        **family.write(pretrained.model),
        "dtype": dtype,
        "torch_dtype": dtype,
    }
    if pretrained.tokenizer is not None:
        table["pad_token_id"] = pretrained.tokenizer.special.pad
    if pretrained.labels is not None:
        table["id2label"] = {str(i): label for i, label in enumerate(pretrained.labels)}
        table["label2id"] = {label: i for i, label in enumerate(pretrained.labels)}
    if pretrained.kind == "sequence" and not (pretrained.origin and pretrained.problem == SINGLE_LABEL):
        table["problem_type"] = next(theirs for theirs, ours in PROBLEMS.items() if ours == pretrained.problem)
    return table


def read_table(path: Path) -> Table:
    """The JSON object in a configuration file."""
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise UserError(f"{path}: larger than {MAX_CONFIG_BYTES} bytes; not a configuration")
        table = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file, where a model's configuration is expected") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON: {error}") from None
    if not isinstance(table, dict):
        raise UserError(f"{path}: a JSON object is expected")
    return table


def read_tokenizer(folder: Path) -> Tokenizer | None:
    """The tokenizer beside the weights, or None where no file of one is there."""
    kinds = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model")
    return load_tokenizer(folder) if any((folder / name).is_file() for name in kinds) else None


def _tokenizer_length(folder: Path) -> int:
    """Tokens that the tokenizer cuts a text to; a very large number where it does not say."""
    path = folder / "tokenizer_config.json"
    try:
        length = json.loads(path.read_text(encoding="utf-8-sig")).get("model_max_length")
    except (OSError, ValueError, AttributeError):
        length = None
    return length if isinstance(length, int) and length > 2 else 1 << 62


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
        by_id = {str(i): f"LABEL_{i}" for i in range(table.get("num_labels", 2))}
    try:
        labels = tuple(str(by_id[str(i)]) for i in range(len(by_id)))
    except (KeyError, TypeError):
        raise UserError(f"{where}: id2label is {by_id!r}; ids from 0 on, each once, are expected") from None
    problem = table.get("problem_type")
    if problem is not None and problem not in PROBLEMS:
        raise UserError(f"{where}: problem_type {problem!r} is not among {', '.join(PROBLEMS)}")
    return labels, PROBLEMS[problem] if problem else REGRESSION if len(labels) == 1 else SINGLE_LABEL


def _drop_tied(weights: "_Renamed", family: Family, at: str, where: str) -> dict[str, str]:
    """Takes away names that repeat another tensor, and returns which did. Raises UserError where they differ."""
    found = {}
    for name, repeats in family.tied.items():
        repeats = repeats.format(at=at)
        if name not in weights.names() or repeats not in weights.names():
            continue
        if weights.shape(name) != weights.shape(repeats) or not np.array_equal(
            weights.read(name), weights.read(repeats)
        ):
            raise UserError(f"{where}: {name} differs from {repeats}; only tied output layers are supported")
        weights.drop(name)
        found[name] = repeats
    return found


def _dtype(name: str) -> Any:
    if name == "bfloat16":
        import ml_dtypes

        return ml_dtypes.bfloat16
    return name


class _Renamed:
    """Weights by the names of today: LayerNorm's gamma and beta are weight and bias, buffers are not there."""

    def __init__(self, weights: Weights) -> None:
        self.source, self._weights = weights.source, weights
        self._names = {_today(name): name for name in weights if not BUFFERS.search(name)}

    def names(self) -> Iterable[str]:
        return self._names.keys()

    def shape(self, name: str) -> Shape:
        return self._weights[self._names[name]].shape

    def dtype(self, name: str) -> Any:
        return self._weights[self._names[name]].dtype

    def read(self, name: str) -> np.ndarray:
        return self._weights.read(self._names[name])

    def drop(self, name: str) -> None:
        del self._names[name]


def _today(name: str) -> str:
    for old, new in OLD_NAMES:
        name = old.sub(new, name)
    return name
