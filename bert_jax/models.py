"""Named model shapes, data only. Vocabulary sizes are the published ones; a run takes its tokenizer's instead."""

import dataclasses
import difflib
from pathlib import Path

from bert_jax.config import ModelConfig, read_toml
from bert_jax.errors import UserError

UNCASED, CASED = 30522, 28996


def _bert(vocab_size: int, depth: int, width: int) -> ModelConfig:
    """Devlin et al. 2018: heads of 64, an MLP four times the width."""
    return ModelConfig(vocab_size=vocab_size, depth=depth, width=width, heads=width // 64, mlp_width=4 * width)


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
    # for tests: no two sizes equal
    "tiny-test": ModelConfig(vocab_size=37, width=12, depth=3, heads=2, mlp_width=20, max_length=17),
}


def resolve(name: str, vocab_size: int | None = None) -> ModelConfig:
    """The shape of a preset, or of a TOML file with the fields of ModelConfig; with the run's own vocabulary size."""
    if name in PRESETS:
        config = PRESETS[name]
    elif name.endswith(".toml"):
        config = read_toml(ModelConfig, Path(name), **({"vocab_size": vocab_size} if vocab_size else {}))
    else:
        close = difflib.get_close_matches(name, PRESETS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(PRESETS)}, or a .toml file"
        raise UserError(f"unknown model {name!r}{hint}")
    return dataclasses.replace(config, vocab_size=vocab_size) if vocab_size else config
