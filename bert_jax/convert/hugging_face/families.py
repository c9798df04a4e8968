"""The families of Hugging Face that are read and written, and the mapping of config.json to ModelConfig and back."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from bert_jax.config import ModelConfig
from bert_jax.convert.hugging_face import tensor_names
from bert_jax.convert.hugging_face.family import ARCHITECTURES, OTHER_ARCHITECTURES, ConfigTable, Family
from bert_jax.errors import UserError, shown

NOT_AN_ENCODER = {"is_decoder": False, "add_cross_attention": False}
BERT_FIELDS = {
    "vocab_size": ("vocab_size", 30522),
    "width": ("hidden_size", 768),
    "depth": ("num_hidden_layers", 12),
    "heads": ("num_attention_heads", 12),
    "mlp_width": ("intermediate_size", 3072),
    "max_length": ("max_position_embeddings", 512),
    "segments": ("type_vocab_size", 2),
    "dropout": ("hidden_dropout_prob", 0.1),
    "norm_epsilon": ("layer_norm_eps", 1e-12),
    "initializer_range": ("initializer_range", 0.02),
    "activation": ("hidden_act", "gelu"),
}


def _roberta_positions(fields: ConfigTable, table: ConfigTable) -> None:
    """Count positions from the id of padding plus one, as Hugging Face's create_position_ids_from_input_ids does."""
    pad = table.get("pad_token_id", 1)
    if type(pad) is not int or not 0 <= pad < fields["max_length"]:
        raise UserError(
            f"pad_token_id is {shown(pad)}; positions are counted from it, so a whole number from 0 and below "
            "max_position_embeddings is expected"
        )
    fields["first_position"] = pad + 1
    fields["max_length"] -= fields["first_position"]


def _write_roberta(config: ModelConfig, table: ConfigTable) -> None:
    table["max_position_embeddings"] = config.position_rows
    table["pad_token_id"] = config.first_position - 1


def _electra_table_width(fields: ConfigTable, table: ConfigTable) -> None:
    width = table.get("embedding_size", 128)
    if type(width) is not int:
        raise UserError(f"embedding_size is {shown(width)}, int is expected")
    fields["embedding_width"] = None if width == fields["width"] else width


def _write_electra(config: ModelConfig, table: ConfigTable) -> None:
    table["embedding_size"] = config.table_width


def _modernbert_attention(fields: ConfigTable, table: ConfigTable) -> None:
    every = table.get("global_attn_every_n_layers", 3)
    window = table.get("local_attention", 128)
    pooling = table.get("classifier_pooling", "cls")
    if type(every) is not int or every < 1 or type(window) is not int or pooling not in ("cls", "mean"):
        raise UserError(
            f"global_attn_every_n_layers {shown(every)}, local_attention {shown(window)}, classifier_pooling "
            f"{shown(pooling)}; two whole numbers, and cls or mean, are expected"
        )
    kinds = table.get("layer_types")
    rotary = _nested_table(table, "rope_parameters")
    full, local = _nested_table(rotary, "full_attention"), _nested_table(rotary, "sliding_attention")
    scaled = [
        part for part in (full, local) if part.get("rope_type", "default") != "default" or part.keys() - ROPE_KEYS
    ]
    if scaled or table.get("rope_scaling"):
        scaling = shown(scaled[0] if scaled else table["rope_scaling"])
        raise UserError(f"rotary positions {scaling}; only plain ones, of rope_theta alone, are supported")
    if kinds is not None:
        if not isinstance(kinds, list):
            raise UserError(f"layer_types is {shown(kinds)}, a list is expected")
        global_layers = [i for i, kind in enumerate(kinds) if kind == "full_attention"]
        every = global_layers[1] - global_layers[0] if len(global_layers) > 1 else max(len(kinds), 1)
        if global_layers != list(range(0, fields["depth"], every)) or len(kinds) != fields["depth"]:
            raise UserError(
                f"layer_types {shown(kinds)}: full attention in every n-th layer from the first is supported"
            )
    base = _number(full.get("rope_theta", table.get("global_rope_theta", 160_000.0)))
    local_base = local.get("rope_theta", table.get("local_rope_theta", 10_000.0))
    fields |= {
        "global_every": every,
        "local_window": window // 2,
        "rotary_base": base,
        "local_rotary_base": base if local_base is None else _number(local_base),  # as in ModernBERT's own code
        "pool_from": {"cls": "first", "mean": "mean"}[pooling],
    }


ROPE_KEYS = {"rope_type", "rope_theta"}


def _nested_table(table: ConfigTable, key: str) -> ConfigTable:
    value = table.get(key) or {}
    if not isinstance(value, dict):
        raise UserError(f"{key} is {shown(value)}, an object is expected")
    return value


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise UserError(f"a rotary base is {shown(value)}, a number is expected")
    return float(value)


def _write_modernbert(config: ModelConfig, table: ConfigTable) -> None:
    bases = {"full_attention": config.rotary_base, "sliding_attention": config.local_rotary_base}
    table |= {
        "embedding_dropout": config.dropout,
        "attention_dropout": config.attention_rate,
        "global_attn_every_n_layers": config.global_every,
        "layer_types": ["sliding_attention" if config.is_local(i) else "full_attention" for i in range(config.depth)],
        "local_attention": 2 * config.local_window,
        "global_rope_theta": config.rotary_base,
        "local_rope_theta": config.local_rotary_base,
        "rope_parameters": {name: {"rope_type": "default", "rope_theta": base} for name, base in bases.items()},
        "classifier_pooling": "cls" if config.pool_from == "first" else "mean",
    }


BERT_FAMILY = Family(
    name="bert",
    prefix="bert.",
    classes="Bert",
    encoder=tensor_names.bert_encoder,
    heads=tensor_names.BERT_HEADS,
    tied=tensor_names.BERT_TIED,
    token_table="embeddings.word_embeddings.weight",
    fields=BERT_FIELDS,
    attention_dropout=("attention_probs_dropout_prob", 0.1),
    fixed={**NOT_AN_ENCODER, "position_embedding_type": "absolute"},
)
ROBERTA_FAMILY = dataclasses.replace(
    BERT_FAMILY,
    name="roberta",
    prefix="roberta.",
    classes="Roberta",
    heads=tensor_names.ROBERTA_HEADS,
    tied=tensor_names.ROBERTA_TIED,
    fields={**BERT_FIELDS, "vocab_size": ("vocab_size", 50265)},
    masked_lm_activation="gelu",
    after_read=_roberta_positions,
    after_write=_write_roberta,
)
DISTILBERT_FAMILY = Family(
    name="distilbert",
    prefix="distilbert.",
    classes="DistilBert",
    encoder=tensor_names.distilbert_encoder,
    heads=tensor_names.DISTILBERT_HEADS,
    tied=tensor_names.DISTILBERT_TIED,
    token_table=BERT_FAMILY.token_table,
    fields={
        "vocab_size": ("vocab_size", 30522),
        "width": ("dim", 768),
        "depth": ("n_layers", 6),
        "heads": ("n_heads", 12),
        "mlp_width": ("hidden_dim", 3072),
        "max_length": ("max_position_embeddings", 512),
        "dropout": ("dropout", 0.1),
        "initializer_range": ("initializer_range", 0.02),
        "activation": ("activation", "gelu"),
    },
    attention_dropout=("attention_dropout", 0.1),
    fixed={},
    shape={"segments": 0, "pooler": "relu"},
)
ELECTRA_FAMILY = dataclasses.replace(
    BERT_FAMILY,
    name="electra",
    prefix="electra.",
    classes="Electra",
    heads=tensor_names.ELECTRA_HEADS,
    tied=tensor_names.ELECTRA_TIED,
    fields={**BERT_FIELDS, "width": ("hidden_size", 256), "heads": ("num_attention_heads", 4)}
    | {"mlp_width": ("intermediate_size", 1024)},
    fixed={
        **BERT_FAMILY.fixed,
        "summary_type": "first",
        "summary_use_proj": True,
        "summary_activation": "gelu",
    },
    shape={"pooler": "gelu"},
    masked_lm_activation="gelu",
    after_read=_electra_table_width,
    after_write=_write_electra,
)
MODERNBERT_FAMILY = Family(
    name="modernbert",
    prefix="model.",
    classes="ModernBert",
    encoder=tensor_names.modernbert_encoder,
    heads=tensor_names.MODERNBERT_HEADS,
    tied=tensor_names.MODERNBERT_TIED,
    token_table="embeddings.tok_embeddings.weight",
    fields={
        "vocab_size": ("vocab_size", 50368),
        "width": ("hidden_size", 768),
        "depth": ("num_hidden_layers", 22),
        "heads": ("num_attention_heads", 12),
        "mlp_width": ("intermediate_size", 1152),
        "max_length": ("max_position_embeddings", 8192),
        "dropout": ("mlp_dropout", 0.0),
        "norm_epsilon": ("norm_eps", 1e-5),
        "initializer_range": ("initializer_range", 0.02),
        "activation": ("hidden_activation", "gelu"),
    },
    attention_dropout=("attention_dropout", 0.0),
    fixed={
        "attention_bias": False,
        "mlp_bias": False,
        "norm_bias": False,
        "classifier_bias": False,
        "decoder_bias": True,
        "classifier_activation": "gelu",
    },
    shape={
        "segments": 0,
        "positions": "rotary",
        "block": "pre",
        "mlp": "gated",
        "bias": False,
        "pooler": "gelu_norm",
    },
    masked_lm_activation="gelu",  # classifier_activation: all heads share one module
    after_read=_modernbert_attention,
    after_write=_write_modernbert,
)
FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        BERT_FAMILY,
        ROBERTA_FAMILY,
        DISTILBERT_FAMILY,
        ELECTRA_FAMILY,
        MODERNBERT_FAMILY,
        dataclasses.replace(ROBERTA_FAMILY, name="xlm-roberta", classes="XLMRoberta"),
        dataclasses.replace(ROBERTA_FAMILY, name="camembert", classes="Camembert"),
    )
}


def family_named(model_type: Any, where: str) -> Family:
    """Return the family of a `model_type`. Raises UserError where it is unknown."""
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise UserError(f"{where}: unknown model_type {shown(model_type)}; known are {', '.join(FAMILIES)}")
    return FAMILIES[model_type]


def family_without_name(architectures: Any, tensors: Iterable[str]) -> Family | None:
    """Return the family of an early folder without `model_type` (SciBERT), by its class, else by its tensors."""
    class_name = str(architectures[0]) if isinstance(architectures, list) and architectures else ""
    for family in FAMILIES.values():
        if class_name in (f"{family.classes}{suffix}" for suffix in (*ARCHITECTURES, *OTHER_ARCHITECTURES)):
            return family
    if class_name:
        return None
    parts = {name.partition(".")[0] for name in tensors}
    # Not ModernBERT, whose prefix "model." is that of many other models.
    distinct = (BERT_FAMILY, ROBERTA_FAMILY, DISTILBERT_FAMILY, ELECTRA_FAMILY)
    return next((family for family in distinct if family.prefix.removesuffix(".") in parts), None)


def family_of(config: ModelConfig) -> Family:
    """Return the first family that can express the model. Raises UserError where none can."""
    for family in FAMILIES.values():
        if family.holds(config):
            return family
    raise UserError(f"no family of Hugging Face computes this model: {config}")
