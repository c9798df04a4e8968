"""The settings by which a text becomes one vector. Reimers & Gurevych 2019, 3."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from bert_jax.errors import UserError
from bert_jax.model.pooling import POOLINGS

SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")
SHORT_NAMES = {"mean_sqrt_len": "mean_sqrt_len_tokens"}


@dataclasses.dataclass(frozen=True)
class VectorConfig:
    """Settings that turn a text into one vector. The fields are those of sentence-transformers.

    pooling         keys of POOLINGS, over the last hidden states; the vectors of several are concatenated
    normalize       scale vectors to length 1, before they are cut to `width`
    width           entries of a vector that are kept, from the first; None: all
    prompts         texts that may be put before a text, by name
    prompt          name of the prompt that is used by default
    include_prompt  pool the tokens of the prompt, [CLS] among them
    max_length      tokens to which a text is cut, its prompt included; None: that of the model
    similarity      measure by which two vectors are compared
    """

    pooling: tuple[str, ...] = ("mean",)
    normalize: bool = False
    width: int | None = None
    prompts: dict[str, Any] = dataclasses.field(
        default_factory=dict
    )  # texts; Any, so that __post_init__ reports others
    prompt: str | None = None
    include_prompt: bool = True
    max_length: int | None = None
    similarity: str = "cosine"

    def __post_init__(self) -> None:
        poolings = tuple(SHORT_NAMES.get(name, name) for name in self.pooling)
        object.__setattr__(self, "pooling", poolings)
        if not poolings or (unknown := [name for name in poolings if name not in POOLINGS]):
            refused = ", ".join(map(repr, unknown)) if poolings else "nothing"
            raise UserError(f"pooling by {refused}; one or several of {', '.join(POOLINGS)} are known")
        if self.width is not None and self.width < 1:
            raise UserError(f"vectors of {self.width} entries; 1 or more are expected")
        if not_text := next((name for name, text in self.prompts.items() if not isinstance(text, str)), None):
            raise UserError(f"the prompt {not_text!r} is {self.prompts[not_text]!r}, a text is expected")
        self.prompt_text(self.prompt)
        if self.max_length is not None and self.max_length < 3:
            raise UserError(f"texts of {self.max_length} tokens; 3 or more are expected")
        if self.similarity not in SIMILARITIES:
            raise UserError(f"unknown similarity {self.similarity!r}; known are {', '.join(SIMILARITIES)}")

    def as_table(self) -> dict[str, Any]:
        """Return the fields as JSON, without those that are None."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}

    def prompt_text(self, name: str | None) -> str:
        """Return the prompt of this name, an empty text for None. Raises UserError for an unknown name."""
        if name is not None and name not in self.prompts:
            known = ", ".join(map(repr, self.prompts)) or "none"
            raise UserError(f"no prompt is named {name!r}; there are {known}. --prompt takes the text itself")
        return "" if name is None else self.prompts[name]

    def in_words(self) -> str:
        """Describe pooling, normalisation and width in words."""
        steps = [f"{' and '.join(self.pooling)} of the tokens"]
        steps += ["without those of the prompt"] * (not self.include_prompt)
        steps += ["normalised"] * self.normalize
        steps += [f"its first {self.width} entries"] * (self.width is not None)
        return ", ".join(steps)

    @property
    def pools_whole_rows(self) -> bool:
        """True if all tokens are pooled, so that a vector does not depend on which of them belong to the prompt."""
        return self.include_prompt or not any(self.prompts.values())

    def entries(self, width: int) -> int:
        """Return the number of entries of a vector, from a model of this width."""
        return min(len(self.pooling) * width, self.width or len(self.pooling) * width)

    def of(self, hidden: Float[Array, "B L D"], mask: Bool[Array, "B L"], first: int = 0) -> Float[Array, "B W"]:
        """Return the vectors of rows, float32. Tokens before position `first` are not pooled."""
        hidden, pooled = hidden.astype(jnp.float32), without_first(mask, first)
        vectors = jnp.concatenate([POOLINGS[name](hidden, pooled) for name in self.pooling], axis=-1)
        if self.normalize:
            vectors = unit(vectors)
        return vectors[:, : self.width]


def without_first(mask: Bool[Array, "B L"], first: int) -> Bool[Array, "B L"]:
    """Return the mask without the tokens before position `first`."""
    return mask & (jnp.arange(mask.shape[1]) >= first) if first else mask


def unit(vectors: Float[Array, "B W"]) -> Float[Array, "B W"]:
    """Return the vectors scaled to length 1; a zero vector stays zero."""
    return vectors / jnp.maximum(jnp.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
