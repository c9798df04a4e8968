"""Poolings: one vector from the states of a text's tokens. Reimers & Gurevych 2019, 3.

`mask` is True for the tokens that are pooled.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def _state_at(hidden: Float[Array, "B L D"], position: Int[Array, " B"]) -> Float[Array, "B D"]:
    """Return the state at one position of each row."""
    return jnp.take_along_axis(hidden, position[:, None, None], axis=1)[:, 0]


def first_token(hidden: Float[Array, "B L D"], mask: Bool[Array, "B L"]) -> Float[Array, "B D"]:
    """Return the state of the first token."""
    return _state_at(hidden, jnp.argmax(mask, axis=1))


def last_token(hidden: Float[Array, "B L D"], mask: Bool[Array, "B L"]) -> Float[Array, "B D"]:
    """Return the state of the last token."""
    return _state_at(hidden, mask.shape[1] - 1 - jnp.argmax(mask[:, ::-1], axis=1))


def max_of_tokens(hidden: Float[Array, "B L D"], mask: Bool[Array, "B L"]) -> Float[Array, "B D"]:
    """Return the maximum of each entry over the tokens."""
    return jnp.max(jnp.where(mask[..., None], hidden, -jnp.inf), axis=1)


def mean_of_tokens(hidden: Float[Array, "B L D"], mask: Bool[Array, "B L"]) -> Float[Array, "B D"]:
    """Return the mean over the tokens."""
    weight = mask[..., None].astype(hidden.dtype)
    return (hidden * weight).sum(axis=1) / jnp.maximum(weight.sum(axis=1), 1)


def scaled_sum(hidden: Float[Array, "B L D"], mask: Bool[Array, "B L"]) -> Float[Array, "B D"]:
    """Return the sum over the tokens, divided by the square root of their number."""
    return mean_of_tokens(hidden, mask) * jnp.sqrt(mask.sum(axis=1, keepdims=True))


def weighted_mean(hidden: Float[Array, "B L D"], mask: Bool[Array, "B L"]) -> Float[Array, "B D"]:
    """Return the mean over the tokens, weighted by their position in the row, from 1. Muennighoff 2022, 3.1."""
    weight = jnp.where(mask, jnp.arange(1, mask.shape[1] + 1), 0)[..., None].astype(hidden.dtype)
    return (hidden * weight).sum(axis=1) / jnp.maximum(weight.sum(axis=1), 1)


# By their names in sentence-transformers, in the order in which its older files concatenate several.
POOLINGS: dict[str, Callable[[Array, Array], Array]] = {
    "cls": first_token,
    "max": max_of_tokens,
    "mean": mean_of_tokens,
    "mean_sqrt_len_tokens": scaled_sum,
    "weightedmean": weighted_mean,
    "lasttoken": last_token,
}


def mean_of_last_two(states: Sequence[Float[Array, "B L D"]], mask: Bool[Array, "B L"]) -> Float[Array, "B D"]:
    """Return the mean over the tokens and the last two of `states`, which are the embeddings and each block's output.

    Gao et al. 2021, avg_top2 in their code.
    """
    return mean_of_tokens((states[-2] + states[-1]) / 2, mask)


def mean_of_first_and_last(states: Sequence[Float[Array, "B L D"]], mask: Bool[Array, "B L"]) -> Float[Array, "B D"]:
    """Return the mean over the tokens and the outputs of the first and the last block. Su et al. 2021, first-last-avg.

    states  the embeddings and the output of each block
    """
    return mean_of_tokens((states[1] + states[-1]) / 2, mask)


def _of_last(pooling: Callable[[Array, Array], Array]) -> Callable[[Sequence[Array], Array], Array]:
    """Return a pooling of the last state as a function of all states."""
    return lambda states, mask: pooling(states[-1], mask)


# Functions of the states of all layers, which `evaluate --compare-poolings` shows side by side.
COMPARED_POOLINGS: dict[str, Callable[[Sequence[Array], Array], Array]] = {
    **{name: _of_last(POOLINGS[name]) for name in ("cls", "mean", "max", "weightedmean")},
    "mean of the last two layers": mean_of_last_two,
    "mean of the first and last layer": mean_of_first_and_last,
}
