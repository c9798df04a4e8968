"""Every family and head of Hugging Face gives the same outputs and is written with the same tensors."""

import numpy as np
import pytest

from bert_jax.convert.hugging_face.families import FAMILIES
from bert_jax.convert.hugging_face.model_folder import read_huggingface, write_huggingface
from bert_jax.convert.hugging_face.weight_files import open_weights
from bert_jax.convert.named_outputs import model_outputs
from bert_jax.convert.proof import compare, require_close, transformers_outputs
from bert_jax.convert.proof_batches import random_batch
from bert_jax.model.encoder_input import EncoderInput
from bert_jax.pretrained import module_of
from bert_jax.trees import unflatten

torch = pytest.importorskip("torch", reason="outputs are compared with Hugging Face's, which runs on torch")
transformers = pytest.importorskip("transformers", reason="outputs are compared with Hugging Face's")

ODD = {"vocab_size": 37, "initializer_range": 0.2}
BERT_LIKE = {
    **ODD,
    "hidden_size": 12,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "max_position_embeddings": 17,
}
SMALL = {
    "bert": {**BERT_LIKE, "hidden_act": "gelu_new"},
    "roberta": {**BERT_LIKE, "type_vocab_size": 1, "pad_token_id": 1, "layer_norm_eps": 1e-5},
    "xlm-roberta": {**BERT_LIKE, "type_vocab_size": 1, "pad_token_id": 1, "layer_norm_eps": 1e-5},
    "camembert": {**BERT_LIKE, "type_vocab_size": 1, "pad_token_id": 1},
    "distilbert": {
        **ODD,
        "dim": 12,
        "n_layers": 3,
        "n_heads": 2,
        "hidden_dim": 20,
        "max_position_embeddings": 17,
    },
    "electra": {**BERT_LIKE, "embedding_size": 8},
    "modernbert": {
        **BERT_LIKE,
        "num_hidden_layers": 5,
        "local_attention": 4,
        "pad_token_id": 0,
        "cls_token_id": 1,
        "sep_token_id": 2,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
}
CLASSIFIERS = ("ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering", "ForMultipleChoice")
HEADS = ("Model", "ForMaskedLM", "ForPreTraining", *CLASSIFIERS)
CASES = [(family, head) for family in SMALL for head in HEADS if hasattr(transformers, FAMILIES[family].classes + head)]

# The folder, version 4's name for dtype, and version 4's ModernBERT key in place of layer_types.
NOT_COMPARED = ("_name_or_path", "torch_dtype", "global_attn_every_n_layers")


def save_random_model(family: str, head: str, folder, **settings) -> "torch.nn.Module":
    """Save a transformers model with random weights and return it."""
    torch.manual_seed(0)
    labels = {i: f"class {i}" for i in range(3)} if "Classification" in head else {0: "a", 1: "b"}
    table = {**SMALL[family], "id2label": labels, "label2id": {v: k for k, v in labels.items()}, **settings}
    config = transformers.AutoConfig.for_model(family, **table)
    config._attn_implementation = "eager"
    model = getattr(transformers, FAMILIES[family].classes + head)(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.normal_(1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0, 0.1)
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize(("family", "head"), CASES, ids=lambda value: str(value))
def test_outputs_agree_and_tensors_round_trip_bit_for_bit(tmp_path, family, head):
    reference = save_random_model(family, head, tmp_path / "theirs")
    model = read_huggingface(tmp_path / "theirs")
    batch = random_batch(model, length=11)
    assert not batch.mask.all() and batch.segments.any() == (model.model.segments > 1)
    expected = transformers_outputs(model, tmp_path / "theirs", batch)
    require_close(compare(model_outputs(model, batch.tokens, batch.segments, batch.mask), expected, batch.mask))
    (tmp_path / "back").mkdir()
    write_huggingface(model, tmp_path / "back")
    before, after = open_weights(tmp_path / "theirs"), open_weights(tmp_path / "back")
    assert set(before) == set(after)
    for name in before:
        assert before[name].dtype == after[name].dtype
        assert before.read(name).tobytes() == after.read(name).tobytes()
    assert config_of(reference, tmp_path / "back") == config_of(reference, tmp_path / "theirs")


@pytest.mark.parametrize("family", SMALL)
def test_states_of_every_layer_agree(tmp_path, family):
    reference = save_random_model(family, "Model", tmp_path / "theirs")
    model = read_huggingface(tmp_path / "theirs")
    batch = random_batch(model, length=11)
    names = {"input_ids": batch.tokens, "attention_mask": batch.mask, "token_type_ids": batch.segments}
    if family in ("distilbert", "modernbert"):
        del names["token_type_ids"]
    with torch.no_grad():
        inputs = {name: torch.tensor(array.astype(int)) for name, array in names.items()}
        expected = reference(**inputs, output_hidden_states=True).hidden_states
    encoder = module_of(model, unflatten(model.params)).encoder
    states = encoder.states(EncoderInput.from_mask(batch.tokens, batch.segments, batch.mask))
    for ours, theirs in zip(states, expected, strict=True):
        np.testing.assert_allclose(ours[batch.mask], theirs.numpy()[batch.mask], atol=2e-5)


def config_of(model: "torch.nn.Module", folder) -> dict:
    table = type(model).from_pretrained(folder).config.to_dict()
    return {name: value for name, value in table.items() if name not in NOT_COMPARED}
