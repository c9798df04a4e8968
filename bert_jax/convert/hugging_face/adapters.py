"""Merge LoRA adapters, as peft saves them, into the weights that they were trained on. Without torch or peft.

The weight W of a dense layer becomes W + scale * B A (Hu et al. 2021, 4.1). DoRA then sets the length of each output's
row (Liu et al. 2024, 4.1). All other tensors of an adapter replace a tensor: heads, biases, a grown token table.
"""

import dataclasses
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bert_jax.convert.hugging_face.hub_tensors import HubTensors
from bert_jax.convert.hugging_face.weight_files import Weights, open_adapter_weights
from bert_jax.errors import UserError, listed, shown
from bert_jax.files import SETTINGS_BYTES, read_json
from bert_jax.wording import counted

ADAPTER_CONFIG = "adapter_config.json"
PEFT_PREFIX = "base_model.model."
# peft's task type: our kind of model
ADAPTER_KINDS = {"SEQ_CLS": "sequence", "TOKEN_CLS": "token", "QUESTION_ANS": "span", "FEATURE_EXTRACTION": "encoder"}
PLAIN_INITS = (True, False, None, "gaussian", "orthogonal", "eva")  # the others change the base's weights, too
# Keys of adapter_config.json without effect once the adapter is trained, or whose effect the tensors show.
UNUSED_KEYS = {
    *("auto_mapping", "base_model_name_or_path", "bias", "corda_config", "ensure_weight_tying", "eva_config"),
    *("exclude_modules", "fan_in_fan_out", "inference_mode", "layers_pattern", "layers_to_transform", "loftq_config"),
    *("lora_dropout", "lora_ga_config", "megatron_core", "modules_to_save", "peft_type", "peft_version"),
    *("qalora_group_size", "revision", "runtime_config", "target_modules", "task_type", "lora_bias"),
}
OFF: tuple[Any, ...] = (None, False, "", [], {})  # values of a setting that is not in use
USED_KEYS = {"r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "init_lora_weights"}
_PART = re.compile(
    r"(?P<module>.+)\.(?P<part>lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector)"
    r"(?:\.default)?(?:\.(?P<leaf>weight|bias))?"
)
_WRAPPED = re.compile(r"\.(base_layer|modules_to_save(\.default)?)(?=\.)")
_PATTERN = re.compile(r"\^?[\w.]+")  # pattern of module names; any other regular expression could run for ever
MAX_PATTERNS = 4096
_OTHER_ADAPTERS = re.compile(r"lora_|trainable_tokens|ia3_|oft_|vera_")
LINEAR = ("lora_A.weight", "lora_B.weight")
B_BIAS, MAGNITUDE = "lora_B.bias", "lora_magnitude_vector.weight"
ORIGINAL = ".original_module."  # a module of the base that modules_to_save replaced


@dataclasses.dataclass(frozen=True)
class Adapter:
    """The settings of an adapter.

    base   the name of the model that it was trained on
    table  adapter_config.json
    """

    folder: Path
    base: str
    table: Mapping[str, Any]

    @property
    def kind(self) -> str | None:
        """The kind of model with the adapter; None where it is the kind of the base."""
        return ADAPTER_KINDS.get(str(self.table.get("task_type")))

    @property
    def architecture(self) -> str | None:
        """The class of the trained model, where the adapter names one."""
        mapping = self.table.get("auto_mapping")
        name = mapping.get("base_model_class") if isinstance(mapping, dict) else None
        return name if isinstance(name, str) else None

    def scale(self, module: str, rank: int) -> float:
        """Return the factor of B A. Raises UserError where the matrices have another rank than the settings say."""
        configured = self._number("rank_pattern", "r", 8, module)
        if configured != rank:
            raise UserError(
                f"{self.folder / ADAPTER_CONFIG}: rank {configured:g} for {module}, its matrices have {rank}"
            )
        alpha = self._number("alpha_pattern", "lora_alpha", 8, module)
        return alpha / (math.sqrt(rank) if self.table.get("use_rslora") else rank)

    def _number(self, patterns: str, key: str, default: int, module: str) -> float:
        value = self.table.get(key, default)
        for pattern, module_value in (self.table.get(patterns) or {}).items():
            if re.fullmatch(rf"(.*\.)?({pattern})", module):
                value = module_value
                break
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e9:
            raise UserError(f"{self.folder / ADAPTER_CONFIG}: {key} is {shown(value)}, a number is expected")
        return float(value)


def is_adapter(folder: Path) -> bool:
    """Return whether the folder holds an adapter."""
    return (folder / ADAPTER_CONFIG).is_file()


def read_adapter(folder: Path) -> Adapter:
    """Return the settings of the adapter in `folder`. Raises UserError that names all that is not plain LoRA."""
    path = folder / ADAPTER_CONFIG
    table = read_json(path, limit=SETTINGS_BYTES)
    kind = table.get("peft_type")
    if kind != "LORA":
        named = f"an adapter of type {shown(kind)}" if kind else "an adapter that names no peft_type"
        raise UserError(
            f"{path}: {named}; only LoRA is merged. Merge it in the library that made it, and save the whole model"
        )
    unsupported = {
        key: value for key, value in table.items() if key not in UNUSED_KEYS | USED_KEYS and value not in OFF
    }
    if table.get("init_lora_weights", True) not in PLAIN_INITS:
        unsupported["init_lora_weights"] = table["init_lora_weights"]
    if unsupported:
        settings = listed([f"{key[:80]} {shown(value)}" for key, value in unsupported.items()])
        raise UserError(
            f"{path}: not plain LoRA: {settings}. Merge it in peft (merge_and_unload), and save the whole model"
        )
    for key in ("rank_pattern", "alpha_pattern"):
        patterns = table.get(key) or {}
        if not isinstance(patterns, dict) or len(patterns) > MAX_PATTERNS or not all(map(_PATTERN.fullmatch, patterns)):
            raise UserError(f"{path}: {key} is {shown(patterns)}; names of modules are expected")
    base = table.get("base_model_name_or_path")
    return Adapter(folder, base[:200] if isinstance(base, str) and base else "one that it does not name", table)


def merge_adapter(adapter: Adapter, tensors: HubTensors, *, prefix: str, family_prefix: str) -> set[str]:
    """Make `tensors` read as merged with the adapter. Returns the names of the changed tensors.

    `prefix` begins the names of the encoder in `tensors`, `family_prefix` those in the family's models with a head.
    Raises UserError for a tensor of the adapter that fits nowhere.
    """
    weights = open_adapter_weights(adapter.folder)
    updates: dict[str, dict[str, str]] = {}
    replaced: dict[str, str] = {}
    unknown = []
    for name in weights:
        inner = name.removeprefix(PEFT_PREFIX)
        if match := _PART.fullmatch(inner):
            updates.setdefault(match["module"], {})[f"{match['part']}.{match['leaf'] or 'weight'}"] = name
        elif inner == name or _OTHER_ADAPTERS.search(inner):
            unknown.append(name)
        elif ORIGINAL not in inner:
            replaced.setdefault(_WRAPPED.sub("", inner), name)
    if unknown:
        raise UserError(f"{weights.source}: tensors that are no part of LoRA: {listed(unknown)}. Merge it in peft")
    has_head = any(name.startswith(family_prefix) for name in (*updates, *replaced))

    def base_name(name: str) -> str:
        in_encoder = name.startswith(family_prefix) or not (has_head or name in tensors.names())
        return prefix + name.removeprefix(family_prefix) if in_encoder else name

    for name, theirs in replaced.items():
        tensors.replace(base_name(name), weights, theirs)
    changed = set(map(base_name, replaced))
    for module, parts in updates.items():
        changed |= _update(adapter, weights, tensors, module, base_name(module), parts)
    tensors.notes.append(
        f"the adapter is merged: {counted(len(updates), 'weight')} changed, {counted(len(replaced), 'tensor')} replaced"
    )
    return changed


def _update(
    adapter: Adapter, weights: Weights, tensors: HubTensors, module: str, base_module: str, parts: Mapping[str, str]
) -> set[str]:
    """Change the weight of one module, and its bias where B has one. Returns their names in `tensors`.

    `parts` maps the parts of the update, such as lora_A.weight, to their names in the adapter's file.
    """
    where = f"{weights.source}: {module}"
    name, bias = f"{base_module}.weight", f"{base_module}.bias"
    table = "lora_embedding_A.weight" in parts
    a, b = ("lora_embedding_A.weight", "lora_embedding_B.weight") if table else LINEAR
    extra = parts.keys() - {a, b, B_BIAS, MAGNITUDE}
    if extra or a not in parts or b not in parts:
        raise UserError(f"{where} has {listed(sorted(parts))}; one matrix A and one B are expected")
    if name not in tensors.names():
        raise UserError(
            f"{where}: the base has no {name}. Is it the base that the adapter names, {shown(adapter.base)}?"
        )
    (rank, columns), (rows, inner) = (_matrix_shape(weights, parts[part]) for part in (a, b))
    expected = (columns, rows) if table else (rows, columns)
    if inner != rank or tensors.shape(name) != expected:
        raise UserError(
            f"{where}: B {(rows, inner)} by A {(rank, columns)} does not fit {name} {tensors.shape(name)}. "
            f"The adapter names {shown(adapter.base)} as its base"
        )
    if bool(adapter.table.get("use_dora")) != (MAGNITUDE in parts):
        raise UserError(f"{where}: use_dora and a magnitude vector belong together, but one of them is missing")
    scale = adapter.scale(module, rank)

    def read(part: str) -> np.ndarray:
        return np.asarray(weights.read(parts[part]), np.float32)

    def merged(weight: np.ndarray) -> np.ndarray:
        weight = (weight.T if table else weight) + np.float32(scale) * (read(b) @ read(a))
        if MAGNITUDE in parts:
            length = np.linalg.norm(weight, axis=1, keepdims=True)
            weight = weight * (read(MAGNITUDE).reshape(-1, 1) / length)
        return weight.T if table else weight

    if MAGNITUDE in parts and weights[parts[MAGNITUDE]].shape not in ((rows,), (rows, 1), (1, rows)):
        raise UserError(f"{where}: a magnitude of shape {weights[parts[MAGNITUDE]].shape} for {rows} rows")
    tensors.change(name, merged)
    if B_BIAS not in parts:
        return {name}
    if MAGNITUDE in parts or bias not in tensors.names() or weights[parts[B_BIAS]].shape != tensors.shape(bias):
        raise UserError(f"{where}: a bias of B that fits nowhere in the base. Merge it in peft")
    tensors.change(bias, lambda array: array + np.float32(scale) * read(B_BIAS))
    return {name, bias}


def _matrix_shape(weights: Weights, name: str) -> tuple[int, int]:
    shape = weights[name].shape
    if len(shape) != 2:
        raise UserError(f"{weights.source}: {name} has the shape {shape}, a matrix is expected")
    return shape[0], shape[1]
