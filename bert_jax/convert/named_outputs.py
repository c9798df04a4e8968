"""The outputs of a model for a batch, named as in Hugging Face's models."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from bert_jax.model.encoder_input import EncoderInput
from bert_jax.pretrained import Pretrained, module_of
from bert_jax.registry import HEADS, load_object
from bert_jax.trees import unflatten

NamedOutputs = dict[str, np.ndarray]
HiddenStates = Float[Array, "B L D"]
Mask = Bool[Array, "B L"]


def head_outputs(pretrained: Pretrained, module: Any, hidden: HiddenStates, mask: Mask) -> dict[str, jax.Array]:
    """Return the outputs of the head by name.

    bare encoder   pooler_output (B D) with a pooler, sentence_embedding (B E) with a vector configuration
    pretrain       prediction_logits (B L V) and seq_relationship_logits (B 2)
    span           start_logits and end_logits (B L)
    other kinds    logits

    Vocabulary scores are given for every position and without the padding of the token table.
    """
    outputs: dict[str, jax.Array] = load_object(HEADS[pretrained.kind].named_outputs)(pretrained, module, hidden, mask)
    return outputs


def logits(pretrained: Pretrained, module: Any, hidden: HiddenStates, mask: Mask) -> dict[str, jax.Array]:
    """Return the logits of a head that has nothing else."""
    return {"logits": module.logits(hidden, mask)}


def span_logits(pretrained: Pretrained, module: Any, hidden: HiddenStates, mask: Mask) -> dict[str, jax.Array]:
    """Return the start and end logits of each token."""
    both = module.logits(hidden, mask)
    return {"start_logits": both[..., 0], "end_logits": both[..., 1]}


def vocabulary_logits(pretrained: Pretrained, module: Any, hidden: HiddenStates, mask: Mask) -> dict[str, jax.Array]:
    """Return the masked LM logits of each token."""
    scores = module.masked_lm(hidden, module.encoder.embeddings.tokens[...])
    return {"logits": scores[..., : pretrained.model.vocab_size]}


def pretraining_logits(pretrained: Pretrained, module: Any, hidden: HiddenStates, mask: Mask) -> dict[str, jax.Array]:
    """Return the logits of the masked LM and of the next sentence."""
    scores = vocabulary_logits(pretrained, module, hidden, mask)["logits"]
    return {"prediction_logits": scores, "seq_relationship_logits": module.next_logits(hidden, mask)}


def vectors(pretrained: Pretrained, module: Any, hidden: HiddenStates, mask: Mask) -> dict[str, jax.Array]:
    """Return the output of the pooler and the sentence embedding of a bare encoder, if it has these."""
    pooled = {"pooler_output": module.encoder.pool(hidden, mask)} if pretrained.pooler else {}
    if (config := pretrained.vectors) and config.pools_whole_rows:
        pooled["sentence_embedding"] = config.of(hidden, mask)
    return pooled


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
