"""Read and write the settings files of sentence-transformers, versions 1 to 6.

Each key is used, known to change no number, or refused by name.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bert_jax.convert.hugging_face.family import ConfigTable
from bert_jax.convert.hugging_face.model_folder import read_config
from bert_jax.errors import UserError
from bert_jax.model.vectors import SIMILARITIES, VectorConfig
from bert_jax.terminal import note

MODEL_SETTINGS, TRANSFORMER_SETTINGS = "config_sentence_transformers.json", "sentence_bert_config.json"
EARLY_FAMILIES = ("roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
EARLY_NAMES = tuple(f"sentence_{family}_config.json" for family in EARLY_FAMILIES)  # of TRANSFORMER_SETTINGS
POOLING_FLAGS = {  # keys of older pooling settings, in the order in which several poolings are concatenated
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
DEFAULT_PROMPTS = ("query", "document")  # prompts of every embedder, empty where its files lack them
EMBEDDER, CROSS_ENCODER = "SentenceTransformer", "CrossEncoder"

Accepts = Callable[[Any], bool]


def _anything(value: Any) -> bool:
    return True


def _empty(value: Any) -> bool:
    return value in (None, {}, [], "")


def _flag(value: Any) -> bool:
    return value is None or type(value) is bool


def _one_of(*values: Any) -> Accepts:
    return lambda value: any(value == choice and type(value) is type(choice) for choice in values)


def _names(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(name, str) for name in value))


def _harmless_arguments(value: Any) -> bool:
    """Return whether arguments for Hugging Face's loaders change nothing but the precision of the vectors."""
    harmless = {"trust_remote_code", "torch_dtype", "dtype", "attn_implementation", "add_pooling_layer", "use_cache"}
    return value is None or (isinstance(value, dict) and value.keys() <= harmless)


def _reads_text_alone(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"text"}


ABOUT_KEYS: Mapping[str, Accepts] = {
    "__version__": _anything,
    "requirements": _anything,  # versions of packages
    "model_type": _one_of(EMBEDDER, CROSS_ENCODER),
    "prompts": lambda value: value is None or isinstance(value, dict),
    "default_prompt_name": lambda value: value is None or isinstance(value, str),
    "similarity_fn_name": _one_of(None, *SIMILARITIES),
    "truncate_dim": lambda value: value is None or (type(value) is int and value > 0),
}
CROSS_ENCODER_KEYS: Mapping[str, Accepts] = {
    **{key: ABOUT_KEYS[key] for key in ("__version__", "requirements", "model_type", "prompts", "default_prompt_name")},
    "activation_fn": lambda value: value is None or isinstance(value, str),
    "keep_in_fp32_modules": _anything,  # all is float32 here
}
TRANSFORMER_KEYS: Mapping[str, Accepts] = {
    "max_seq_length": lambda value: value is None or (type(value) is int and value > 2),
    "do_lower_case": _flag,
    "transformer_task": _anything,
    "modality_config": _reads_text_alone,
    "module_output_name": _anything,
    "unpad_inputs": _flag,
    **dict.fromkeys(("processing_kwargs", "query_length", "document_length", "query_expansion"), _empty),
    **dict.fromkeys(("model_args", "model_kwargs", "config_args", "config_kwargs"), _harmless_arguments),
    **dict.fromkeys(("tokenizer_args", "processor_kwargs"), _harmless_arguments),
}
POOLING_KEYS: Mapping[str, Accepts] = {
    **dict.fromkeys(("word_embedding_dimension", "embedding_dimension"), _anything),  # the model's width, once more
    **dict.fromkeys(POOLING_FLAGS, _flag),
    "pooling_mode": _names,
    "include_prompt": _flag,
}
NORMALIZE_KEYS: Mapping[str, Accepts] = dict.fromkeys(
    ("module_input_name", "module_output_name"), _one_of("sentence_embedding", None)
)
MODULE_KEYS: Mapping[str, Accepts] = {
    **dict.fromkeys(("idx", "name", "path", "type"), _anything),
    "kwargs": _empty,  # names of arguments that are passed on to the module
}
# The settings of the module Transformer in each kind of model: task, output of the model, output of the module.
TRANSFORMER_TASKS = {
    EMBEDDER: ("feature-extraction", "last_hidden_state", "token_embeddings"),
    CROSS_ENCODER: ("sequence-classification", "logits", "scores"),
}


def check_keys(table: ConfigTable, checks: Mapping[str, Accepts], where: str) -> None:
    """Raise UserError for a key without a check, or one whose value is not supported."""
    if unknown := sorted(table.keys() - checks.keys()):
        raise UserError(
            f"{where}: unknown {', '.join(map(repr, unknown))}; known are {', '.join(checks)}. "
            "Take out what changes no vector"
        )
    for key, value in table.items():
        if not checks[key](value):
            raise UserError(f"{where}: {key} is {value!r}, which is not supported")


def read_model_settings(folder: Path) -> tuple[str, ConfigTable]:
    """Return the kind of model in a folder and its other settings, checked."""
    path = folder / MODEL_SETTINGS
    table = read_config(path) if path.is_file() else {}
    kind = table.get("model_type", EMBEDDER)
    if not isinstance(kind, str) or kind not in TRANSFORMER_TASKS:
        raise UserError(f"{path}: model_type is {kind!r}; {' and '.join(TRANSFORMER_TASKS)} are read")
    check_keys(table, ABOUT_KEYS if kind == EMBEDDER else CROSS_ENCODER_KEYS, str(path))
    return kind, table


def prompts_of(model_settings: ConfigTable, path: Path) -> dict[str, str]:
    """Return the prompts by name. Raises UserError for a prompt that is no text, and for an unknown default prompt."""
    prompts = dict.fromkeys(DEFAULT_PROMPTS, "")
    for name, text in (model_settings.get("prompts") or {}).items():
        if not isinstance(text, str | None):
            raise UserError(f"{path}: the prompt {name!r} is {text!r}, a text is expected")
        prompts[name] = text or ""
    name = model_settings.get("default_prompt_name")
    if name is not None and name not in prompts:
        raise UserError(f"{path}: default_prompt_name {name!r} is not among its prompts")
    return prompts


def read_transformer(folder: Path, kind: str) -> tuple[ConfigTable, Path]:
    """Return the settings of the module Transformer in the encoder's folder, checked, and their file."""
    paths = [folder / name for name in (TRANSFORMER_SETTINGS, *EARLY_NAMES) if (folder / name).is_file()]
    table, path = next(
        ((table, path) for path in paths if (table := read_config(path))), ({}, folder / TRANSFORMER_SETTINGS)
    )
    check_keys(table, TRANSFORMER_KEYS, str(path))
    task, output, name = TRANSFORMER_TASKS[kind]
    expected = {"transformer_task": task, "module_output_name": name}
    if wrong := next((key for key, value in expected.items() if table.get(key, value) != value), None):
        raise UserError(f"{path}: {wrong} is {table[wrong]!r}; {expected[wrong]!r} is supported for a {kind}")
    method = {"method": "forward", "method_output_name": output}
    if "modality_config" in table and table["modality_config"]["text"] != method:
        raise UserError(f"{path}: text is read by {table['modality_config']['text']!r}; {method!r} is supported")
    return table, path


def read_pooling(path: Path) -> tuple[tuple[str, ...], bool]:
    """Return the poolings, in order, and whether the tokens of a prompt are pooled."""
    table = read_config(path)
    check_keys(table, POOLING_KEYS, str(path))
    mode = table.get("pooling_mode", [name for flag, name in POOLING_FLAGS.items() if table.get(flag)])
    names = (mode,) if isinstance(mode, str) else tuple(mode)
    if not names:
        note(f"{path} names no pooling; the mean over the tokens is taken, as in sentence-transformers")
        names = ("mean",)
    try:
        return VectorConfig(names).pooling, table.get("include_prompt") is not False
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def pooling_table(vectors: VectorConfig, width: int) -> ConfigTable:
    """Return the settings of a pooling: in the form that all versions read, else in that of version 6."""
    in_order = [name for name in POOLING_FLAGS.values() if name in vectors.pooling]
    if tuple(in_order) == vectors.pooling:
        table: ConfigTable = {"word_embedding_dimension": width}
        table |= {flag: name in vectors.pooling for flag, name in POOLING_FLAGS.items()}
    else:
        table = {"embedding_dimension": width, "pooling_mode": list(vectors.pooling)}
    return {**table, "include_prompt": vectors.include_prompt}


def model_settings_table(vectors: VectorConfig) -> ConfigTable:
    """Return config_sentence_transformers.json of an embedder."""
    table = {
        "prompts": vectors.prompts,
        "default_prompt_name": vectors.prompt,
        "similarity_fn_name": vectors.similarity,
    }
    return table if vectors.width is None else {**table, "truncate_dim": vectors.width}
