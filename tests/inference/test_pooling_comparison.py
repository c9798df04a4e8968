"""The poolings of an encoder from one pass over its layers."""

import numpy as np
import pytest
from foreign import write_tiny_bert

from bert_jax.convert.hugging_face.sentence_transformers import write_sentence_transformers
from bert_jax.convert.source import read_model
from bert_jax.inference.embedder import Embedder, load_embedder, load_pooling_comparison
from bert_jax.model.pooling import COMPARED_POOLINGS
from bert_jax.model.vectors import VectorConfig

RNG = np.random.default_rng(0)
TEXTS = [" ".join(f"word{n}" for n in RNG.integers(1, 30, size)) for size in RNG.integers(1, 9, 80)]
PROMPTS = {"all": "word4 "}


@pytest.fixture
def model(tmp_path):
    """Write an embedder with a prompt and a pooling of its own."""
    own = VectorConfig(
        pooling=("cls", "max"), normalize=True, width=17, prompts=PROMPTS, prompt="all", include_prompt=False
    )
    (tmp_path / "st").mkdir()
    write_sentence_transformers(write_tiny_bert(tmp_path / "hf", "encoder").changed(vectors=own), tmp_path / "st")
    return tmp_path / "st"


def test_one_pass_gives_the_vectors_of_each_pooling(model):
    comparison = load_pooling_comparison(model)
    prompt = PROMPTS["all"]
    own, *others = comparison.vectors_of(comparison.embedder.encode(TEXTS, prompt), prompt)
    np.testing.assert_allclose(own, load_embedder(model).embed(TEXTS), atol=1e-5)
    by_name = dict(zip(COMPARED_POOLINGS, others, strict=True))
    for name in ("cls", "mean", "max", "weightedmean"):
        raw = VectorConfig(pooling=(name,), prompts=PROMPTS, prompt="all", include_prompt=False)
        expected = Embedder(read_model(model).changed(vectors=raw)).embed(TEXTS)
        np.testing.assert_allclose(by_name[name], expected, atol=1e-5)


def test_poolings_of_layers_are_those_of_their_hidden_states(tmp_path):
    transformers = pytest.importorskip("transformers", reason="hidden states are compared with those of transformers")
    torch = pytest.importorskip("torch")
    write_tiny_bert(tmp_path / "hf", "encoder")
    comparison = load_pooling_comparison(tmp_path / "hf")
    encoded = comparison.embedder.encode(TEXTS)
    by_name = dict(zip(COMPARED_POOLINGS, comparison.vectors_of(encoded)[1:], strict=True))
    theirs = transformers.AutoModel.from_pretrained(tmp_path / "hf").eval()
    for i in (0, 5, 33):
        row = torch.tensor(encoded.tokens[encoded.offsets[i] : encoded.offsets[i + 1]][None]).long()
        with torch.no_grad():
            states = theirs(row, output_hidden_states=True).hidden_states
        for name, layers in (("last two layers", (-2, -1)), ("first and last layer", (1, -1))):
            expected = (sum(states[layer] for layer in layers) / 2).mean(dim=1)[0].numpy()
            np.testing.assert_allclose(by_name[f"mean of the {name}"][i], expected, atol=1e-5)
