"""The environment of all tests, set before JAX is first imported, and fixtures that several packages' tests share."""

import os
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")  # so that one process can build any small mesh
# Compile in a sixth of the time: without optimisation, with the older code generator, which jax 0.11 dropped, and each
# program as one piece.
OLD_CODE_GENERATOR = " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
XLA_FLAGS = "--xla_backend_optimization_level=0" + OLD_CODE_GENERATOR * (version("jaxlib") < "0.11")
os.environ.setdefault("XLA_FLAGS", XLA_FLAGS)
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["BERT_JAX_CACHE"] = ""  # no cache among the user's files; tests of the cache name a folder

# Annotations, shapes included, are checked at run time.
install_import_hook(["bert_jax.model", "bert_jax.tasks", "bert_jax.random_bits"], "beartype.beartype")


@pytest.fixture(scope="session", autouse=True)
def compile_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep compiled programs for all tests and workers of this session, and for the processes that they start.

    Many tests compile the same small model.
    """
    import jax

    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    settings = {
        "jax_compilation_cache_dir": str(shared / "compiled"),
        "jax_persistent_cache_min_compile_time_secs": 0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            jax.config.update(name, value)
            patch.setenv(name.upper(), str(value))
        yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real text, GLUE files and vocabularies: $BERT_JAX_TEST_DATA, or shared/data beside the checkout."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("BERT_JAX_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real test data at {folder}; set BERT_JAX_TEST_DATA")
    return folder
