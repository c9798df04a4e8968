"""Where a run begins that does not begin from nothing: at step 0, with the parameters of a checkpoint."""

from collections.abc import Sequence, Set
from typing import Any

from bert_jax.pretrained import Pretrained, encoder_params
from bert_jax.terminal import note
from bert_jax.train.checkpoint import require_same_shapes
from bert_jax.train.program import Program, TrainState
from bert_jax.trees import unflatten

ENCODER = "encoder"
PARTS = ("encoder", "masked_lm", "next_sentence")
NAMES = {"masked_lm": "masked LM head", "next_sentence": "next sentence head"}


def start_from(program: Program, pretrained: Pretrained, parts: Sequence[str], *, fresh_layers: int = 0) -> TrainState:
    """A fresh state with the named parts of `pretrained` in it: the encoder, heads by name.

    What of them the checkpoint lacks stays fresh, and what of them the task lacks stays behind; a note says so. Fresh
    are also so many of the top layers, and the pooler with them.
    """
    found: dict[str, Any] = {**unflatten(pretrained.params), ENCODER: encoder_params(pretrained)}
    given: dict[str, Any] = {}
    for part in parts:
        if part in found and part in program.params:
            taken, shapes = found[part], program.params[part]
            if part == ENCODER:
                taken, shapes = _with_pooler(taken, shapes, pretrained.where)
            require_same_shapes(taken, shapes, pretrained.where)
            if part == ENCODER and fresh_layers:
                kept = pretrained.model.depth - fresh_layers
                taken, shapes = _lower_layers(taken, kept), _lower_layers(shapes, kept)
            given[part] = program.place_params(taken, shapes)
        elif part in program.params:
            note(f"{pretrained.where} has no {NAMES[part]}; a fresh one is trained")
        elif part in found:
            note(f"the {NAMES[part]} of {pretrained.where} is not trained here and stays behind")
    return program.init(given)


def _with_pooler(encoder: dict[Any, Any], shapes: dict[Any, Any], where: str) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """The encoder, and the shapes of the task's, with a pooler where both have one."""
    if "pooler" in shapes and "pooler" not in encoder:
        note(f"{where} has no pooler; a fresh one is trained")
    alone = (encoder.keys() ^ shapes.keys()) & {"pooler"}
    return _without(encoder, alone), _without(shapes, alone)


def _lower_layers(encoder: dict[Any, Any], count: int) -> dict[Any, Any]:
    """The encoder without its pooler and the layers above these."""
    blocks = {number: block for number, block in encoder["blocks"].items() if int(number) < count}
    return {**_without(encoder, {"pooler"}), "blocks": blocks}


def _without(tree: dict[Any, Any], names: Set[str]) -> dict[Any, Any]:
    return {name: part for name, part in tree.items() if name not in names}
