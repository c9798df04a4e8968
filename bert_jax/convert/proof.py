"""Both sides run on the same texts and tokens: how far their numbers lie apart."""

import contextlib
import dataclasses
import functools
import importlib.util
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from bert_jax.convert.hugging_face.families import family_named, family_of
from bert_jax.convert.named_outputs import NamedOutputs, model_outputs
from bert_jax.convert.proof_batches import (
    EncodedText,
    ProofBatch,
    TextPair,
    batch_of,
    encode_text_pairs,
    proof_rows,
    random_batch,
    require_same_encodings,
)
from bert_jax.errors import UserError
from bert_jax.pretrained import Pretrained
from bert_jax.text.tokenizer import Tokenizer

T = TypeVar("T")

EXPORTED_LIMIT = 1e-4  # of other programs' kernels
BATCH_SHAPES = ((1, 1), (1, 9), (3, 7), (2, 17), (3, 160))  # batch and length
LIMIT = 2e-5  # of float32, absolute where the largest value is below 1, else relative to it


@dataclasses.dataclass(frozen=True)
class OutputDifference:
    """The largest absolute difference in one output, and the largest absolute value there."""

    name: str
    difference: float
    largest: float
    limit: float

    @property
    def passed(self) -> bool:
        return self.difference <= self.limit * max(1.0, self.largest)  # so that NaN does not


def compare(ours: NamedOutputs, theirs: NamedOutputs, mask: np.ndarray, limit: float = LIMIT) -> list[OutputDifference]:
    """Output by output; what stands at padding is nobody's. Raises UserError where the outputs are not the same."""
    if ours.keys() != theirs.keys():
        raise UserError(f"the outputs are not the same: {', '.join(ours)} here, {', '.join(theirs)} there")
    found = []
    for name, value in ours.items():
        other = np.asarray(theirs[name], np.float32).reshape(value.shape)
        if value.ndim > 1 and value.shape[:2] == mask.shape:
            value, other = value[mask], other[mask]
        apart = float(np.max(np.abs(value - other), initial=0.0))
        found.append(OutputDifference(name, apart, float(np.max(np.abs(other), initial=0.0)), limit))
    return found


def against_transformers(pretrained: Pretrained, folder: Path) -> list[OutputDifference] | None:
    """Return how far `pretrained` here is from the model that transformers opens in `folder`; None without that.

    Of each output, the farthest over random tokens, and texts and pairs that each side encodes by its own tokenizer.
    Raises UserError for a difference over the limit.
    """
    if not (importlib.util.find_spec("torch") and importlib.util.find_spec("transformers")):
        return None
    batches = [random_batch(pretrained)]
    if rows := proof_rows(pretrained):
        theirs = _run(lambda: transformers_encodings(folder, rows), folder, "does not open its tokenizer")
        batches.append(batch_of(pretrained, require_same_encodings(pretrained, rows, theirs, str(folder))))
    model = _run(lambda: open_transformers(pretrained, folder), folder, "does not open it")
    found = []
    for batch in batches:
        expected = _run(functools.partial(model, batch), folder, "does not run it")
        found += compare(model_outputs(pretrained, batch.tokens, batch.segments, batch.mask), expected, batch.mask)
    return require_close(farthest(found))


def _run(step: Callable[[], T], folder: Path, fails: str) -> T:
    """Return what transformers gives; whatever its version makes of a folder becomes a UserError."""
    try:
        return step()
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{folder}: transformers {fails}: {reason}. Nothing was left behind") from None


class Exported(Protocol):
    """A model in a form that another program runs."""

    def outputs(self, tokens: np.ndarray, segments: np.ndarray, mask: np.ndarray) -> NamedOutputs: ...


def against_exported(pretrained: Pretrained, exported: Exported, tokenizer: Tokenizer | None) -> list[OutputDifference]:
    """Return how far an exported model is from `pretrained` here: of each output, the farthest over several batches.

    Five are of random tokens, one of texts and pairs, which each side encodes by its own tokenizer: that of the export
    is `tokenizer`. Raises UserError for a difference over the limit.
    """
    batches = [random_batch(pretrained, rows, length) for rows, length in BATCH_SHAPES]
    if tokenizer is not None and (rows := proof_rows(pretrained)):
        encoded = require_same_encodings(pretrained, rows, encode_text_pairs(tokenizer, rows), "the export")
        batches.append(batch_of(pretrained, encoded))
    found = []
    for batch in batches:
        ours = model_outputs(pretrained, batch.tokens, batch.segments, batch.mask)
        theirs = exported.outputs(batch.tokens, batch.segments, batch.mask)
        known = {name: value for name, value in ours.items() if name in theirs}
        found += compare(known, theirs, batch.mask, EXPORTED_LIMIT)
    return require_close(farthest(found))


def farthest(differences: Iterable[OutputDifference]) -> list[OutputDifference]:
    """Return the largest difference of each output; NaN is the largest of all."""
    known: dict[str, OutputDifference] = {}
    for found in differences:
        if found.name not in known or not found.difference <= known[found.name].difference:
            known[found.name] = found
    return list(known.values())


def require_close(differences: list[OutputDifference]) -> list[OutputDifference]:
    """The differences, where all are within their limits. Raises UserError that names those that are not."""
    if far := [found for found in differences if not found.passed]:
        told = ", ".join(f"{found.name} by {found.difference:.2e} (values to {found.largest:.3g})" for found in far)
        raise UserError(f"the two sides do not agree: {told}; {far[0].limit:g} is the limit. Nothing was left behind")
    return differences


def transformers_outputs(pretrained: Pretrained, folder: Path, batch: ProofBatch) -> NamedOutputs:
    """Return what the library's own model gives for the batch, float32."""
    return open_transformers(pretrained, folder)(batch)


def open_transformers(pretrained: Pretrained, folder: Path) -> Callable[[ProofBatch], NamedOutputs]:
    """Return the library's own model of a folder, from a batch to its outputs, float32."""
    import torch
    import transformers

    name = pretrained.origin.get("family") if pretrained.origin.get("format") == "hf" else None
    family = family_named(name, "") if name else family_of(pretrained.model)
    with _quiet():
        model: Any = getattr(transformers, family.architecture(pretrained.kind)).from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", local_files_only=True
        )

    def run(batch: ProofBatch) -> NamedOutputs:
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

    return run


def transformers_encodings(folder: Path, rows: Sequence[TextPair]) -> list[EncodedText]:
    """Return the rows, uncut, as the library's own tokenizer of `folder` encodes them.

    Where it gives no segments its models take 0 for all tokens.
    """
    import transformers

    with _quiet():
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        found = [dict(tokenizer(*(text for text in row if text is not None))) for row in rows]
    return [EncodedText(row["input_ids"], row.get("token_type_ids") or [0] * len(row["input_ids"])) for row in found]


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
