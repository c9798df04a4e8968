"""Folders of sentence-transformers: an embedder makes one vector of a text, a cross-encoder scores a text or a pair."""

import dataclasses
import json
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
    return (folder / MODULES).is_file()


def encoder_folder(folder: Path) -> Path:
    """Return where the encoder's own files lie: in the folder, or in early layouts in one inside it."""
    return folder / _read_modules(folder / MODULES)[0][1] if is_sentence_transformers(folder) else folder


def read_sentence_transformers(folder: Path, options: ReadOptions = ReadOptions()) -> Pretrained:
    """Return the encoder of an embedder, with how its vectors are made, or the classifier of a cross-encoder.

    Raises UserError for modules and settings that are not computed here.
    """
    kind, about = read_model_settings(folder)
    modules = _read_modules(folder / MODULES)
    inner = folder / modules[0][1]
    settings, path = read_transformer(inner, kind)
    vectors = None
    if kind == CROSS_ENCODER:
        _check_cross_encoder(folder, about, modules)
    else:
        vectors = _read_vectors(folder, about, modules)
    model = read_huggingface(inner, options)
    if kind == CROSS_ENCODER and model.kind != "sequence":
        raise UserError(
            f"{folder}: a {CROSS_ENCODER} over {article(model.kind)} model; a sequence classifier is supported"
        )
    if about.get("activation_fn") is not None:  # goes before what config.json names
        model = model.changed(
            activation=activation_of(about["activation_fn"], model.problem, str(folder / MODEL_SETTINGS))
        )
    if settings.get("do_lower_case") and not lowercases(model.tokenizer):
        way = ". --lowercase takes it as uncased" if isinstance(model.tokenizer, WordPieceTokenizer) else ""
        raise UserError(f"{path}: do_lower_case, and the tokenizer itself does not; that is not supported{way}")
    longest = settings.get("max_seq_length") or model.max_length
    if longest > model.model.max_length:
        note(f"{path}: max_seq_length is {longest}, the model reads {model.model.max_length} tokens: texts end there")
        longest = model.model.max_length
    if vectors is not None:
        model, vectors = as_encoder(model), dataclasses.replace(vectors, max_length=longest)
    return model.changed(where=str(folder), max_length=longest, vectors=vectors)


def _read_vectors(folder: Path, about: dict[str, Any], modules: list[tuple[str, str]]) -> VectorConfig:
    """Return how an embedder makes its vectors."""
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
        width=about.get("truncate_dim"),
        prompts=prompts_of(about, folder / MODEL_SETTINGS),
        prompt=about.get("default_prompt_name"),
        include_prompt=include_prompt,
        similarity=about.get("similarity_fn_name") or "cosine",
    )


def _check_cross_encoder(folder: Path, about: dict[str, Any], modules: list[tuple[str, str]]) -> None:
    """Raise UserError for modules of a cross-encoder, and prompts, that are not computed here."""
    kinds = [kind for kind, _ in modules]
    if kinds != ["Transformer"]:
        raise UserError(f"{folder / MODULES}: a {CROSS_ENCODER} of {', '.join(kinds)}; one Transformer is supported")
    name = about.get("default_prompt_name")
    if name is not None and prompts_of(about, folder / MODEL_SETTINGS)[name]:
        raise UserError(
            f"{folder / MODEL_SETTINGS}: default_prompt_name {name!r}; prompts of a {CROSS_ENCODER} are not read"
        )


def write_sentence_transformers(pretrained: Pretrained, folder: Path) -> None:
    """Leave a folder that SentenceTransformer opens, in `folder`, which is there and empty; a head is left out.

    Vectors are made as `pretrained.vectors` says, else they are the mean over the tokens.
    """
    if pretrained.tokenizer is None:
        raise UserError(f"{pretrained.where}: no tokenizer, and such a folder needs one. Put its files there")
    vectors = pretrained.vectors or VectorConfig()
    max_length = pretrained.vector_length
    encoder = as_encoder(pretrained).changed(max_length=max_length)
    write_huggingface(encoder, folder)
    modules = [("Transformer", ""), ("Pooling", POOLING)] + [("Normalize", NORMALIZE)] * vectors.normalize
    entries = [
        {"idx": i, "name": str(i), "path": path, "type": f"{ST_PACKAGE}models.{kind}"}
        for i, (kind, path) in enumerate(modules)
    ]
    for _, path in modules:
        (folder / path).mkdir(exist_ok=True)
    _write(folder / MODULES, entries)
    _write(folder / POOLING / "config.json", pooling_table(vectors, encoder.model.width))
    _write(folder / TRANSFORMER_SETTINGS, {"max_seq_length": max_length, "do_lower_case": False})
    _write(folder / MODEL_SETTINGS, model_settings_table(vectors))


def _read_modules(path: Path) -> list[tuple[str, str]]:
    """Return the kind and the folder of each module. Raises UserError for one that is somebody's own code."""
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


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
