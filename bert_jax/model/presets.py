"""Named model shapes. Vocabulary sizes are the published ones; a run replaces them by that of its tokenizer."""

import dataclasses
from pathlib import Path

from bert_jax.config import ModelConfig, read_toml
from bert_jax.errors import UserError, did_you_mean

UNCASED, CASED = 30522, 28996


def _bert(vocab_size: int, depth: int, width: int) -> ModelConfig:
    """Return a shape of Devlin et al. 2018: heads of size 64, an MLP four times the width."""
    return ModelConfig(vocab_size=vocab_size, depth=depth, width=width, heads=width // 64, mlp_width=4 * width)


def _roberta(vocab_size: int, depth: int, width: int) -> ModelConfig:
    """Return a shape of Liu et al. 2019: BERT without segments; 512 positions, from row 2 of their table."""
    config = _bert(vocab_size, depth, width)
    return dataclasses.replace(config, segments=1, first_position=2, norm_epsilon=1e-5)


def _distilbert(vocab_size: int) -> ModelConfig:
    """Return the shape of Sanh et al. 2019: six layers, no segments; classifiers have a ReLU pooler."""
    return dataclasses.replace(_bert(vocab_size, 6, 768), segments=0, pooler="relu")


def _electra(depth: int, width: int, tables: int, heads: int) -> ModelConfig:
    """Return the shape of a discriminator of Clark et al. 2020, with embedding tables of width `tables`."""
    config = dataclasses.replace(_bert(UNCASED, depth, width), heads=heads, pooler="gelu")
    return config if tables == width else dataclasses.replace(config, embedding_width=tables)


def _minilm(depth: int) -> ModelConfig:
    """Return a shape of Wang et al. 2020: heads of size 32. Small E5 and BGE models have it, too."""
    return dataclasses.replace(_bert(UNCASED, depth, 384), heads=12)


def _modernbert(depth: int, width: int, mlp_width: int) -> ModelConfig:
    """Return a shape of Warner et al. 2024: every third block attends globally, the others 64 tokens either way."""
    return ModelConfig(
        vocab_size=50368,
        depth=depth,
        width=width,
        heads=width // 64,
        mlp_width=mlp_width,
        max_length=8192,
        segments=0,
        dropout=0.0,
        norm_epsilon=1e-5,
        positions="rotary",
        rotary_base=160_000.0,
        local_window=64,
        global_every=3,
        block="pre",
        mlp="gated",
        bias=False,
        pooler="gelu_norm",
    )


PRESETS: dict[str, ModelConfig] = {
    "bert-base-uncased": _bert(UNCASED, 12, 768),
    "bert-base-cased": _bert(CASED, 12, 768),
    "bert-large-uncased": _bert(UNCASED, 24, 1024),
    "bert-large-cased": _bert(CASED, 24, 1024),
    # Turc et al. 2019, "Well-Read Students Learn Better"
    "bert-tiny": _bert(UNCASED, 2, 128),
    "bert-mini": _bert(UNCASED, 4, 256),
    "bert-small": _bert(UNCASED, 4, 512),
    "bert-medium": _bert(UNCASED, 8, 512),
    "bert-base-multilingual-cased": _bert(119547, 12, 768),
    "bert-base-multilingual-uncased": _bert(105879, 12, 768),
    "roberta-base": _roberta(50265, 12, 768),
    "roberta-large": _roberta(50265, 24, 1024),
    "distilroberta-base": _roberta(50265, 6, 768),
    "xlm-roberta-base": _roberta(250002, 12, 768),
    "xlm-roberta-large": _roberta(250002, 24, 1024),
    "distilbert-base-uncased": _distilbert(UNCASED),
    "distilbert-base-cased": _distilbert(CASED),
    "distilbert-base-multilingual-cased": _distilbert(119547),
    "electra-small": _electra(12, 256, tables=128, heads=4),
    "electra-base": _electra(12, 768, tables=768, heads=12),
    "electra-large": _electra(24, 1024, tables=1024, heads=16),
    "minilm-l6": _minilm(6),
    "minilm-l12": _minilm(12),
    "modernbert-base": _modernbert(22, 768, 1152),
    "modernbert-large": _modernbert(28, 1024, 2624),
    # for tests: all sizes differ
    "tiny-test": ModelConfig(vocab_size=37, width=12, depth=3, heads=2, mlp_width=20, max_length=17),
}


def resolve(name: str, vocab_size: int | None = None) -> ModelConfig:
    """Return the shape of a preset, or of a TOML file with fields of ModelConfig; `vocab_size` replaces its own.

    Raises UserError for an unknown name, with the closest preset.
    """
    if name in PRESETS:
        config = PRESETS[name]
    elif name.endswith(".toml"):
        config = read_toml(ModelConfig, Path(name), **({"vocab_size": vocab_size} if vocab_size else {}))
    else:
        hint = did_you_mean(name, PRESETS, f"known: {', '.join(PRESETS)}, or a .toml file")
        raise UserError(f"unknown model {name!r}; {hint}")
    return dataclasses.replace(config, vocab_size=vocab_size) if vocab_size else config
