"""Data sets prepared by TensorFlow Datasets, made and read offline."""

import subprocess
import sys
from pathlib import Path

import pytest
from reader import found, read

from bert_jax.data.formats.tfds import TfdsAddress
from bert_jax.errors import UserError
from data_prep.corpus.reading import Losses, Reading
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
    "given, asked",
    [
        ("tfds:a", TfdsAddress("a", None, None)),
        ("tfds:glue/mrpc?split=validation", TfdsAddress("glue/mrpc", None, "validation")),
        ("tfds:a@gs://bucket/tfds", TfdsAddress("a", "gs://bucket/tfds", None)),
        ("tfds:a/b:1.0.0@/data/tfds?split=train[:10%]", TfdsAddress("a/b:1.0.0", "/data/tfds", "train[:10%]")),
    ],
)
def test_the_notation_says_name_folder_and_split(given, asked):
    assert TfdsAddress.read(given) == asked and str(asked) == given


@pytest.mark.parametrize("given", ["tfds:", "tfds:a?splt=b", "tfds:a?split=", "tfds:@b"])
def test_another_notation_is_refused(given):
    with pytest.raises(UserError, match="tfds:NAME@FOLDER"):
        TfdsAddress.read(given)


def test_examples_are_read_once_each_whatever_the_pieces(data_dir):
    source = found(f"tfds:tiny@{data_dir}")
    assert source.name == "tiny/1.0.0/train" and source.rows == 23 and source.text_bytes > 23
    losses = Losses()
    documents = read(source, 5, losses)
    assert documents == read(source)
    assert len(documents) == 22 and losses["documents_empty"] == 1
    assert all(text.startswith("ba de fing. gon la\nming.") and " zwölf " in text for _, text in documents)


@pytest.mark.parametrize("split, rows", [("validation", 5), ("train[:10]", 10), ("train+validation", 28)])
def test_splits_are_chosen(data_dir, split, rows):
    source = found(f"tfds:tiny@{data_dir}?split={split}")
    losses = Losses()
    assert source.rows == rows == len(read(source, losses=losses)) + losses["documents_empty"]


@pytest.mark.parametrize(
    "given, says",
    [
        ("tfds:nothing@{}", r"no such data set is prepared in .*download_and_prepare"),
        ("tfds:wikipedia/20230601.en@{}", r"prepared in .*download_and_prepare"),
        ("tfds:tiny@{}?split=test", r"no split 'test'; it has train, validation"),
        ("tfds:tiny@{}?split=train[:x]", "cannot be read"),
    ],
)
def test_a_data_set_that_is_not_there_is_one_line(data_dir, given, says):
    with pytest.raises(UserError, match=says) as error:
        find_prepared(given.format(data_dir), Reading())
    assert "\n" not in str(error.value)


def test_a_feature_that_is_no_text_is_named(data_dir):
    with pytest.raises(UserError, match=r"no feature 'body'; it has label, other, text. Use --field"):
        found(f"tfds:tiny@{data_dir}", field="body")
    source = found(f"tfds:tiny@{data_dir}", field="label")
    with pytest.raises(UserError, match=r"example 0: field 'label' is int, not a string"):
        read(source, field="label")


def test_shards_come_of_a_data_set(tmp_path, configure, data_dir):
    inputs = (f"tfds:tiny@{data_dir}", f"tfds:tiny@{data_dir}?split=validation")
    manifest = build_shards(configure(input=inputs, held_out=0.0))
    assert manifest.statistics["documents"] == 26 and manifest.statistics["documents_empty"] == 2
    again = build_shards(configure("two", input=inputs, held_out=0.0, workers=2))
    assert manifest.fingerprint == again.fingerprint


def test_reading_brings_neither_tensorflow_nor_jax(data_dir):
    code = (
        "import sys; from data_prep.corpus.sources import find_sources\n"
        "from data_prep.corpus.documents import read_documents\n"
        "from data_prep.corpus.parts import Piece; from data_prep.corpus.reading import *\n"
        f"(source,), _ = find_sources(('tfds:tiny@{data_dir}',))\n"
        "assert list(read_documents(Piece(source), Reading(), Losses()))\n"
        "assert not {'jax', 'tensorflow'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path.cwd())
    assert done.returncode == 0, done.stderr
