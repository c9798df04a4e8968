"""Fixtures that several packages' tests share. The environment is set before JAX is first imported."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")  # so that one process can build any small mesh
# Compiles in a fifth of the time: without optimisation, and by the older of XLA's two code generators.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["BERT_JAX_CACHE"] = ""  # nothing of the tests among the user's files; those of the cache name a folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real text, GLUE files and vocabularies: $BERT_JAX_TEST_DATA, or shared/data beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("BERT_JAX_TEST_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real test data at {folder}; set BERT_JAX_TEST_DATA")
    return folder
