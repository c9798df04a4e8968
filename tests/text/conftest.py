"""Tokenizer folders that the tests of this package share."""

from pathlib import Path

import pytest
from library_folders import make_folders

from bert_jax.text import load_tokenizer


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> dict[str, Path]:
    """One folder of each kind."""
    return make_folders(tmp_path_factory)


@pytest.fixture(scope="session")
def loaded(folders):
    transformers = pytest.importorskip("transformers")
    return {
        kind: (load_tokenizer(folder), transformers.AutoTokenizer.from_pretrained(folder))
        for kind, folder in folders.items()
    }
