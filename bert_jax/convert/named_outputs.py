"""The outputs of a model for a batch, named as in Hugging Face's models."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from bert_jax.model.encoder_input import EncoderInput
from bert_jax.pretrained import Pretrained, module_of
from bert_jax.trees import unflatten

NamedOutputs = dict[str, np.ndarray]


def head_outputs(
    pretrained: Pretrained, module: Any, hidden: Float[Array, "B L D"], mask: Bool[Array, "B L"]
) -> dict[str, jax.Array]:
    """Return the outputs of the head by name.

    bare encoder   pooler_output (B D) with a pooler, sentence_embedding (B E) with a vector configuration
    pretrain       prediction_logits (B L V) and seq_relationship_logits (B 2)
    span           start_logits and end_logits (B L)
    other kinds    logits

    Vocabulary scores are given for every position and without the padding of the token table.
    """
    match pretrained.kind:
        case "encoder":
            pooled = {"pooler_output": module.encoder.pool(hidden, mask)} if pretrained.pooler else {}
            if (vectors := pretrained.vectors) and vectors.pools_whole_rows:
                pooled["sentence_embedding"] = vectors.of(hidden, mask)
            return pooled
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
    """Return last_hidden_state (B L D) and the outputs of the head. `mask` is True where there is a token."""
    params = unflatten(pretrained.params)

    def encode(params: Any) -> jax.Array:
        return module_of(pretrained, params).encoder(EncoderInput.from_mask(tokens, segments, mask))

    def apply_head(params: Any, hidden: jax.Array) -> dict[str, jax.Array]:
        return head_outputs(pretrained, module_of(pretrained, params), hidden, jnp.asarray(mask))

    hidden = jax.jit(encode)(params)  # compiled apart: models that differ only in their head share this program
    outputs = {"last_hidden_state": hidden, **jax.jit(apply_head)(params, hidden)}
    return {name: np.asarray(value) for name, value in outputs.items()}
