import pytest

from bert_jax.errors import UserError
from bert_jax.model.encoder import parameter_count
from bert_jax.model.presets import PRESETS, resolve

PUBLISHED = {
    "bert-base-uncased": 109_482_240,
    "bert-large-uncased": 335_141_888,
    "bert-tiny": 4_385_920,
    "bert-mini": 11_170_560,
    "bert-small": 28_763_648,
    "bert-medium": 41_373_184,
    "bert-base-multilingual-cased": 177_853_440,
    "bert-base-multilingual-uncased": 167_356_416,
    "roberta-base": 124_645_632,
    "roberta-large": 355_359_744,
    "distilroberta-base": 82_118_400,
    "xlm-roberta-base": 278_043_648,
    "xlm-roberta-large": 559_890_432,
    "minilm-l6": 22_713_216,
    "minilm-l12": 33_360_000,
}
PUBLISHED_WITHOUT_POOLER = {
    "distilbert-base-uncased": 66_362_880,
    "distilbert-base-cased": 65_190_912,
    "distilbert-base-multilingual-cased": 134_734_080,
    "electra-small": 13_483_008,
    "electra-base": 108_891_648,
    "electra-large": 334_092_288,
    "modernbert-base": 149_014_272,
    "modernbert-large": 394_781_696,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts_are_the_published_ones(name):
    assert parameter_count(PRESETS[name]) == PUBLISHED[name]


@pytest.mark.parametrize("name", PUBLISHED_WITHOUT_POOLER)
def test_parameter_counts_without_pooler_are_the_published_ones(name):
    assert parameter_count(PRESETS[name], pooler=False) == PUBLISHED_WITHOUT_POOLER[name]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bert-bse-uncased", "unknown model 'bert-bse-uncased'; did you mean 'bert-base-uncased'?"),
        ("gpt", "unknown model 'gpt'; known: bert-base-uncased, "),
        ("nowhere.toml", "nowhere.toml: no such file"),
    ],
)
def test_unknown_models_are_refused_with_a_suggestion(name, message):
    with pytest.raises(UserError) as error:
        resolve(name)
    assert str(error.value).startswith(message)


def test_model_files_take_the_vocabulary_size_of_the_run(tmp_path):
    path = tmp_path / "odd.toml"
    path.write_text("width = 12\ndepth = 3\nheads = 2\nmlp_width = 20\n")
    assert resolve(str(path), 41).vocab_size == 41
    assert resolve("bert-tiny", 41).padded_vocab_size == 128
    with pytest.raises(UserError, match="missing vocab_size"):
        resolve(str(path))
    path.write_text("width = 12\ndepth = 3\nheads = 2\nmlp-width = 20\nlayers = 2\n")
    with pytest.raises(UserError, match="unknown key 'layers'"):
        resolve(str(path), 41)
