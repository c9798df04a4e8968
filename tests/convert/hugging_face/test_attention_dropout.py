"""Attention dropout is read from config.json, and written where it differs from what Hugging Face assumes."""

import dataclasses

import pytest
from tiny import TINY

from bert_jax.config import from_table, to_toml, with_dropout
from bert_jax.convert.hugging_face.families import FAMILIES
from bert_jax.errors import UserError


@pytest.mark.parametrize("name", FAMILIES)
def test_attention_dropout_survives_a_round_trip(name):
    family = FAMILIES[name]
    key, assumed = family.attention_dropout
    model = family.read({}, "config.json")
    assert model.attention_dropout is None and model.attention_rate == model.dropout == assumed
    model = dataclasses.replace(model, dropout=0.3, attention_dropout=0.25)
    table = family.write(model)
    assert table[key] == 0.25 and family.read(table, "config.json") == model
    alike = with_dropout(model, 0.2)
    assert alike.attention_dropout is None and family.write(alike)[key] == 0.2 and family.holds(alike)


def test_attention_dropout_must_be_a_number():
    with pytest.raises(UserError, match="attention_probs_dropout_prob is 'high', float is expected"):
        FAMILIES["bert"].read({"attention_probs_dropout_prob": "high"}, "config.json")


def test_models_without_attention_dropout_are_stored_as_before():
    assert "attention_dropout" not in to_toml(TINY)
    table = dataclasses.asdict(dataclasses.replace(TINY, attention_dropout=0.5))
    assert from_table(type(TINY), table, "model.toml").attention_rate == 0.5
