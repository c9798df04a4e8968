"""Outputs, losses and gradients equal those of Hugging Face's BertForPreTraining with the same weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny import TINY, pretraining_batch

from bert_jax.config import MeshConfig, ModelConfig
from bert_jax.model.encoder_input import EncoderInput
from bert_jax.model.presets import PRESETS
from bert_jax.sharding import make_mesh
from bert_jax.tasks.pretraining_task import PretrainingTask
from bert_jax.train.program import Program

torch = pytest.importorskip("torch", reason="outputs are compared with Hugging Face's, which runs on torch")
transformers = pytest.importorskip("transformers", reason="outputs are compared with Hugging Face's")


def reference(config: ModelConfig) -> torch.nn.Module:
    """Return a BertForPreTraining of this shape. All weights are random, biases and norms too, so that a swap shows."""
    torch.manual_seed(0)
    settings = transformers.BertConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.width,
        num_hidden_layers=config.depth,
        num_attention_heads=config.heads,
        intermediate_size=config.mlp_width,
        max_position_embeddings=config.max_length,
        type_vocab_size=config.segments,
    )
    model = transformers.BertForPreTraining(settings).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if name.endswith("LayerNorm.weight") else 0.0, 0.1 if parameter.ndim == 1 else 0.05)
    return model


def converted(model: torch.nn.Module, config: ModelConfig) -> dict:
    """Return the weights of `model` under our names, mapped here by hand, independent of the converter."""
    theirs = {name: value.numpy().copy() for name, value in model.state_dict().items()}  # or JAX may alias them
    used_names = set()

    def take(name: str) -> np.ndarray:
        used_names.add(name)
        return theirs[name]

    def linear(name: str) -> dict:
        return {"kernel": take(f"{name}.weight").T, "bias": take(f"{name}.bias")}

    def norm(name: str) -> dict:
        return {"scale": take(f"{name}.weight"), "bias": take(f"{name}.bias")}

    def padded(array: np.ndarray) -> np.ndarray:
        return np.pad(array, [(0, config.padded_vocab_size - len(array)), *[(0, 0)] * (array.ndim - 1)])

    def block(prefix: str) -> dict:
        return {
            "attention": {
                "query": linear(f"{prefix}.attention.self.query"),
                "key": linear(f"{prefix}.attention.self.key"),
                "value": linear(f"{prefix}.attention.self.value"),
                "output": linear(f"{prefix}.attention.output.dense"),
            },
            "attention_norm": norm(f"{prefix}.attention.output.LayerNorm"),
            "mlp": {"up": linear(f"{prefix}.intermediate.dense"), "down": linear(f"{prefix}.output.dense")},
            "mlp_norm": norm(f"{prefix}.output.LayerNorm"),
        }

    tables = "bert.embeddings"
    ours = {
        "encoder": {
            "embeddings": {
                "tokens": padded(take(f"{tables}.word_embeddings.weight")),
                "positions": take(f"{tables}.position_embeddings.weight"),
                "segments": take(f"{tables}.token_type_embeddings.weight"),
                "norm": norm(f"{tables}.LayerNorm"),
            },
            "blocks": {i: block(f"bert.encoder.layer.{i}") for i in range(config.depth)},
            "pooler": {"dense": linear("bert.pooler.dense")},
        },
        "masked_lm": {
            "transform": linear("cls.predictions.transform.dense"),
            "norm": norm("cls.predictions.transform.LayerNorm"),
            "bias": padded(take("cls.predictions.bias")),
        },
        "next_sentence": linear("cls.seq_relationship"),
    }
    tied = {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias", "bert.embeddings.position_ids"}
    assert theirs.keys() - tied == used_names
    return ours


@pytest.mark.parametrize(
    ("config", "rows", "length"), [(TINY, 3, 7), (PRESETS["bert-mini"], 2, 33)], ids=["tiny", "mini"]
)
def test_outputs_and_losses_equal_those_of_hugging_face(config, rows, length):
    theirs = reference(config)
    program = Program(PretrainingTask(config), make_mesh(MeshConfig(1)))
    params = program.place_params(converted(theirs, config))
    batch = pretraining_batch(rows, length)
    inputs = EncoderInput.from_batch(batch)
    segments, mask = inputs.segments, inputs.mask
    assert 0 < np.sum(segments) < np.sum(mask) < mask.size

    @jax.jit
    def apply(params):
        module = program.module(params)
        hidden = module.encoder(inputs)
        everywhere = jnp.broadcast_to(jnp.arange(length), (rows, length))
        states = module.encoder.states(inputs)
        return hidden, states, module.masked_logits(hidden, everywhere), module.next_logits(hidden, mask)

    hidden, states, masked_logits, next_logits = apply(params)
    with torch.no_grad():
        tensors = {"input_ids": batch["tokens"], "token_type_ids": segments, "attention_mask": mask}
        expected = theirs(
            **{k: torch.tensor(np.array(v)).long() for k, v in tensors.items()}, output_hidden_states=True
        )
    tokens = np.asarray(mask)  # states at padding have no meaning
    np.testing.assert_allclose(hidden[tokens], expected.hidden_states[-1].numpy()[tokens], atol=1e-5)
    for ours, other in zip(states, expected.hidden_states, strict=True):  # the embeddings, and each block
        np.testing.assert_allclose(ours[tokens], other.numpy()[tokens], atol=1e-5)
    logits = np.asarray(masked_logits)[..., : config.vocab_size]
    np.testing.assert_allclose(logits[tokens], expected.prediction_logits.numpy()[tokens], atol=1e-5)
    np.testing.assert_allclose(next_logits, expected.seq_relationship_logits.numpy(), atol=1e-5)

    sums, counts = jax.device_get(program.sums(params, program.place(batch)))
    labels = torch.full((rows, length), -100)
    for row in range(rows):
        count = batch["masked_count"][row]
        positions = batch["masked_positions"][row, :count]
        labels[row, torch.tensor(positions).long()] = torch.tensor(batch["masked_labels"][row, :count]).long()
    masked = int((labels >= 0).sum())
    assert counts["mlm_loss"] == masked == batch["masked_count"].sum()
    cross_entropy = torch.nn.functional.cross_entropy
    masked_loss = cross_entropy(expected.prediction_logits.flatten(0, 1), labels.flatten(), reduction="sum")
    next_loss = cross_entropy(
        expected.seq_relationship_logits, torch.tensor(batch["next_label"]).long(), reduction="sum"
    )
    assert sums["mlm_loss"] == pytest.approx(masked_loss.item(), rel=1e-5)
    assert sums["nsp_loss"] == pytest.approx(next_loss.item(), rel=1e-5)
    right = (expected.prediction_logits.argmax(-1) == labels).sum().item()
    assert sums["mlm_accuracy"] == right


def test_gradients_equal_those_of_hugging_face():
    theirs = reference(TINY)
    task = PretrainingTask(TINY)
    graph = nnx.graphdef(nnx.eval_shape(lambda: task.build(nnx.Rngs(0))))
    batch = pretraining_batch()
    segments, mask = EncoderInput.from_batch(batch)[1:3]

    def loss(params):
        sums = task.sums(nnx.merge(graph, params), jax.tree.map(jnp.asarray, batch), None)
        return sums["mlm_loss"] / 10 + sums["nsp_loss"]

    ours = jax.jit(jax.grad(loss))(converted(theirs, TINY))
    inputs = {"input_ids": batch["tokens"], "token_type_ids": segments, "attention_mask": mask}
    out = theirs(**{k: torch.tensor(np.array(v)).long() for k, v in inputs.items()})
    at = torch.tensor(batch["masked_positions"]).long()
    logits = out.prediction_logits.gather(1, at[..., None].expand(-1, -1, TINY.vocab_size))
    real = torch.arange(at.shape[1]) < torch.tensor(batch["masked_count"])[:, None]
    cross_entropy = torch.nn.functional.cross_entropy
    masked = cross_entropy(logits[real], torch.tensor(batch["masked_labels"]).long()[real], reduction="sum")
    following = cross_entropy(out.seq_relationship_logits, torch.tensor(batch["next_label"]).long(), reduction="sum")
    (masked / 10 + following).backward()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(parameter.grad)
    for gradient, reference_gradient in zip(
        jax.tree.leaves(ours), jax.tree.leaves(converted(theirs, TINY)), strict=True
    ):
        np.testing.assert_allclose(gradient, reference_gradient, atol=2e-5)
