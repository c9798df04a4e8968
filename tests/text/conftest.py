"""Tokenizer folders shared by the tests of this package."""

from pathlib import Path

import pytest
from library_folders import make_folders

from bert_jax.text import load_tokenizer


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> dict[str, Path]:
    """Return one tokenizer folder of each kind."""
    return make_folders(tmp_path_factory)


@pytest.fixture(scope="session")
def loaded(folders):
    """Return our tokenizer and Hugging Face's for each kind of folder."""
    transformers = pytest.importorskip("transformers")
    return {
        kind: (load_tokenizer(folder), transformers.AutoTokenizer.from_pretrained(folder))
        for kind, folder in folders.items()
    }
