"""One vector of the tokens of a text: which tokens are pooled, and how. Reimers & Gurevych 2019, 3."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from bert_jax.errors import UserError
from bert_jax.model.encoder import mean_token

SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")


def _at(hidden: Float[Array, "B L D"], place: Int[Array, " B"]) -> Float[Array, "B D"]:
    """Return the token at one place of each row."""
    return jnp.take_along_axis(hidden, place[:, None, None], axis=1)[:, 0]


def first_of(hidden: Float[Array, "B L D"], mask: Bool[Array, "B L"]) -> Float[Array, "B D"]:
    return _at(hidden, jnp.argmax(mask, axis=1))


def last_of(hidden: Float[Array, "B L D"], mask: Bool[Array, "B L"]) -> Float[Array, "B D"]:
    return _at(hidden, mask.shape[1] - 1 - jnp.argmax(mask[:, ::-1], axis=1))


def largest_of(hidden: Float[Array, "B L D"], mask: Bool[Array, "B L"]) -> Float[Array, "B D"]:
    """Return the largest value of each entry over the tokens."""
    return jnp.max(jnp.where(mask[..., None], hidden, -jnp.inf), axis=1)


def root_mean(hidden: Float[Array, "B L D"], mask: Bool[Array, "B L"]) -> Float[Array, "B D"]:
    """Return the sum over the tokens, divided by the square root of their number."""
    return mean_token(hidden, mask) * jnp.sqrt(mask.sum(axis=1, keepdims=True))


def weighted_mean(hidden: Float[Array, "B L D"], mask: Bool[Array, "B L"]) -> Float[Array, "B D"]:
    """Return the mean of the tokens weighted by their place in the row, counted from 1. Muennighoff 2022, 3.1."""
    weight = jnp.where(mask, jnp.arange(1, mask.shape[1] + 1), 0)[..., None].astype(hidden.dtype)
    return (hidden * weight).sum(axis=1) / jnp.maximum(weight.sum(axis=1), 1)


# By the names of sentence-transformers, in the order in which its older files put several side by side.
POOLINGS: dict[str, Callable[[Array, Array], Array]] = {
    "cls": first_of,
    "max": largest_of,
    "mean": mean_token,
    "mean_sqrt_len_tokens": root_mean,
    "weightedmean": weighted_mean,
    "lasttoken": last_of,
}
SHORT_NAMES = {"mean_sqrt_len": "mean_sqrt_len_tokens"}


@dataclasses.dataclass(frozen=True)
class VectorConfig:
    """The settings that turn a text into one vector. The fields are those of sentence-transformers.

    pooling         over the last hidden states, a key of POOLINGS; the vectors of several stand side by side
    normalize       vectors of length 1, before they are cut to `width`
    width           the entries of a vector that are kept, its first; None keeps all
    prompts         what may stand before a text, by name
    prompt          the name of the one that does where nothing is asked for
    include_prompt  whether the tokens of the prompt, [CLS] among them, are pooled
    max_length      tokens that a text is cut to, the prompt's among them; None: as the model
    similarity      what compares two vectors
    """

    pooling: tuple[str, ...] = ("mean",)
    normalize: bool = False
    width: int | None = None
    prompts: dict[str, str] = dataclasses.field(default_factory=dict)
    prompt: str | None = None
    include_prompt: bool = True
    max_length: int | None = None
    similarity: str = "cosine"

    def __post_init__(self) -> None:
        named = tuple(SHORT_NAMES.get(name, name) for name in self.pooling)
        object.__setattr__(self, "pooling", named)
        if not named or (unknown := [name for name in named if name not in POOLINGS]):
            told = ", ".join(map(repr, unknown)) if named else "nothing"
            raise UserError(f"pooling by {told}; one or several of {', '.join(POOLINGS)} are known")
        if self.width is not None and self.width < 1:
            raise UserError(f"vectors of {self.width} entries; 1 or more are expected")
        if wrong := next((name for name, text in self.prompts.items() if not isinstance(text, str)), None):
            raise UserError(f"the prompt {wrong!r} is {self.prompts[wrong]!r}, a text is expected")
        self.prompt_text(self.prompt)
        if self.max_length is not None and self.max_length < 3:
            raise UserError(f"texts of {self.max_length} tokens; 3 or more are expected")
        if self.similarity not in SIMILARITIES:
            raise UserError(f"unknown similarity {self.similarity!r}; known are {', '.join(SIMILARITIES)}")

    def as_table(self) -> dict[str, Any]:
        """Return the fields as JSON holds them; None is left out."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}

    def prompt_text(self, name: str | None) -> str:
        """Return the prompt of this name, an empty one for None. Raises UserError where there is none of it."""
        if name is not None and name not in self.prompts:
            known = ", ".join(map(repr, self.prompts)) or "none"
            raise UserError(f"no prompt is named {name!r}; there are {known}. --prompt takes the text itself")
        return "" if name is None else self.prompts[name]

    def told(self) -> str:
        """Return in words how vectors are made, but for the prompts and the length of texts."""
        steps = [f"{' and '.join(self.pooling)} of the tokens"]
        steps += ["without those of the prompt"] * (not self.include_prompt)
        steps += ["normalised"] * self.normalize
        steps += [f"its first {self.width} entries"] * (self.width is not None)
        return ", ".join(steps)

    @property
    def pools_whole_rows(self) -> bool:
        """Return whether all tokens are pooled, so that a vector does not depend on which of them are the prompt's."""
        return self.include_prompt or not any(self.prompts.values())

    def entries(self, width: int) -> int:
        """Return the entries of a vector, of a model so many wide."""
        return min(len(self.pooling) * width, self.width or len(self.pooling) * width)

    def of(self, hidden: Float[Array, "B L D"], mask: Bool[Array, "B L"], first: int = 0) -> Float[Array, "B E"]:
        """Return the vectors of rows, float32. Tokens before place `first` are not pooled."""
        hidden = hidden.astype(jnp.float32)
        pooled = mask & (jnp.arange(mask.shape[1]) >= first) if first else mask
        vectors = jnp.concatenate([POOLINGS[name](hidden, pooled) for name in self.pooling], axis=-1)
        if self.normalize:
            vectors = unit(vectors)
        return vectors[:, : self.width]


def unit(vectors: Float[Array, "B E"]) -> Float[Array, "B E"]:
    """Return the vectors at length 1; one of zeros stays as it is."""
    return vectors / jnp.maximum(jnp.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
