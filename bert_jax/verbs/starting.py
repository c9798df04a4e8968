"""Where a run begins that does not begin from nothing: at step 0, with the parameters of a checkpoint."""

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

from bert_jax.convert.pretrained import Pretrained, encoder_params
from bert_jax.convert.rules import unflatten
from bert_jax.train.checkpoint import require_same_shapes
from bert_jax.train.program import Program, TrainState

ENCODER = "encoder"
PARTS = ("encoder", "masked_lm", "next_sentence")
NAMES = {"masked_lm": "masked LM head", "next_sentence": "next sentence head"}


def start_from(program: Program, pretrained: Pretrained, parts: Sequence[str]) -> TrainState:
    """A fresh state with the named parts of `pretrained` in it: the encoder, heads by name.

    What of them the checkpoint lacks stays fresh, and what of them the task lacks stays behind; a note says so.
    """
    state = program.init()
    found: dict[str, Any] = {**unflatten(pretrained.params), ENCODER: encoder_params(pretrained)}
    params = dict(state.params)
    for part in parts:
        if part in found and part in params:
            taken = found[part]
            if part == ENCODER:
                taken = _with_pooler(taken, params[part], pretrained.where)
            shapes = program.params[part]
            require_same_shapes(taken, shapes, pretrained.where)
            params[part] = program.place_params(taken, shapes)
        elif part in params:
            _note(f"{pretrained.where} has no {NAMES[part]}; a fresh one is trained")
        elif part in found:
            _note(f"the {NAMES[part]} of {pretrained.where} is not trained here and stays behind")
    return dataclasses.replace(state, params=params)


def _with_pooler(encoder: dict[Any, Any], fresh: dict[Any, Any], where: str) -> dict[Any, Any]:
    """The encoder with a pooler where the task has one, and without one where it has none."""
    if "pooler" in fresh and "pooler" not in encoder:
        _note(f"{where} has no pooler; a fresh one is trained")
        return {**encoder, "pooler": fresh["pooler"]}
    return {name: part for name, part in encoder.items() if name != "pooler" or "pooler" in fresh}


def _note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)
