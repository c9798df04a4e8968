import json
import subprocess
import sys
from pathlib import Path

import pytest

from bert_jax.demo import corpus
from bert_jax.demo.corpus import Docstring, DocumentationFile, Module

MODULE = '''"""What this module is about."""
raise SystemExit("nobody may run this file")

class Cup:
    """A cup that holds tea."""

    def fill(self):
        """Pours tea into the cup.

        >>> Cup().fill()
        'full'
        """

if True:
    def plain():
        """Says something plain and short."""

_DESCRIPTION = """
The description that stands in a constant,
over more than one line.
"""
NUMBERS = """
No one wants to read this string here,
it is not called a description.
"""
add_newdoc("lib", "name", """
The documentation of something written in C.

It stands in a call.
""")
'''


@pytest.fixture
def package(tmp_path: Path) -> Path:
    root = tmp_path / "pkg"
    (root / "sub" / "tests").mkdir(parents=True)
    (root / "__init__.py").write_text(MODULE)
    (root / "sub" / "broken.py").write_text('"""The syntax of this file is wrong."""\ndef (:\n')
    (root / "sub" / "latin.py").write_bytes(b'# -*- coding: latin-1 -*-\n"""A caf\xe9 in the old encoding."""\n')
    (root / "sub" / "nul.py").write_bytes(b'"""This file has a NUL byte."""\0')
    (root / "sub" / "bytes.md").write_bytes(b"This is not UTF-8: \xff\xfe.")
    (root / "sub" / "silent.py").write_text("x = 1\n")
    (root / "sub" / "tests" / "inner.py").write_text('"""A test is no documentation."""')
    (root / "sub" / "test_it.py").write_text('"""A test is no documentation."""')
    (root / "README.md").write_text("# pkg\n\nThis package is made of tea.\n")
    (root / "data.txt").write_text("These are the data of the package.\n")
    return root


def read(package: Path) -> list[Module]:
    return corpus.read_modules(corpus.package_sources("lib", package, "lib/"), workers=1)


def test_modules_are_read_in_order_and_never_imported(package):
    readme, module, latin = read(package)
    assert [readme.id, module.id, latin.id] == ["lib/README.md", "lib/__init__.py", "lib/sub/latin.py"]
    assert readme.docstrings == (Docstring("text", ("This package is made of tea.",)),)
    assert latin.docstrings == (Docstring("module", ("A café in the old encoding.",)),)
    assert [(docstring.kind, docstring.paragraphs[0]) for docstring in module.docstrings] == [
        ("module", "What this module is about."),
        ("class", "A cup that holds tea."),
        ("function", "Pours tea into the cup."),
        ("function", "Says something plain and short."),
        ("text", "The description that stands in a constant, over more than one line."),
        ("text", "The documentation of something written in C."),
    ]
    assert module.docstrings[2].paragraphs == ("Pours tea into the cup.",)  # the doctest is gone
    assert module.docstrings[5].paragraphs[1] == "It stands in a call."


def test_several_processes_return_the_same_as_one(package):
    sources = [DocumentationFile("lib", f"{number}", package / "__init__.py") for number in range(220)]
    assert corpus.read_modules(sources, workers=2) == corpus.read_modules(sources, workers=1)


def test_corpus_has_a_document_per_line_and_no_repeated_paragraph(package, tmp_path):
    modules = read(package)
    counts = corpus.write_corpus([*modules, *modules], tmp_path / "corpus.jsonl")
    documents = [json.loads(line) for line in (tmp_path / "corpus.jsonl").read_text().splitlines()]
    assert [document["id"] for document in documents] == [module.id for module in modules]
    assert documents[1]["text"].split("\n")[:2] == ["What this module is about.", "A cup that holds tea."]
    assert counts.documents == 3 and counts.libraries == 1
    assert counts.words == sum(len(document["text"].split()) for document in documents)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("numpy/linalg/_linalg.py", True),
        ("numpy/README.rst", True),
        ("idlelib/NEWS.txt", True),
        ("unittest/mock.py", True),
        ("numpy/tests/case.py", False),
        ("numpy/linalg/test_linalg.py", False),
        ("jax/dialects/_ops_gen.py", False),
        ("data/labels.txt", False),
        ("numpy/core.so", False),
        ("site-packages/other/a.py", False),
    ],
)
def test_is_documentation(file, expected):
    assert corpus.is_documentation(file) is expected


def test_dependencies_are_direct_and_indirect_requirements():
    packages = corpus.dependencies("bert_jax")
    assert {"jax", "numpy", "scipy", "scikit-learn", "matplotlib", "flax", "ml-dtypes", "optax"} <= set(packages)
    assert not {"pytest", "torch", "transformers", "hypothesis", "ruff"} & set(packages)
    assert list(packages) == sorted(packages)


def test_dependencies_without_metadata_start_from_the_roots(monkeypatch):
    monkeypatch.setattr(corpus, "ROOTS", ("rich", "a-package-that-nobody-has"))
    packages = corpus.dependencies("a-project-that-nobody-installed")
    assert "rich" in packages and "pygments" in packages and "jax" not in packages


def test_corpus_never_imports_jax():
    modules = "bert_jax.demo.docstring_task, bert_jax.demo.demo_report"
    code = f"import sys, {modules}; sys.exit(bool({{'jax', 'matplotlib'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
