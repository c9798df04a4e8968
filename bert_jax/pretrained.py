"""A model with all that belongs to it, wherever it came from: what every reader gives and every writer takes."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from bert_jax.config import ModelConfig
from bert_jax.errors import UserError
from bert_jax.model.compute import Compute
from bert_jax.model.heads import (
    DiscriminatorModel,
    EncoderModel,
    MaskedLMModel,
    PretrainingModel,
    SequenceModel,
    TokenModel,
)
from bert_jax.model.vectors import VectorConfig
from bert_jax.random_bits import weight_keys
from bert_jax.task_record import TaskRecord
from bert_jax.terminal import note
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.trees import Flat, Shape, flatten, unflatten

Activation = Literal["identity", "sigmoid"]
MULTI_LABEL, REGRESSION, SINGLE_LABEL = "multi_label", "regression", "single_label"
ALPHABET = " ".join("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
MOST_ROWS_OF_PADDING = 1024  # of a token table beyond its tokenizer
PADDED_TO = 8  # a table is padded to a multiple of it


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """The user's settings for reading a foreign folder, in addition to its own files.

    ignore_extra  leave out tensors that the model does not have
    base          the folder of the model that an adapter is merged into
    lowercase     whether a WordPiece tokenizer is uncased, as in `load_tokenizer`
    """

    ignore_extra: bool = False
    base: Path | None = None
    lowercase: bool | None = None


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """An encoder with its head, if it has one.

    where      the folder it was read from, for messages
    kind       a key of KINDS
    params     by path, float32
    labels     the classes of a head that has classes, or the names of several scores, in the order of its outputs
    problem    of a `sequence` model: single_label, multi_label or regression
    activation of a regression: what its scores go through before they are given
    max_length tokens that a text is cut to
    origin     what the format it was read from says beyond that, so that writing it again loses nothing
    task       the record of a fine-tuned run; empty for a foreign model
    vectors    how one vector is made of a text; None where nothing says it
    """

    where: str
    kind: str
    model: ModelConfig
    tokenizer: Tokenizer | None
    params: Flat
    labels: tuple[str, ...] | None = None
    problem: str = SINGLE_LABEL
    max_length: int = 512
    origin: dict[str, Any] = dataclasses.field(default_factory=dict)
    task: TaskRecord = dataclasses.field(default_factory=TaskRecord)
    vectors: VectorConfig | None = None
    activation: Activation = "identity"

    @property
    def pooler(self) -> bool:
        return "encoder/pooler/dense/kernel" in self.params

    def changed(self, **fields: Any) -> "Pretrained":
        """The same model with other fields."""
        return dataclasses.replace(self, **fields)

    def require_tokenizer(self) -> Tokenizer:
        """Return the tokenizer. Raises UserError if there is none."""
        if self.tokenizer is None:
            raise UserError(f"{self.where}: no tokenizer beside the weights. Put its files there")
        return self.tokenizer

    @property
    def vector_length(self) -> int:
        """Tokens that a text is cut to whose vector is made."""
        return (self.vectors and self.vectors.max_length) or self.max_length

    @property
    def outputs(self) -> int:
        """How many numbers the head gives."""
        return outputs_of(self.kind, self.labels)


def outputs_of(kind: str, labels: tuple[str, ...] | None) -> int:
    return {"span": 2, "choice": 1}.get(kind, len(labels or ("",)))


def build(
    kind: str,
    model: ModelConfig,
    *,
    outputs: int = 1,
    pooler: bool = True,
    compute: Compute = Compute(),
    rngs: nnx.Rngs,
) -> nnx.Module:
    """The module of a kind of model, freshly initialised; `pooler` where the kind leaves that open."""
    return KINDS[kind](model, outputs, pooler, compute=compute, rngs=rngs)


KINDS: dict[str, Callable[..., nnx.Module]] = {
    "encoder": lambda model, outputs, pooler, **more: EncoderModel(model, pooler=pooler, **more),
    "masked_lm": lambda model, outputs, pooler, **more: MaskedLMModel(model, pooler=pooler, **more),
    "pretrain": lambda model, outputs, pooler, **more: PretrainingModel(model, **more),
    "discriminator": lambda model, outputs, pooler, **more: DiscriminatorModel(model, **more),
    "sequence": lambda model, outputs, pooler, **more: SequenceModel(model, outputs, **more),
    "choice": lambda model, outputs, pooler, **more: SequenceModel(model, outputs, **more),
    "token": lambda model, outputs, pooler, **more: TokenModel(model, outputs, pooler=pooler, **more),
    "span": lambda model, outputs, pooler, **more: TokenModel(model, outputs, pooler=pooler, **more),
}


def shapes_of(kind: str, model: ModelConfig, *, outputs: int = 1, pooler: bool = True) -> dict[str, Shape]:
    """The shape of every parameter by its path; nothing is computed."""
    module = nnx.eval_shape(lambda: build(kind, model, outputs=outputs, pooler=pooler, rngs=weight_keys(0)))
    abstract = nnx.to_pure_dict(nnx.state(module, nnx.Param))
    return {path: tuple(leaf.shape) for path, leaf in flatten(abstract).items()}


def module_of(pretrained: Pretrained, params: Any, compute: Compute = Compute()) -> Any:
    """The module with these parameters in it."""
    module = nnx.eval_shape(
        lambda: build(
            pretrained.kind,
            pretrained.model,
            outputs=pretrained.outputs,
            pooler=pretrained.pooler,
            compute=compute,
            rngs=weight_keys(0),
        )
    )
    return nnx.merge(nnx.graphdef(module), jax.tree.map(jnp.asarray, params))


def encoder_params(pretrained: Pretrained) -> dict[Any, Any]:
    """The encoder's parameters, nested. Where the family's masked LM reads through its pooler (ModernBERT), with it."""
    params: Any = unflatten(pretrained.params)
    encoder = params["encoder"]
    if "pooler" not in encoder and "masked_lm" in params and pretrained.model.pooler.endswith("norm"):
        head = params["masked_lm"]
        encoder["pooler"] = {"dense": head["transform"], "norm": head["norm"]}
    return encoder


def as_encoder(pretrained: Pretrained) -> Pretrained:
    """The model without its head. A pooler stays where the bare encoder has one (tanh, as in BERT)."""
    bare = pretrained.model.pooler == "tanh"
    params = {
        name: value
        for name, value in pretrained.params.items()
        if name.startswith("encoder/") and (bare or not name.startswith("encoder/pooler/"))
    }
    origin = pretrained.origin
    if pretrained.kind != "encoder":
        dropped = ("prefix", "tied")
        origin = {name: value for name, value in origin.items() if name not in dropped}
    return pretrained.changed(kind="encoder", params=params, labels=None, origin=origin, task=TaskRecord())


def lowercases(tokenizer: Tokenizer | None) -> bool:
    """Whether capital letters make no difference to its ids."""
    if tokenizer is None:
        return False
    upper, lower = tokenizer.ids([ALPHABET, ALPHABET.lower()])
    return np.array_equal(upper, lower)


def check_vocabulary(tokenizer: Tokenizer, rows: int, where: str) -> None:
    """Raise UserError where the tokenizer and the token table were not made for each other.

    Blank entries at the end need no row. A table with some rows more is usual, and padded to a round number; a note
    says where it is not.
    """
    entries = tokenizer.vocab_size
    while entries > rows and not tokenizer.tokens([entries - 1])[0]:
        entries -= 1
    spare = rows - entries
    if not 0 <= spare <= MOST_ROWS_OF_PADDING:
        raise UserError(
            f"{where}: the tokenizer has {tokenizer.vocab_size} entries, the token table {rows} rows. "
            "Put the tokenizer there that the model was trained with"
        )
    if spare and rows % PADDED_TO:
        note(
            f"{where}: the token table has {rows:,} rows, the tokenizer {entries:,} entries. If tokens were added to "
            "it, the files that name them are missing"
        )
