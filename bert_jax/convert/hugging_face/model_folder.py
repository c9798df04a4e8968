"""Read and write Hugging Face folders (config.json, weights, tokenizer) without transformers. No code in them is run.

A folder may also hold a LoRA adapter, which is merged.
"""

import dataclasses
import json
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from bert_jax.config import ModelConfig
from bert_jax.convert.hugging_face.adapters import Adapter, is_adapter, merge_adapter, read_adapter
from bert_jax.convert.hugging_face.families import family_named, family_of, family_without_name
from bert_jax.convert.hugging_face.family import ConfigTable, Family
from bert_jax.convert.hugging_face.head_kinds import kind_of
from bert_jax.convert.hugging_face.hub_tensors import HubTensors, drop_tied, unwrap
from bert_jax.convert.hugging_face.torch_pickle import BFLOAT16
from bert_jax.convert.hugging_face.weight_files import has_weights, open_weights, write_weights
from bert_jax.convert.rules import MAX_NOTED_TENSORS, extra_tensors, read_with_rules, to_theirs
from bert_jax.errors import UserError, listed, shown
from bert_jax.files import read_json, read_json_if_there
from bert_jax.pretrained import (
    MULTI_LABEL,
    REGRESSION,
    SINGLE_LABEL,
    Activation,
    Pretrained,
    ReadOptions,
    check_vocabulary,
    outputs_of,
    shapes_of,
)
from bert_jax.terminal import note
from bert_jax.text import load_tokenizer
from bert_jax.text.folder_files import TOKENIZER, TOKENIZER_SETTINGS
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.text.tokenizer_classes import MODEL_CONFIG, has_tokenizer
from bert_jax.text.wordpiece import WordPieceTokenizer

T = TypeVar("T")

MAX_CONFIG_BYTES = 50_000_000
MAX_LEVELS = 32  # of objects and lists in a config.json
MAX_LABELS = 1 << 16
PROBLEMS = {
    "single_label_classification": SINGLE_LABEL,
    "multi_label_classification": MULTI_LABEL,
    "regression": REGRESSION,
}
CLASSIFIERS = ("sequence", "token")
TIED_HEADS = ("masked_lm", "pretrain")
QUANTISED = "quantised models are not read. Save it in floating point, in transformers after model.dequantize()"


def is_huggingface(folder: Path) -> bool:
    """Return whether the folder holds a Hugging Face model or an adapter: also one whose config.json is no file."""
    return os.path.lexists(folder / MODEL_CONFIG) or is_adapter(folder)


def read_huggingface(folder: Path, options: ReadOptions = ReadOptions()) -> Pretrained:
    """Return the model in a folder with the head that its weights have, merged with an adapter beside it.

    Prints notes on the decisions. Raises one UserError with all faults of the configuration, weights and vocabulary,
    unused tensors included.
    """
    adapter = read_adapter(folder) if is_adapter(folder) else None
    model_folder = _model_folder(folder, adapter, options)
    table = read_config(model_folder / MODEL_CONFIG)
    where = str(model_folder / MODEL_CONFIG)
    problems: list[str] = []
    tensors = _collect(problems, lambda: HubTensors(open_weights(model_folder)))
    tokenizer_folder = folder if has_tokenizer(folder) else model_folder  # an adapter's folder may have one
    tokenizer = _collect(problems, lambda: read_tokenizer(tokenizer_folder, lowercase=options.lowercase))
    family = _collect(problems, lambda: _family(table, tensors.names() if tensors else (), where))
    layout = None
    if family and tensors:
        layout = _collect(problems, lambda: _layout(family, table, tensors, adapter, options, where))
    model = _collect(problems, lambda: family.read(layout.table if layout else table, where)) if family else None
    if model and tokenizer:
        _collect(problems, lambda: check_vocabulary(tokenizer, model.vocab_size, str(folder)))
    pretrained = None
    if family and model and tensors and layout:
        pretrained = _collect(problems, lambda: _read_weights(folder, family, layout, model, tensors, options))
    if problems or pretrained is None or tensors is None:
        raise UserError("; ".join(problems))
    for text in tensors.notes:
        note(f"{folder}: {text}")
    max_length = min(pretrained.model.max_length, _tokenizer_length(tokenizer_folder))
    origin = pretrained.origin
    if not _cased_alike(tokenizer_folder, tokenizer, options.lowercase):
        origin = {**origin, "plain": False}
    return pretrained.changed(tokenizer=tokenizer, max_length=max_length, origin=origin)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Layout:
    """The facts about a folder that are known before its tensors are matched with the rules.

    table     config.json, as an adapter changes it
    prefix    prefix of the encoder's names
    adapter   the merged adapter, if any: the head of its base may be left over, and all tensors are float32
    changed   names of the tensors that the adapter changes
    plain     whether transformers opens the folder as it is and computes the same
    """

    table: ConfigTable
    prefix: str
    adapter: Adapter | None
    changed: set[str]
    plain: bool


def _model_folder(folder: Path, adapter: Adapter | None, options: ReadOptions) -> Path:
    """Return the folder with config.json and the weights: that of the base for an adapter alone."""
    base = options.base
    if base is not None:
        if adapter is None:
            raise UserError(f"{folder}: no adapter, so there is nothing to merge into --base {base}")
        if not (base / MODEL_CONFIG).is_file() or is_adapter(base):
            raise UserError(
                f"--base {base}: the folder of a whole model, with {MODEL_CONFIG} and no adapter, is expected"
            )
        return base
    if adapter is None or has_weights(folder):
        return folder
    raise UserError(
        f"{folder}: a LoRA adapter alone, for the base {shown(adapter.base)}. Merge them once: "
        f"`bert-jax convert {folder} TARGET --base FOLDER`, where FOLDER has that base"
    )


def _layout(
    family: Family, table: ConfigTable, tensors: HubTensors, adapter: Adapter | None, options: ReadOptions, where: str
) -> _Layout:
    if table.get("quantization_config") is not None:
        raise UserError(f"{where}: {quantised_by(table)}; {QUANTISED}")
    prefix, wrapper = unwrap(tensors, family, ignore_extra=options.ignore_extra)
    opens = table.get("local_rope_theta", 0) is not None  # transformers 5 fails on null
    if adapter is None:
        return _Layout(table=table, prefix=prefix, adapter=None, changed=set(), plain=opens and not wrapper)
    changed = merge_adapter(adapter, tensors, prefix=prefix, family_prefix=family.prefix)
    table = dict(table)
    if adapter.kind or adapter.architecture:
        table["architectures"] = [family.architecture(adapter.kind) if adapter.kind else adapter.architecture]
    if f"{prefix}{family.token_table}" in changed:
        table["vocab_size"] = tensors.shape(f"{prefix}{family.token_table}")[0]
    return _Layout(table=table, prefix=prefix, adapter=adapter, changed=changed, plain=False)


def _read_weights(
    folder: Path, family: Family, layout: _Layout, model: ModelConfig, tensors: HubTensors, options: ReadOptions
) -> Pretrained:
    """Return the model without its tokenizer. Raises UserError with all that does not fit."""
    where, prefix, table = str(folder / MODEL_CONFIG), layout.prefix, layout.table
    if model.depth > len(tensors.names()):  # checked before that many layers are built
        raise UserError(
            f"{where}: {model.depth} layers, but {tensors.source} has {len(tensors.names())} tensors in all"
        )
    tied = drop_tied(tensors, family, prefix)
    decision = kind_of(family, table, tensors.names(), prefix, where)
    kind = decision.kind
    tensors.notes += decision.notes
    if kind in TIED_HEADS and f"{prefix}{family.token_table}" in layout.changed:
        raise UserError(f"{where}: the adapter changes the token table, not the output layer tied to it; not supported")
    if layout.adapter and kind in CLASSIFIERS:
        table = _labels_of_adapter(family, table, tensors, kind, prefix, where)
    labels, problem = _labels(table, where) if kind in CLASSIFIERS else (None, SINGLE_LABEL)
    activation = _activation(table, problem, len(labels or ()), where) if kind == "sequence" else "identity"
    pooler = f"{prefix}pooler.dense.weight" in tensors.names() and "pooler" in family.heads
    rules = family.rules(model, kind, pooler=pooler, prefix=prefix)
    if pooler and not any(rule.theirs == f"{prefix}pooler.dense.weight" for rule in rules):
        for part in ("weight", "bias"):  # left from pre-training; RoBERTa's classifiers don't use it
            tensors.drop(f"{prefix}pooler.dense.{part}")
    left_out = extra_tensors(rules, tensors) if options.ignore_extra else []
    if layout.adapter:
        left_out += [name for name in family.head_tensors(prefix) if name in extra_tensors(rules, tensors)]
    for name in {*decision.leftover, *left_out}:
        tensors.drop(name)
    if left_out:
        tensors.notes.append(f"left out: {listed(left_out, MAX_NOTED_TENSORS)}")
    has_pooler = any(name.startswith("encoder/pooler") for rule in rules for name in rule.ours)
    shapes = shapes_of(kind, model, outputs=outputs_of(kind, labels), pooler=has_pooler)
    source = str(tensors.source)
    if integers := tensors.integer_tensors():
        raise UserError(f"{source}: {integers[0]} is of whole numbers; {QUANTISED}")
    params = read_with_rules(rules, tensors, shapes, vocab_size=model.vocab_size, where=source)
    dtypes = {rule.ours[0]: "float32" if layout.adapter else str(tensors.dtype(rule.theirs)) for rule in rules}
    dtype = dtypes[rules[0].ours[0]]
    origin = {
        "format": "hf",
        "family": family.name,
        "config": table,
        "prefix": family.prefix if layout.adapter and kind != "encoder" else prefix,
        "tied": tied,
        "dtype": dtype,
        "other_dtypes": {name: other for name, other in dtypes.items() if other != dtype},
        **({} if layout.plain else {"plain": False}),
    }
    return Pretrained(
        where=str(folder),
        kind=kind,
        model=model,
        tokenizer=None,
        params=params,
        labels=labels,
        problem=problem,
        origin=origin,
        activation=activation,
    )


def quantised_by(table: ConfigTable) -> str:
    """Return the quantisation method and its bits as a phrase, from config.json."""
    settings = table["quantization_config"] if isinstance(table["quantization_config"], dict) else {}
    flags = {key.removeprefix("_") for key, value in settings.items() if value is True}
    flag_bits = next((bits for bits, key in ((4, "load_in_4bit"), (8, "load_in_8bit")) if key in flags), None)
    method = settings.get("quant_method") or ("bitsandbytes" if flag_bits else None)
    bits = settings.get("bits") or flag_bits
    phrase = f"quantised by {shown(method)}" if method else "quantised by a method that it does not name"
    return f"{phrase}, to {shown(bits)} bits" if bits else phrase


def _labels_of_adapter(
    family: Family, table: ConfigTable, tensors: HubTensors, kind: str, prefix: str, where: str
) -> ConfigTable:
    """Return config.json with as many labels as the adapter's head has outputs. An adapter holds no names of labels."""
    head = next((rule.theirs for rule in family.heads[kind](prefix) if rule.ours == ("classifier/kernel",)), "")
    if head not in tensors.names() or len(_labels(table, where)[0]) == (rows := tensors.shape(head)[0]):
        return table
    tensors.notes.append(f"the base has other labels than the adapter's {rows} outputs: they are LABEL_0 and so on")
    rest = {key: value for key, value in table.items() if key not in ("label2id", "num_labels")}
    return {**rest, "id2label": {str(i): f"LABEL_{i}" for i in range(min(rows, MAX_LABELS))}}


def write_huggingface(pretrained: Pretrained, folder: Path) -> None:
    """Write config.json, model.safetensors and the tokenizer to `folder`, which must exist and be empty."""
    origin = pretrained.origin if pretrained.origin.get("format") == "hf" else {}
    family = family_named(origin["family"], "") if origin else family_of(pretrained.model)
    prefix = origin.get("prefix", "" if pretrained.kind == "encoder" else family.prefix)
    rules = family.rules(pretrained.model, pretrained.kind, pooler=pretrained.pooler, prefix=prefix)
    dtype, other_dtypes = origin.get("dtype", "float32"), origin.get("other_dtypes", {})
    tensors = {}
    for rule in rules:
        array = to_theirs(rule, pretrained.params, pretrained.model.vocab_size)
        tensors[rule.theirs] = array.astype(_dtype(other_dtypes.get(rule.ours[0], dtype)), copy=False)
    for name, original in origin.get("tied", {}).items():
        tensors[name] = tensors[original]
    table = {**origin.get("config", {}), **hf_config_table(pretrained, family)}
    (folder / MODEL_CONFIG).write_text(json.dumps(table, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    write_weights(folder, tensors)
    if pretrained.tokenizer is not None:
        pretrained.tokenizer.save(folder)
        _write_length(folder / TOKENIZER_SETTINGS, pretrained.max_length)


def _write_length(path: Path, max_length: int) -> None:
    """Set the length that texts are cut to in the tokenizer's settings, so that pipelines cut as our predictions do."""
    settings = {**read_json(path), "model_max_length": max_length}
    path.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def hf_config_table(pretrained: Pretrained, family: Family) -> ConfigTable:
    """Return the config.json of a model."""
    dtype = pretrained.origin.get("dtype", "float32")
    table = {
        "architectures": [family.architecture(pretrained.kind)],
        **family.write(pretrained.model),
        "dtype": dtype,
        "torch_dtype": dtype,
    }
    # Where positions are counted from pad_token_id, the family wrote it.
    if pretrained.tokenizer is not None and not pretrained.model.first_position:
        table["pad_token_id"] = pretrained.tokenizer.special.pad
    labels = ("LABEL_0",) if pretrained.kind == "sequence" and pretrained.labels is None else pretrained.labels
    if labels is not None:
        table["id2label"] = {str(i): label for i, label in enumerate(labels)}
        table["label2id"] = {label: i for i, label in enumerate(labels)}
    implied = pretrained.activation == "sigmoid" or (pretrained.origin and pretrained.problem == SINGLE_LABEL)
    if pretrained.kind == "sequence" and not implied:
        table["problem_type"] = next(theirs for theirs, ours in PROBLEMS.items() if ours == pretrained.problem)
    return table


def read_config(path: Path) -> ConfigTable:
    """Return the JSON object in a configuration file. Raises UserError where it is too large or too deep."""
    if path.is_file() and path.stat().st_size > MAX_CONFIG_BYTES:
        raise UserError(f"{path}: larger than {MAX_CONFIG_BYTES} bytes; not a configuration")
    table = read_json(path)
    if _deeper_than(MAX_LEVELS, table):
        raise UserError(f"{path}: more than {MAX_LEVELS} objects and lists within each other; not a configuration")
    try:
        json.dumps(table, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:  # a lone surrogate could not be written again
        raise UserError(f"{path}: not JSON: {error}") from None
    return table


def _deeper_than(levels: int, value: Any) -> bool:
    level = [value]
    for _ in range(levels):
        nested = (node.values() if isinstance(node, dict) else node for node in level if isinstance(node, dict | list))
        level = [child for children in nested for child in children]
    return bool(level)


def read_tokenizer(folder: Path, *, lowercase: bool | None = None) -> Tokenizer | None:
    """Return the tokenizer beside the weights, or None where the folder has no file of one."""
    return load_tokenizer(folder, lowercase=lowercase) if has_tokenizer(folder) else None


def _tokenizer_length(folder: Path) -> int:
    """Return the number of tokens that the tokenizer cuts a text to, or a very large number where it has none."""
    length = read_json_if_there(folder / TOKENIZER_SETTINGS).get("model_max_length")
    return length if isinstance(length, int) and length > 2 else 1 << 62


def _cased_alike(folder: Path, tokenizer: Tokenizer | None, lowercase: bool | None) -> bool:
    """Return whether transformers lower-cases as `tokenizer` does: by the files, and always where they are silent."""
    if lowercase is not None:  # the user's choice, which the files need not have
        return False
    if not isinstance(tokenizer, WordPieceTokenizer) or os.path.lexists(folder / TOKENIZER):
        return True
    return tokenizer.rules.lowercase or read_json_if_there(folder / TOKENIZER_SETTINGS).get("do_lower_case") is not None


def _collect(problems: list[str], step: Callable[[], T]) -> T | None:
    """Return the result of a step, or add the UserError that it raises to `problems` and return None."""
    try:
        return step()
    except UserError as error:
        problems.append(str(error))
        return None


def _family(table: ConfigTable, tensors: Collection[str], where: str) -> Family:
    model_type = table.get("model_type")
    early = family_without_name(table.get("architectures"), tensors) if model_type is None else None
    return early or family_named(model_type, where)


def _labels(table: ConfigTable, where: str) -> tuple[tuple[str, ...], str]:
    """Return the labels in the order of the outputs, and the kind of problem."""
    by_id = table.get("id2label")
    if by_id is None:
        count = table.get("num_labels", 2)
        if type(count) is not int or not 1 <= count <= MAX_LABELS:
            raise UserError(f"{where}: num_labels is {shown(count)}; a whole number from 1 to {MAX_LABELS} is expected")
        by_id = {str(i): f"LABEL_{i}" for i in range(count)}
    try:
        labels = tuple(str(by_id[str(i)]) for i in range(len(by_id)))
    except (KeyError, TypeError):
        labels = ()
    if not labels:
        raise UserError(f"{where}: id2label is {shown(by_id)}; ids from 0 on, each once, are expected")
    if len(set(labels)) < len(labels):
        twice = next(label for i, label in enumerate(labels) if label in labels[:i])
        ids = " and ".join(str(i) for i, label in enumerate(labels) if label == twice)
        raise UserError(f"{where}: id2label names {ids} alike, {shown(twice)}. Give each class a name of its own there")
    problem = table.get("problem_type")
    if problem is not None and (not isinstance(problem, str) or problem not in PROBLEMS):
        raise UserError(f"{where}: problem_type {shown(problem)} is not among {', '.join(PROBLEMS)}")
    return labels, PROBLEMS[problem] if problem else REGRESSION if len(labels) == 1 else SINGLE_LABEL


def _activation(table: ConfigTable, problem: str, outputs: int, where: str) -> Activation:
    """Return the activation of a regression's scores, as transformers' pipeline and CrossEncoder choose it.

    It is named by a CrossEncoder's settings. Else it is the sigmoid for one output without a problem_type.
    """
    settings = table.get("sentence_transformers")
    function = settings.get("activation_fn") if isinstance(settings, dict) else None
    function = function or table.get("sbert_ce_default_activation_function")
    if function is None:
        return "sigmoid" if outputs == 1 and table.get("problem_type") is None else "identity"
    return activation_of(function, problem, where)


def activation_of(function: Any, problem: str, where: str) -> Activation:
    """Return the activation for the `activation_fn` of a CrossEncoder.

    It matters for a regression only: the problem decides whether classes have a softmax or a sigmoid each. Raises
    UserError for a function that is not supported.
    """
    name = str(function).rpartition(".")[2].lower()
    if name not in (("identity",) if problem == SINGLE_LABEL else ("identity", "sigmoid")):
        supported = (
            "Identity for a classifier of one class a text" if problem == SINGLE_LABEL else "Identity or Sigmoid"
        )
        raise UserError(f"{where}: activation_fn {shown(function)} is not read; {supported} is")
    return "sigmoid" if name == "sigmoid" and problem == REGRESSION else "identity"


def _dtype(name: str) -> Any:
    return BFLOAT16 if name == "bfloat16" else np.dtype(name)
