"""Vectors equal those of sentence-transformers, for folders that it saves and folders that we write."""

import numpy as np
import pytest
from foreign import write_tiny_bert

import bert_jax
from bert_jax.convert.hugging_face.sentence_transformers import write_sentence_transformers
from bert_jax.convert.source import read_model

library = pytest.importorskip(
    "sentence_transformers", minversion="6", reason="vectors are compared with those of sentence-transformers"
)
modules = pytest.importorskip("sentence_transformers.sentence_transformer.modules")

LONG = " ".join(f"word{i}" for i in range(1, 30))
TEXTS = ["word3 word4 word5", "word9", LONG, "word1 word2"]
PROMPTS = {"query": "word1 word2 word7 ", "long": LONG}
ALL = ("lasttoken", "cls", "max", "weightedmean", "mean_sqrt_len_tokens", "mean")


@pytest.mark.parametrize(
    ("pooling", "include_prompt", "normalize", "width", "side"),
    [(ALL, True, False, None, "left"), (ALL, False, True, 50, "right"), ("mean", False, False, 5, "right")],
)
def test_vectors_equal_those_of_sentence_transformers(tmp_path, pooling, include_prompt, normalize, width, side):
    write_tiny_bert(tmp_path / "hf", "encoder")
    steps = [
        modules.Transformer(str(tmp_path / "hf"), processor_kwargs={"model_max_length": 13, "truncation_side": side}),
        modules.Pooling(12, pooling, include_prompt=include_prompt),
        *[modules.Normalize()] * normalize,
    ]
    settings = {"prompts": PROMPTS, "default_prompt_name": "query", "truncate_dim": width}
    library.SentenceTransformer(modules=steps, device="cpu", **settings).save(str(tmp_path / "theirs"))
    ours = read_model(tmp_path / "theirs")
    assert ours.max_length == 13
    (tmp_path / "ours").mkdir()
    write_sentence_transformers(ours, tmp_path / "ours")
    embedder = bert_jax.load_embedder(tmp_path / "theirs")
    rewritten = library.SentenceTransformer(str(tmp_path / "ours"), device="cpu")
    for prompt in ({}, {"prompt_name": "document"}, {"prompt_name": "long"}, {"prompt": "word4"}):
        vectors = embedder.embed(TEXTS, **prompt)
        np.testing.assert_allclose(vectors, rewritten.encode(TEXTS, **prompt), atol=1e-5)
        original = library.SentenceTransformer(str(tmp_path / "theirs"), device="cpu")
        np.testing.assert_allclose(vectors, original.encode(TEXTS, **prompt), atol=1e-5)
