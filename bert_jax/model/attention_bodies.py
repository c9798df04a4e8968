"""The bodies of self-attention, and the choice of one by hardware and shape.

`Compute.attention` names a body, or "auto". A body that cannot do what a call asks for says so at the start; "auto"
takes the next one.
"""

import dataclasses
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bert_jax.config import ModelConfig
from bert_jax.errors import UserError
from bert_jax.model import flash_attention, ops, tpu_attention
from bert_jax.model.compute import Compute, choose
from bert_jax.model.encoder_input import KeyInterval, Length
from bert_jax.random_bits import DropoutSeeds
from bert_jax.sharding import over_mesh

AUTO = "auto"


@runtime_checkable
class AttentionFunction(Protocol):
    """A function from the queries, keys and values of all heads to their outputs."""

    def __call__(
        self,
        q: Float[Array, "B Q N H"],
        k: Float[Array, "B L N H"],
        v: Float[Array, "B L N H"],
        keys: KeyInterval,
        *,
        rate: float,
        seeds: DropoutSeeds | None,
    ) -> Float[Array, "B Q N H"]:
        """Return softmax(q.k / sqrt(H)) v over the keys of each query's interval.

        `rate` of the attention weights is dropped. The output of a query without keys is finite and not used.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttentionCall:
    """A call of attention as the compiler sees it, without the values.

    platform   of the devices: "cpu", "gpu" or "tpu"
    rate       of dropout of the weights; 0 outside training
    is_padded  True where each row has its keys at its start, False for packed documents, windows and padding before
    """

    platform: str
    dtype: jnp.dtype
    queries: Length
    keys: Length
    heads: int
    head_size: int
    rate: float
    is_padded: bool


@dataclasses.dataclass(frozen=True)
class AttentionBody:
    """A function with its limits: why it cannot compute a call, or None.

    on_tpu  takes the place of `function` on a TPU
    """

    function: AttentionFunction
    limits: Callable[[AttentionCall], str | None] = lambda call: None
    on_tpu: AttentionFunction | None = None

    def of(self, platform: str) -> AttentionFunction:
        """Return the function for the devices of a platform."""
        return self.on_tpu if platform == "tpu" and self.on_tpu is not None else self.function


def plain_attention(
    q: Float[Array, "B Q N H"],
    k: Float[Array, "B L N H"],
    v: Float[Array, "B L N H"],
    keys: KeyInterval,
    *,
    rate: float,
    seeds: DropoutSeeds | None,
) -> Float[Array, "B Q N H"]:
    """Compute attention by two matrix products; the scores of all pairs between them are kept, in float32."""
    q, k, v = (part.swapaxes(1, 2) for part in (q, k, v))  # B N L H, which a CPU multiplies faster than B L N H
    scores = jnp.einsum("BNQH,BNKH->BNQK", q, k, preferred_element_type=jnp.float32) * q.shape[-1] ** -0.5
    scores = jnp.where(keys.mask(k.shape[2])[:, None], scores, jnp.finfo(jnp.float32).min)
    # The softmax is divided by its sum only after the values are summed: one pass less over all scores.
    weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True)))
    total = weights.sum(axis=-1, keepdims=True)  # B N Q 1
    weights = ops.dropout(weights.astype(v.dtype), rate, seeds)
    out = jnp.einsum("BNQK,BNKH->BNQH", weights, v, preferred_element_type=jnp.float32) / total
    return out.astype(v.dtype).swapaxes(1, 2)


def cudnn_attention(
    q: Float[Array, "B Q N H"],
    k: Float[Array, "B L N H"],
    v: Float[Array, "B L N H"],
    keys: KeyInterval,
    *,
    rate: float,
    seeds: DropoutSeeds | None,
) -> Float[Array, "B Q N H"]:
    """Compute attention by NVIDIA's cuDNN, on the rows and heads of each device. All queries are computed."""
    lengths = jnp.clip(keys.end[:, 0], 1, k.shape[1]).astype(jnp.int32)  # a row without tokens would give NaN
    lengths = jnp.broadcast_to(lengths, q.shape[:1])

    def of_own(q: Array, k: Array, v: Array, lengths: Array) -> Array:
        return jax.nn.dot_product_attention(q, k, v, key_value_seq_lengths=lengths, implementation="cudnn")

    activations = ("batch", None, "heads")
    return over_mesh(of_own, [activations] * 3 + [("batch",)], activations)(q, k, v, lengths)


def _limits_of_cudnn(call: AttentionCall) -> str | None:
    if call.platform != "gpu":
        return f"is for NVIDIA GPUs, and this is a {call.platform.upper()}"
    if call.rate:
        return f"has no dropout of attention weights, and the model has {call.rate:g} (attention_dropout)"
    if not call.is_padded:
        return "cannot compute packed rows, local attention or padding before the text"
    if call.dtype not in (jnp.bfloat16, jnp.float16):
        return f"computes bfloat16 and float16, not {call.dtype.name}"
    if call.head_size % 8 or call.head_size > 128:
        return f"computes heads of a multiple of 8 entries up to 128, not {call.head_size}"
    return None


def _limits_of_pallas(call: AttentionCall) -> str | None:
    if call.platform == "tpu":
        step, largest = tpu_attention.HEAD_STEP, tpu_attention.LARGEST_HEAD
        if not tpu_attention.has_lanes(call.head_size):
            return f"computes heads of a multiple of {step} entries up to {largest}, not {call.head_size}"
        if not tpu_attention.fits(call.keys, call.heads, call.head_size):
            return f"lacks memory for rows of {call.keys} tokens with {call.heads} heads of {call.head_size} entries"
        return None
    if not flash_attention.has_tiles(call.head_size):
        sizes = f"{flash_attention.SMALLEST_TILE} to {flash_attention.LARGEST_HEAD}"
        return f"computes heads of a power of two from {sizes} entries, not {call.head_size}"
    return None


ATTENTIONS: dict[str, AttentionBody] = {
    "plain": AttentionBody(plain_attention),
    "cudnn": AttentionBody(cudnn_attention, _limits_of_cudnn),
    "pallas": AttentionBody(flash_attention.flash_attention, _limits_of_pallas, on_tpu=tpu_attention.tpu_attention),
}
# By platform, the bodies that "auto" prefers to plain, for narrow floats and rows of as many keys.
AUTOMATIC = {"gpu": (("cudnn", "pallas"), 0), "tpu": (("pallas",), tpu_attention.LANES)}


def check_attention(name: str) -> None:
    """Raise UserError for a name that no body has."""
    if name != AUTO:
        choose(ATTENTIONS, name, "attention", also=(AUTO,))


def choose_attention(name: str, call: AttentionCall) -> str:
    """Return the name of the body that computes a call.

    A part of the queries, as that of [CLS] alone, and lengths that are not known yet are left to plain. Raises
    UserError where a named body cannot compute the call.
    """
    if not isinstance(call.queries, int) or call.queries != call.keys:
        return "plain"
    if name != AUTO:
        limit = choose(ATTENTIONS, name, "attention").limits(call)
        if limit is not None:
            raise UserError(f"--attention {name} {limit}. Use --attention auto")
        return name
    preferred, shortest = AUTOMATIC.get(call.platform, ((), 0))
    if call.dtype == jnp.float32 or call.keys < shortest:
        return "plain"
    return next((body for body in preferred if ATTENTIONS[body].limits(call) is None), "plain")


def bodies_in_training(model: ModelConfig, compute: Compute, length: int, *, is_packed: bool) -> str:
    """Return the names of the bodies that train a model on rows of `length` tokens.

    Raises UserError where `compute` names one that cannot.
    """

    def name(is_padded: bool) -> str:
        call = AttentionCall(
            platform=compute.target,
            dtype=jnp.dtype(compute.dtype),
            queries=length,
            keys=length,
            heads=model.heads,
            head_size=model.head_size,
            rate=model.attention_rate,
            is_padded=is_padded,
        )
        return choose_attention(compute.attention, call)

    locality = {model.is_local(block) for block in range(model.depth)}
    names = {name(not is_packed and not is_local) for is_local in locality}
    return " and ".join(sorted(names))


def body_for(compute: Compute, q: Array, k: Array, keys: KeyInterval, rate: float) -> AttentionFunction:
    """Return the function that computes a call."""
    call = AttentionCall(
        platform=compute.target,
        dtype=q.dtype,
        queries=q.shape[1],
        keys=k.shape[1],
        heads=q.shape[2],
        head_size=q.shape[3],
        rate=rate,
        is_padded=keys.start is None and keys.end.shape[1] == 1,
    )
    return ATTENTIONS[choose_attention(compute.attention, call)].of(compute.target)
