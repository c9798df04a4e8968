"""What a model gives for a batch, under the names that Hugging Face's models use."""

from typing import Any

import jax
import numpy as np

from bert_jax.convert.pretrained import Pretrained, module_of
from bert_jax.convert.rules import unflatten

Outputs = dict[str, np.ndarray]


def outputs(pretrained: Pretrained, tokens: np.ndarray, segments: np.ndarray, mask: np.ndarray) -> Outputs:
    """Hidden states and what the head makes of them; all of shape (B, L), `mask` True where there is a token.

    last_hidden_state (B L D) always; pooler_output (B D) of a bare encoder; prediction_logits (B L V) and
    seq_relationship_logits of a pre-training model; start_logits and end_logits (B L) of a span model; else logits.
    """

    def apply(params: Any) -> dict[str, jax.Array]:
        module = module_of(pretrained, params)
        hidden = module.encoder(tokens, segments, mask)
        found = {"last_hidden_state": hidden}
        match pretrained.kind:
            case "encoder":
                if pretrained.pooler:
                    found["pooler_output"] = module.encoder.pool(hidden, mask)
            case "masked_lm" | "pretrain":
                everywhere = np.broadcast_to(np.arange(tokens.shape[1]), tokens.shape)
                scores = module.masked_logits(hidden, everywhere)[..., : pretrained.model.vocab_size]
                if pretrained.kind == "masked_lm":
                    found["logits"] = scores
                else:
                    found["prediction_logits"] = scores
                    found["seq_relationship_logits"] = module.next_logits(hidden, mask)
            case "span":
                scores = module.logits(hidden, mask)
                found["start_logits"], found["end_logits"] = scores[..., 0], scores[..., 1]
            case _:
                found["logits"] = module.logits(hidden, mask)
        return found

    found = jax.jit(apply)(unflatten(pretrained.params))
    return {name: np.asarray(value) for name, value in found.items()}
