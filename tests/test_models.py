import pytest

from bert_jax.errors import UserError
from bert_jax.model.encoder import parameter_count
from bert_jax.models import PRESETS, resolve

PUBLISHED = {
    "bert-base-uncased": 109_482_240,
    "bert-large-uncased": 335_141_888,
    "bert-tiny": 4_385_920,
    "bert-mini": 11_170_560,
    "bert-small": 28_763_648,
    "bert-medium": 41_373_184,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_as_many_as_published(name):
    assert parameter_count(PRESETS[name]) == PUBLISHED[name]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("bert-bse-uncased", "unknown model 'bert-bse-uncased'; did you mean 'bert-base-uncased'?"),
        ("gpt", "unknown model 'gpt'; known: bert-base-uncased, "),
        ("nowhere.toml", "nowhere.toml: no such file"),
    ],
)
def test_an_unknown_model_is_named_with_the_way_out(name, says):
    with pytest.raises(UserError) as error:
        resolve(name)
    assert str(error.value).startswith(says)


def test_a_file_describes_a_model_and_the_run_its_vocabulary(tmp_path):
    path = tmp_path / "odd.toml"
    path.write_text("width = 12\ndepth = 3\nheads = 2\nmlp_width = 20\n")
    assert resolve(str(path), 41).vocab_size == 41
    assert resolve("bert-tiny", 41).padded_vocab_size == 128
    with pytest.raises(UserError, match="missing vocab_size"):
        resolve(str(path))
    path.write_text("width = 12\ndepth = 3\nheads = 2\nmlp-width = 20\nlayers = 2\n")
    with pytest.raises(UserError, match="unknown key 'layers'"):
        resolve(str(path), 41)
