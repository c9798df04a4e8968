"""What a model gives for a batch, under the names that Hugging Face's models use."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from bert_jax.pretrained import Pretrained, module_of
from bert_jax.trees import unflatten

NamedOutputs = dict[str, np.ndarray]


def head_outputs(
    pretrained: Pretrained, module: Any, hidden: Float[Array, "B L D"], mask: Bool[Array, "B L"]
) -> dict[str, jax.Array]:
    """What the head makes of the hidden states.

    pooler_output (B D) of a bare encoder that has one, and sentence_embedding (B E) of one that says how its vectors
    are made; prediction_logits (B L V) and seq_relationship_logits (B 2) of a pre-training model; start_logits and
    end_logits (B L) of a span model; else logits. Vocabulary scores are of every position, and end where the vocabulary
    ends.
    """
    match pretrained.kind:
        case "encoder":
            found = {"pooler_output": module.encoder.pool(hidden, mask)} if pretrained.pooler else {}
            if (vectors := pretrained.vectors) and vectors.pools_whole_rows:
                found["sentence_embedding"] = vectors.of(hidden, mask)
            return found
        case "masked_lm" | "pretrain":
            scores = module.masked_lm(hidden, module.encoder.embeddings.tokens[...])
            scores = scores[..., : pretrained.model.vocab_size]
            if pretrained.kind == "masked_lm":
                return {"logits": scores}
            return {"prediction_logits": scores, "seq_relationship_logits": module.next_logits(hidden, mask)}
        case "span":
            logits = module.logits(hidden, mask)
            return {"start_logits": logits[..., 0], "end_logits": logits[..., 1]}
        case _:
            return {"logits": module.logits(hidden, mask)}


def model_outputs(
    pretrained: Pretrained, tokens: Int[np.ndarray, "B L"], segments: Int[np.ndarray, "B L"], mask: np.ndarray
) -> NamedOutputs:
    """last_hidden_state (B L D), and what the head makes of it; `mask` is True where there is a token."""

    params = unflatten(pretrained.params)

    def encode(params: Any) -> jax.Array:
        return module_of(pretrained, params).encoder(tokens, segments, mask)

    def read(params: Any, hidden: jax.Array) -> dict[str, jax.Array]:
        return head_outputs(pretrained, module_of(pretrained, params), hidden, jnp.asarray(mask))

    hidden = jax.jit(encode)(params)  # apart, so that models that differ in their head share what is compiled
    found = {"last_hidden_state": hidden, **jax.jit(read)(params, hidden)}
    return {name: np.asarray(value) for name, value in found.items()}
