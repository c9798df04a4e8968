"""Read and write folders of sentence-transformers.

An embedder makes one vector of a text, a cross-encoder scores a text or a pair.
"""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from bert_jax.convert.hugging_face.model_folder import activation_of, read_config, read_huggingface, write_huggingface
from bert_jax.convert.hugging_face.sentence_transformers_settings import (
    CROSS_ENCODER,
    MODEL_SETTINGS,
    MODULE_KEYS,
    NORMALIZE_KEYS,
    TRANSFORMER_SETTINGS,
    check_keys,
    model_settings_table,
    pooling_table,
    prompts_of,
    read_model_settings,
    read_pooling,
    read_transformer,
)
from bert_jax.errors import UserError
from bert_jax.files import parse_json_value, read_text
from bert_jax.model.vectors import VectorConfig
from bert_jax.pretrained import Pretrained, ReadOptions, as_encoder, lowercases
from bert_jax.terminal import note
from bert_jax.text.wordpiece import WordPieceTokenizer
from bert_jax.wording import article

MODULES, POOLING, NORMALIZE = "modules.json", "1_Pooling", "2_Normalize"
ST_PACKAGE = "sentence_transformers."
AFTER_POOLING = ("Normalize", "Dropout")  # dropout is for training


def is_sentence_transformers(folder: Path) -> bool:
    """Return whether the folder is one of sentence-transformers."""
    return os.path.lexists(folder / MODULES)


def encoder_folder(folder: Path) -> Path:
    """Return the folder with the encoder's own files, which early layouts have inside `folder`."""
    return folder / _read_modules(folder / MODULES)[0][1] if is_sentence_transformers(folder) else folder


def read_sentence_transformers(folder: Path, options: ReadOptions = ReadOptions()) -> Pretrained:
    """Return the encoder of an embedder with its vector configuration, or the classifier of a cross-encoder.

    Raises UserError for modules and settings that are not supported.
    """
    kind, model_settings = read_model_settings(folder)
    modules = _read_modules(folder / MODULES)
    inner = folder / modules[0][1]
    settings, path = read_transformer(inner, kind)
    vectors = None
    if kind == CROSS_ENCODER:
        _check_cross_encoder(folder, model_settings, modules)
    else:
        vectors = _read_vectors(folder, model_settings, modules)
    pretrained = read_huggingface(inner, options)
    if kind == CROSS_ENCODER and pretrained.kind != "sequence":
        raise UserError(
            f"{folder}: a {CROSS_ENCODER} over {article(pretrained.kind)} model; a sequence classifier is supported"
        )
    if (function := model_settings.get("activation_fn")) is not None:  # takes precedence over config.json
        activation = activation_of(function, pretrained.problem, str(folder / MODEL_SETTINGS))
        pretrained = pretrained.changed(activation=activation)
    if settings.get("do_lower_case") and not lowercases(pretrained.tokenizer):
        is_wordpiece = isinstance(pretrained.tokenizer, WordPieceTokenizer)
        way_out = ". --lowercase takes it as uncased" if is_wordpiece else ""
        raise UserError(f"{path}: do_lower_case, but the tokenizer itself is cased; that is not supported{way_out}")
    longest, limit = settings.get("max_seq_length") or pretrained.max_length, pretrained.model.max_length
    if longest > limit:
        note(f"{path}: max_seq_length is {longest}, the model reads {limit} tokens: texts end there")
        longest = limit
    if vectors is not None:
        pretrained, vectors = as_encoder(pretrained), dataclasses.replace(vectors, max_length=longest)
    return pretrained.changed(where=str(folder), max_length=longest, vectors=vectors)


def _read_vectors(folder: Path, model_settings: dict[str, Any], modules: list[tuple[str, str]]) -> VectorConfig:
    """Return the vector configuration of an embedder."""
    kinds = [kind for kind, _ in modules]
    if kinds[:2] != ["Transformer", "Pooling"] or not set(kinds[2:]) <= set(AFTER_POOLING):
        raise UserError(
            f"{folder / MODULES}: modules {', '.join(kinds)}; Transformer and Pooling are supported, "
            f"and {' and '.join(AFTER_POOLING)} after them"
        )
    for kind, inner in modules:
        path = folder / inner / "config.json"
        if kind == "Normalize" and path.is_file():
            check_keys(read_config(path), NORMALIZE_KEYS, str(path))
    pooling, include_prompt = read_pooling(folder / modules[1][1] / "config.json")
    return VectorConfig(
        pooling,
        normalize="Normalize" in kinds,
        width=model_settings.get("truncate_dim"),
        prompts=prompts_of(model_settings, folder / MODEL_SETTINGS),
        prompt=model_settings.get("default_prompt_name"),
        include_prompt=include_prompt,
        similarity=model_settings.get("similarity_fn_name") or "cosine",
    )


def _check_cross_encoder(folder: Path, model_settings: dict[str, Any], modules: list[tuple[str, str]]) -> None:
    """Raise UserError for modules and prompts of a cross-encoder that are not supported."""
    kinds = [kind for kind, _ in modules]
    if kinds != ["Transformer"]:
        raise UserError(f"{folder / MODULES}: a {CROSS_ENCODER} of {', '.join(kinds)}; one Transformer is supported")
    name = model_settings.get("default_prompt_name")
    if name is not None and prompts_of(model_settings, folder / MODEL_SETTINGS)[name]:
        raise UserError(
            f"{folder / MODEL_SETTINGS}: default_prompt_name {name!r}; prompts of a {CROSS_ENCODER} are not read"
        )


def write_sentence_transformers(pretrained: Pretrained, folder: Path) -> None:
    """Write the encoder, without its head, to `folder`, which must exist and be empty, for SentenceTransformer.

    Vectors are made by `pretrained.vectors`, or as the mean over the tokens where it is None.
    """
    if pretrained.tokenizer is None:
        raise UserError(f"{pretrained.where}: no tokenizer, which sentence-transformers needs. Put its files there")
    vectors = pretrained.vectors or VectorConfig()
    max_length = pretrained.vector_length
    encoder = as_encoder(pretrained).changed(max_length=max_length)
    write_huggingface(encoder, folder)
    modules = [("Transformer", ""), ("Pooling", POOLING)]
    if vectors.normalize:
        modules.append(("Normalize", NORMALIZE))
    entries = [
        {"idx": i, "name": str(i), "path": path, "type": f"{ST_PACKAGE}models.{kind}"}
        for i, (kind, path) in enumerate(modules)
    ]
    for _, path in modules:
        (folder / path).mkdir(exist_ok=True)
    _write_json(folder / MODULES, entries)
    _write_json(folder / POOLING / "config.json", pooling_table(vectors, encoder.model.width))
    _write_json(folder / TRANSFORMER_SETTINGS, {"max_seq_length": max_length, "do_lower_case": False})
    _write_json(folder / MODEL_SETTINGS, model_settings_table(vectors))


def _read_modules(path: Path) -> list[tuple[str, str]]:
    """Return the kind and the folder of each module. Raises UserError for a module with code of its own."""
    entries = parse_json_value(read_text(path), str(path))
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{path}: not a list of modules")
    modules = []
    for entry in entries:
        check_keys(entry, MODULE_KEYS, str(path))
        name, inner = entry.get("type"), entry.get("path")
        if not isinstance(name, str) or not isinstance(inner, str):
            raise UserError(f"{path}: a module of type {name!r} at path {inner!r}; two texts are expected")
        if not name.startswith(ST_PACKAGE):
            raise UserError(f"{path}: {name} is code of the folder's own, which is not run")
        kind = name.rpartition(".")[2]
        if inner in (".", "..") or "/" in inner or "\\" in inner:
            raise UserError(f"{path}: the path {inner!r} of {kind} is not the name of a folder beside it")
        modules.append((kind, inner))
    return modules


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
