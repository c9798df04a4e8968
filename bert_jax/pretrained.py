"""A model with all that belongs to it: what every reader of a format returns and every writer takes."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from bert_jax.config import ModelConfig
from bert_jax.errors import UserError
from bert_jax.model.compute import Compute
from bert_jax.model.vectors import VectorConfig
from bert_jax.random_bits import WeightKeys, weight_keys
from bert_jax.registry import HEADS, find_head, load_object
from bert_jax.task_record import TaskRecord
from bert_jax.terminal import note
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.trees import Flat, Shape, flatten, unflatten

Activation = Literal["identity", "sigmoid"]
MULTI_LABEL, REGRESSION, SINGLE_LABEL = "multi_label", "regression", "single_label"
ALPHABET = " ".join("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
MOST_ROWS_OF_PADDING = 1024  # that a token table may have beyond the vocabulary of its tokenizer
PADDED_TO = 8  # token tables from elsewhere are padded to a multiple of this many rows


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """Settings for reading a folder of another format.

    ignore_extra  skip tensors that the model does not have
    base          folder of the model that an adapter is merged into
    lowercase     whether a WordPiece tokenizer is uncased, as in `load_tokenizer`
    """

    ignore_extra: bool = False
    base: Path | None = None
    lowercase: bool | None = None


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """An encoder with its head, tokenizer and settings.

    where      folder that it was read from, for messages
    kind       head kind, a key of registry.HEADS
    params     parameters by path, float32
    labels     class names, or the names of several scores, in the order of the outputs; None: one score, or no classes
    problem    of a `sequence` model: single_label, multi_label or regression
    activation applied to the scores of a regression
    max_length tokens that a text is cut to
    origin     other facts of the source format, which writing that format again needs
    task       record of a fine-tuning run of ours; empty for a foreign model
    vectors    how a text becomes one vector; None if unknown
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
        """True if the encoder has a pooler."""
        return "encoder/pooler/dense/kernel" in self.params

    def changed(self, **fields: Any) -> "Pretrained":
        """Return the model with these fields replaced."""
        return dataclasses.replace(self, **fields)

    def require_tokenizer(self) -> Tokenizer:
        """Return the tokenizer. Raises UserError if there is none."""
        if self.tokenizer is None:
            raise UserError(f"{self.where}: no tokenizer beside the weights. Put its files there")
        return self.tokenizer

    @property
    def vector_length(self) -> int:
        """Tokens that a text is cut to before its vector is computed."""
        return (self.vectors and self.vectors.max_length) or self.max_length

    @property
    def outputs(self) -> int:
        """Number of outputs of the head."""
        return outputs_of(self.kind, self.labels)


def outputs_of(kind: str, labels: tuple[str, ...] | None) -> int:
    """Return the number of outputs of a head: fixed, or one for each label, or 1 without labels."""
    return find_head(kind).outputs or len(labels or ("",))


def build(
    kind: str,
    model: ModelConfig,
    *,
    outputs: int = 1,
    pooler: bool = True,
    compute: Compute = Compute(),
    rngs: WeightKeys,
) -> nnx.Module:
    """Create the module of a head kind with new parameters; `pooler` matters where the kind may have one or not."""
    head, values = HEADS[kind], {"outputs": outputs, "pooler": pooler}
    module: nnx.Module = load_object(head.model)(
        model, **{name: values[name] for name in head.arguments}, compute=compute, rngs=rngs
    )
    return module


def shapes_of(kind: str, model: ModelConfig, *, outputs: int = 1, pooler: bool = True) -> dict[str, Shape]:
    """Return the shape of every parameter by its path, without computing anything."""
    module = nnx.eval_shape(lambda: build(kind, model, outputs=outputs, pooler=pooler, rngs=weight_keys(0)))
    abstract = nnx.to_pure_dict(nnx.state(module, nnx.Param))
    return {path: tuple(leaf.shape) for path, leaf in flatten(abstract).items()}


def module_of(pretrained: Pretrained, params: Any, compute: Compute = Compute()) -> Any:
    """Return the module with these parameters, nested dicts."""
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
    """Return the encoder's parameters as nested dicts.

    In ModernBERT, whose masked LM head is its pooler, the pooler is taken from that head.
    """
    params: Any = unflatten(pretrained.params)
    encoder = params["encoder"]
    if "pooler" not in encoder and "masked_lm" in params and pretrained.model.pooler.endswith("norm"):
        head = params["masked_lm"]
        encoder["pooler"] = {"dense": head["transform"], "norm": head["norm"]}
    return encoder


def as_encoder(pretrained: Pretrained) -> Pretrained:
    """Return the model without its head. A pooler is kept if the family's bare encoder has one (tanh, as in BERT)."""
    keeps_pooler = pretrained.model.pooler == "tanh"
    params = {
        name: value
        for name, value in pretrained.params.items()
        if name.startswith("encoder/") and (keeps_pooler or not name.startswith("encoder/pooler/"))
    }
    origin = pretrained.origin
    if pretrained.kind != "encoder":
        dropped = ("prefix", "tied")
        origin = {name: value for name, value in origin.items() if name not in dropped}
    return pretrained.changed(kind="encoder", params=params, labels=None, origin=origin, task=TaskRecord())


def lowercases(tokenizer: Tokenizer | None) -> bool:
    """Return whether the tokenizer gives capital and small letters the same ids."""
    if tokenizer is None:
        return False
    upper, lower = tokenizer.ids([ALPHABET, ALPHABET.lower()])
    return np.array_equal(upper, lower)


def check_vocabulary(tokenizer: Tokenizer, rows: int, where: str) -> None:
    """Raise UserError if the tokenizer and a token table of `rows` cannot belong together.

    Blank entries at the end of the vocabulary need no row. Some rows beyond the vocabulary are usual, if their number
    is padded; a note says when it is not.
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
