"""Data sets of TensorFlow Datasets, prepared and read offline."""

import subprocess
import sys
from pathlib import Path

import pytest
from reader import read, source_of

from bert_jax.data.formats.tfds import TfdsAddress
from bert_jax.errors import UserError
from data_prep.corpus.reader_contract import CorpusOptions, NotedCounter
from data_prep.corpus.tfds_sets import find_prepared
from data_prep.job.build import build_shards

MAKE = """
import sys
import numpy as np
import tensorflow_datasets as tfds
class Tiny(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    def _info(self):
        features = {"text": tfds.features.Text(), "other": tfds.features.Text(), "label": np.int64}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))
    def _split_generators(self, manager):
        return {"train": self._generate_examples(23), "validation": self._generate_examples(5)}
    def _generate_examples(self, count):
        for i in range(count):
            text = "ba de fing. gon la\\r\\nming." * (i % 3 + 1) + f" zwölf {i}"
            yield i, {"text": text if i != 4 else "", "other": "bytes", "label": i}
Tiny(data_dir=sys.argv[1], file_format="array_record").download_and_prepare()
assert not {"tensorflow", "jax"} & set(sys.modules)
"""


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tfds")
    (folder / "tiny.py").write_text(MAKE)
    subprocess.run([sys.executable, str(folder / "tiny.py"), str(folder)], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize(
    "name, expected",
    [
        ("tfds:a", TfdsAddress("a", None, None)),
        ("tfds:glue/mrpc?split=validation", TfdsAddress("glue/mrpc", None, "validation")),
        ("tfds:a@gs://bucket/tfds", TfdsAddress("a", "gs://bucket/tfds", None)),
        ("tfds:a/b:1.0.0@/data/tfds?split=train[:10%]", TfdsAddress("a/b:1.0.0", "/data/tfds", "train[:10%]")),
    ],
)
def test_notation_has_name_folder_and_split(name, expected):
    assert TfdsAddress.read(name) == expected and str(expected) == name


@pytest.mark.parametrize("name", ["tfds:", "tfds:a?splt=b", "tfds:a?split=", "tfds:@b"])
def test_malformed_notation_is_refused(name):
    with pytest.raises(UserError, match="tfds:NAME@FOLDER"):
        TfdsAddress.read(name)


def test_each_example_is_in_exactly_one_piece(data_dir):
    source = source_of(f"tfds:tiny@{data_dir}")
    assert source.name == "tiny/1.0.0/train" and source.rows == 23 and source.text_bytes > 23
    counts = NotedCounter()
    documents = read(source, 5, counts)
    assert documents == read(source)
    assert len(documents) == 22 and counts["documents_empty"] == 1
    assert all(text.startswith("ba de fing. gon la\nming.") and " zwölf " in text for _, text in documents)


@pytest.mark.parametrize("split, rows", [("validation", 5), ("train[:10]", 10), ("train+validation", 28)])
def test_split_is_read(data_dir, split, rows):
    source = source_of(f"tfds:tiny@{data_dir}?split={split}")
    counts = NotedCounter()
    assert source.rows == rows == len(read(source, counts=counts)) + counts["documents_empty"]


@pytest.mark.parametrize(
    "name, says",
    [
        ("tfds:nothing@{}", r"no such data set is prepared in .*download_and_prepare"),
        ("tfds:wikipedia/20230601.en@{}", r"prepared in .*download_and_prepare"),
        ("tfds:tiny@{}?split=test", r"no split 'test'; it has train, validation"),
        ("tfds:tiny@{}?split=train[:x]", "cannot be read"),
    ],
)
def test_missing_data_set_is_a_one_line_error(data_dir, name, says):
    with pytest.raises(UserError, match=says) as error:
        find_prepared(name.format(data_dir), CorpusOptions())
    assert "\n" not in str(error.value)


def test_feature_that_is_not_text_is_named(data_dir):
    with pytest.raises(UserError, match=r"no feature 'body'; it has label, other, text. Use --field"):
        source_of(f"tfds:tiny@{data_dir}", field="body")
    source = source_of(f"tfds:tiny@{data_dir}", field="label")
    with pytest.raises(UserError, match=r"example 0: field 'label' is int, not a string"):
        read(source, field="label")


def test_shards_are_made_from_a_data_set(tmp_path, configure, data_dir):
    inputs = (f"tfds:tiny@{data_dir}", f"tfds:tiny@{data_dir}?split=validation")
    manifest = build_shards(configure(input=inputs, held_out=0.0))
    assert manifest.statistics["documents"] == 26 and manifest.statistics["documents_empty"] == 2
    again = build_shards(configure("two", input=inputs, held_out=0.0, workers=2))
    assert manifest.fingerprint == again.fingerprint


def test_reading_imports_neither_tensorflow_nor_jax(data_dir):
    code = (
        "import sys; from data_prep.corpus.sources import find_sources\n"
        "from data_prep.corpus.documents import read_documents\n"
        "from data_prep.corpus.parts import Piece; from data_prep.corpus.reader_contract import *\n"
        f"(source,), _ = find_sources(('tfds:tiny@{data_dir}',))\n"
        "assert list(read_documents(Piece(source), CorpusOptions(), NotedCounter()))\n"
        "assert not {'jax', 'tensorflow'} & set(sys.modules)"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path.cwd())
    assert process.returncode == 0, process.stderr
