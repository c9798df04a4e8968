"""Run both sides of a conversion on the same texts and tokens, and compare their outputs."""

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

BATCH_SHAPES = ((1, 1), (1, 9), (3, 7), (2, 17), (3, 160))  # batch and length
# Largest difference of float32 values: absolute where the largest value is below 1, else relative to it.
LIMIT = 2e-5
EXPORTED_LIMIT = 1e-4  # for the kernels of other runtimes


@dataclasses.dataclass(frozen=True)
class OutputDifference:
    """The largest absolute difference between two sides in one output, and the largest absolute value of the output."""

    name: str
    difference: float
    largest: float
    limit: float

    @property
    def passed(self) -> bool:
        return self.difference <= self.limit * max(1.0, self.largest)  # False for NaN


def compare(ours: NamedOutputs, theirs: NamedOutputs, mask: np.ndarray, limit: float = LIMIT) -> list[OutputDifference]:
    """Return the difference of each output. Values at padding are ignored.

    Raises UserError where one side has an output that the other lacks.
    """
    if ours.keys() != theirs.keys():
        raise UserError(f"the outputs are not the same: {', '.join(ours)} here, {', '.join(theirs)} there")
    differences = []
    for name, our_values in ours.items():
        their_values = np.asarray(theirs[name], np.float32).reshape(our_values.shape)
        if our_values.ndim > 1 and our_values.shape[:2] == mask.shape:
            our_values, their_values = our_values[mask], their_values[mask]
        difference = float(np.max(np.abs(our_values - their_values), initial=0.0))
        largest = float(np.max(np.abs(their_values), initial=0.0))
        differences.append(OutputDifference(name=name, difference=difference, largest=largest, limit=limit))
    return differences


def against_transformers(pretrained: Pretrained, folder: Path) -> list[OutputDifference] | None:
    """Compare `pretrained` with the model that transformers opens in `folder`; None where it is not installed.

    Returns the largest difference of each output over random tokens, and over texts and pairs that each side encodes
    with its own tokenizer. Raises UserError for a difference over the limit.
    """
    if not (importlib.util.find_spec("torch") and importlib.util.find_spec("transformers")):
        return None
    batches = [random_batch(pretrained)]
    if rows := proof_rows(pretrained):
        encodings = _run(lambda: transformers_encodings(folder, rows), folder, "does not open its tokenizer")
        batches.append(batch_of(pretrained, require_same_encodings(pretrained, rows, encodings, str(folder))))
    model = _run(lambda: open_transformers(pretrained, folder), folder, "does not open it")
    differences = []
    for batch in batches:
        theirs = _run(functools.partial(model, batch), folder, "does not run it")
        ours = model_outputs(pretrained, batch.tokens, batch.segments, batch.mask)
        differences += compare(ours, theirs, batch.mask)
    return require_close(farthest(differences))


def _run(step: Callable[[], T], folder: Path, failure: str) -> T:
    """Return the result of a step in transformers; any exception of any of its versions becomes a UserError."""
    try:
        return step()
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{folder}: transformers {failure}: {reason}. Nothing was left behind") from None


class Exported(Protocol):
    """A model that another runtime runs."""

    def outputs(self, tokens: np.ndarray, segments: np.ndarray, mask: np.ndarray) -> NamedOutputs: ...


def against_exported(pretrained: Pretrained, exported: Exported, tokenizer: Tokenizer | None) -> list[OutputDifference]:
    """Compare `pretrained` with an exported model. Returns the largest difference of each output over several batches.

    Five batches are random tokens. One is texts and pairs that each side encodes with its own tokenizer; `tokenizer`
    is the export's. Raises UserError for a difference over the limit.
    """
    batches = [random_batch(pretrained, rows, length) for rows, length in BATCH_SHAPES]
    if tokenizer is not None and (rows := proof_rows(pretrained)):
        encoded = require_same_encodings(pretrained, rows, encode_text_pairs(tokenizer, rows), "the export")
        batches.append(batch_of(pretrained, encoded))
    differences = []
    for batch in batches:
        ours = model_outputs(pretrained, batch.tokens, batch.segments, batch.mask)
        theirs = exported.outputs(batch.tokens, batch.segments, batch.mask)
        shared = {name: value for name, value in ours.items() if name in theirs}
        differences += compare(shared, theirs, batch.mask, EXPORTED_LIMIT)
    return require_close(farthest(differences))


def farthest(differences: Iterable[OutputDifference]) -> list[OutputDifference]:
    """Return the largest difference of each output. NaN counts as larger than any number."""
    largest: dict[str, OutputDifference] = {}
    for item in differences:
        if item.name not in largest or not item.difference <= largest[item.name].difference:
            largest[item.name] = item
    return list(largest.values())


def require_close(differences: list[OutputDifference]) -> list[OutputDifference]:
    """Return `differences`. Raises UserError that names each one over its limit."""
    if far := [item for item in differences if not item.passed]:
        named = ", ".join(f"{item.name} by {item.difference:.2e} (values to {item.largest:.3g})" for item in far)
        raise UserError(f"the two sides do not agree: {named}; {far[0].limit:g} is the limit. Nothing was left behind")
    return differences


def transformers_outputs(pretrained: Pretrained, folder: Path, batch: ProofBatch) -> NamedOutputs:
    """Return the outputs of transformers' own model for the batch, float32."""
    return open_transformers(pretrained, folder)(batch)


def open_transformers(pretrained: Pretrained, folder: Path) -> Callable[[ProofBatch], NamedOutputs]:
    """Open a folder in transformers. Returns a function from a batch to the model's outputs, float32."""
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
            result = model.eval()(**tensors, output_hidden_states=True)
        outputs = {key: value.numpy() for key, value in result.items() if key != "hidden_states" and value is not None}
        if not pretrained.pooler:
            outputs.pop("pooler_output", None)  # computed from random weights: the folder has none for the pooler
        outputs["last_hidden_state"] = result.hidden_states[-1].numpy()
        return outputs

    return run


def transformers_encodings(folder: Path, rows: Sequence[TextPair]) -> list[EncodedText]:
    """Encode the rows, uncut, with transformers' own tokenizer of `folder`.

    Segments are 0 where it gives none, as its models take them.
    """
    import transformers

    with _quiet():
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        encodings = [dict(tokenizer(*(text for text in row if text is not None))) for row in rows]
    return [
        EncodedText(encoding["input_ids"], encoding.get("token_type_ids") or [0] * len(encoding["input_ids"]))
        for encoding in encodings
    ]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers' progress bars and reports."""
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
