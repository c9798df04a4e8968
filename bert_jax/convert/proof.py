"""Both sides run on the same batch: how far their numbers lie apart."""

import contextlib
import dataclasses
import importlib.util
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bert_jax.convert.families import family_named, family_of
from bert_jax.convert.outputs import Outputs, outputs
from bert_jax.convert.pretrained import Pretrained
from bert_jax.errors import UserError

EXPORTED_LIMIT = 1e-4  # of other programs' kernels
SHAPES = ((1, 1), (1, 9), (3, 7), (2, 17), (3, 160))  # batch and length
LIMIT = 2e-5  # of float32, absolute where the largest value is below 1, else relative to it
ROWS, LENGTH = 3, 160  # longer than ModernBERT's local attention sees


@dataclasses.dataclass(frozen=True)
class Difference:
    """The largest absolute difference in one output, and the largest absolute value there."""

    name: str
    difference: float
    largest: float
    limit: float

    @property
    def passed(self) -> bool:
        return self.difference <= self.limit * max(1.0, self.largest)  # so that NaN does not


@dataclasses.dataclass(frozen=True)
class Batch:
    """Random tokens in rows of unequal length."""

    tokens: np.ndarray
    segments: np.ndarray
    mask: np.ndarray


def random_batch(pretrained: Pretrained, rows: int = ROWS, length: int = LENGTH) -> Batch:
    """The same batch for the same model. The padding's id stands at padding only."""
    rng = np.random.default_rng(0)
    model = pretrained.model
    length = min(length, model.max_length)
    pad = pretrained.tokenizer.special.pad if pretrained.tokenizer else max(model.first_position - 1, 0)
    lengths = np.linspace(length, min(length, 2), rows).astype(int)
    mask = np.arange(length) < lengths[:, None]
    tokens = rng.integers(0, model.vocab_size - 1, (rows, length))
    tokens = np.where(mask, tokens + (tokens >= pad), pad).astype(np.int32)
    half = np.arange(length) >= lengths[:, None] // 2
    return Batch(tokens, (half & mask & (model.segments > 1)).astype(np.int32), mask)


def compare(ours: Outputs, theirs: Outputs, mask: np.ndarray, limit: float = LIMIT) -> list[Difference]:
    """Output by output; what stands at padding is nobody's. Raises UserError where the outputs are not the same."""
    if ours.keys() != theirs.keys():
        raise UserError(f"the outputs are not the same: {', '.join(ours)} here, {', '.join(theirs)} there")
    found = []
    for name, value in ours.items():
        other = np.asarray(theirs[name], np.float32).reshape(value.shape)
        if value.ndim > 1 and value.shape[:2] == mask.shape:
            value, other = value[mask], other[mask]
        apart = float(np.max(np.abs(value - other), initial=0.0))
        found.append(Difference(name, apart, float(np.max(np.abs(other), initial=0.0)), limit))
    return found


def against_transformers(pretrained: Pretrained, folder: Path) -> list[Difference] | None:
    """How far `pretrained` here is from the model that transformers opens in `folder`; None where it is not installed.

    Raises UserError for a difference over the limit.
    """
    if not (importlib.util.find_spec("torch") and importlib.util.find_spec("transformers")):
        return None
    batch = random_batch(pretrained)
    try:
        theirs = transformers_outputs(pretrained, folder, batch)
    except Exception as error:  # whatever its version makes of a folder
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{folder}: transformers does not run it: {reason}. Nothing was left behind") from None
    return require_close(compare(outputs(pretrained, batch.tokens, batch.segments, batch.mask), theirs, batch.mask))


class Exported(Protocol):
    """A model in a form that another program runs."""

    def outputs(self, tokens: np.ndarray, segments: np.ndarray, mask: np.ndarray) -> Outputs: ...


def against_exported(pretrained: Pretrained, exported: Exported) -> list[Difference]:
    """How far an exported model is from `pretrained` here: of each output, the farthest over five shapes of batch.

    Raises UserError for a difference over the limit.
    """
    farthest: dict[str, Difference] = {}
    for rows, length in SHAPES:
        batch = random_batch(pretrained, rows, length)
        ours = outputs(pretrained, batch.tokens, batch.segments, batch.mask)
        theirs = exported.outputs(batch.tokens, batch.segments, batch.mask)
        known = {name: value for name, value in ours.items() if name in theirs}
        for found in compare(known, theirs, batch.mask, EXPORTED_LIMIT):
            if found.name not in farthest or not found.difference <= farthest[found.name].difference:
                farthest[found.name] = found
    return require_close(list(farthest.values()))


def require_close(differences: list[Difference]) -> list[Difference]:
    """The differences, where all are within their limits. Raises UserError that names those that are not."""
    if far := [found for found in differences if not found.passed]:
        told = ", ".join(f"{found.name} by {found.difference:.2e} (values to {found.largest:.3g})" for found in far)
        raise UserError(f"the two sides do not agree: {told}; {far[0].limit:g} is the limit. Nothing was left behind")
    return differences


def transformers_outputs(pretrained: Pretrained, folder: Path, batch: Batch) -> Outputs:
    """What the library's own model gives for the batch, float32."""
    import torch
    import transformers

    name = pretrained.origin.get("family") if pretrained.origin.get("format") == "hf" else None
    family = family_named(name, "") if name else family_of(pretrained.model)
    with _quiet():
        model: Any = getattr(transformers, family.architecture(pretrained.kind)).from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", local_files_only=True
        )
        inputs = {"input_ids": batch.tokens, "attention_mask": batch.mask}
        if pretrained.model.segments > 1:
            inputs["token_type_ids"] = batch.segments
        if pretrained.kind == "choice":
            inputs = {key: value[:, None] for key, value in inputs.items()}
        with torch.no_grad():
            tensors = {key: torch.tensor(value).long() for key, value in inputs.items()}
            found = model.eval()(**tensors, output_hidden_states=True)
    named = {key: value.numpy() for key, value in found.items() if key != "hidden_states" and value is not None}
    if not pretrained.pooler:
        named.pop("pooler_output", None)  # of weights that are not in the folder
    named["last_hidden_state"] = found.hidden_states[-1].numpy()
    return named


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bars and reports."""
    import transformers

    logger = logging.getLogger("transformers")
    level = logger.level
    transformers.utils.logging.disable_progress_bar()
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        transformers.utils.logging.enable_progress_bar()
