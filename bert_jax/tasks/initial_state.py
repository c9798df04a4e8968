"""Initial state of a run that starts from a pre-trained model: step 0, with parameters from a checkpoint."""

from collections.abc import Sequence, Set
from typing import Any

from bert_jax.pretrained import Pretrained, encoder_params
from bert_jax.terminal import note
from bert_jax.train.checkpoint import require_same_shapes
from bert_jax.train.program import Program, TrainState
from bert_jax.trees import unflatten

ENCODER = "encoder"
PARTS = ("encoder", "masked_lm", "next_sentence")
PART_NAMES = {"masked_lm": "masked LM head", "next_sentence": "next sentence head"}


def start_from(
    program: Program, pretrained: Pretrained, parts: Sequence[str], *, seed: int, fresh_layers: int = 0
) -> TrainState:
    """Return the state at step 0 with `parts` of `pretrained`: the encoder, and heads by name.

    Parts that the checkpoint lacks start from random weights, parts that the task lacks are left out, and a note says
    so. The top `fresh_layers` layers start from random weights, too, and the pooler with them. Raises UserError where
    shapes differ.
    """
    available: dict[str, Any] = {**unflatten(pretrained.params), ENCODER: encoder_params(pretrained)}
    placed: dict[str, Any] = {}
    for part in parts:
        if part in available and part in program.params:
            params, shapes = available[part], program.params[part]
            if part == ENCODER:
                params, shapes = _match_poolers(params, shapes, pretrained.where)
            require_same_shapes(params, shapes, pretrained.where)
            if part == ENCODER and fresh_layers:
                kept = pretrained.model.depth - fresh_layers
                params, shapes = _lower_layers(params, kept), _lower_layers(shapes, kept)
            placed[part] = program.place_params(params, shapes)
        elif part in program.params:
            note(f"{pretrained.where} has no {PART_NAMES[part]}; a fresh one is trained")
        elif part in available:
            note(f"the {PART_NAMES[part]} of {pretrained.where} is not trained here and stays behind")
    return program.init(seed, placed)


def _match_poolers(
    encoder: dict[Any, Any], shapes: dict[Any, Any], where: str
) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Return the encoder and the shapes of the task's encoder, without a pooler that only one of them has."""
    if "pooler" in shapes and "pooler" not in encoder:
        note(f"{where} has no pooler; a fresh one is trained")
    unmatched = (encoder.keys() ^ shapes.keys()) & {"pooler"}
    return _without(encoder, unmatched), _without(shapes, unmatched)


def _lower_layers(encoder: dict[Any, Any], count: int) -> dict[Any, Any]:
    """Return the encoder without its pooler and the layers above the lowest `count`."""
    blocks = {number: block for number, block in encoder["blocks"].items() if int(number) < count}
    return {**_without(encoder, {"pooler"}), "blocks": blocks}


def _without(tree: dict[Any, Any], names: Set[str]) -> dict[Any, Any]:
    return {name: subtree for name, subtree in tree.items() if name not in names}
