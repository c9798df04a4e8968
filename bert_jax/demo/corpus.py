"""A corpus of English text that every machine has: the documentation in Python and in the packages `bert_jax` needs.

Source files are parsed, never imported. Each module is a document; the order is the same on every call.
"""

import ast
import concurrent.futures
import dataclasses
import importlib.metadata
import json
import multiprocessing
import re
import sysconfig
import textwrap
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bert_jax.cpu import usable_cores
from bert_jax.demo.prose import paragraphs

THIS_PACKAGE = "bert_jax"
# Stand in for the dependencies if there is no metadata: in a checkout that was not installed.
ROOTS = ("flax", "grain", "jaxtyping", "matplotlib", "scikit-learn", "tensorflow-datasets", "tokenizers", "tyro")
STANDARD_LIBRARY = "python"
NOT_PROSE = re.compile(
    r"(.*/)?((test|tests|testing|testdata|test_util|dummy_data|_vendor|vendor|licenses|lib2to3|url_checksums"
    r"|site-packages|dist-packages|__pycache__)/.*|_?(test|conftest|__main__)[^/]*|[^/]*_(tests?|testutils|pb2|gen)\.py)"
)
DOCUMENT_STEMS = ("readme", "news", "history", "changes", "changelog", "guide", "help")
LARGEST_SOURCE_BYTES = 1_000_000
DOCUMENTATION_NAME = re.compile(r"doc|descr|topics", re.I)


@dataclasses.dataclass(frozen=True)
class DocumentationFile:
    """One file to read: its library, its name in the corpus, and its path."""

    library: str
    id: str
    path: Path


@dataclasses.dataclass(frozen=True)
class Docstring:
    """The paragraphs of one piece of documentation; `kind` is module, class, function or text."""

    kind: str
    paragraphs: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Module:
    """The documentation in one file, in source order."""

    library: str
    id: str
    docstrings: tuple[Docstring, ...]


@dataclasses.dataclass(frozen=True)
class CorpusCounts:
    """The amount of text in a corpus."""

    documents: int
    words: int
    megabytes: float
    libraries: int


def read_modules(sources: Iterable[DocumentationFile], workers: int | None = None) -> list[Module]:
    """Return the modules that have documentation, in the order of `sources`, whatever the number of `workers`."""
    sources = list(sources)
    workers = workers or min(usable_cores(), 16)
    if workers == 1 or len(sources) < 200:
        modules = [read_module(source) for source in sources]
    else:
        spawn = multiprocessing.get_context("spawn")  # forking a process with JAX's threads can hang
        with concurrent.futures.ProcessPoolExecutor(workers, mp_context=spawn) as pool:
            modules = list(pool.map(read_module, sources, chunksize=32))
    return [module for module in modules if module.docstrings]


def read_module(source: DocumentationFile) -> Module:
    """Return the documentation in one file; none if it cannot be read or parsed."""
    try:
        content = source.path.read_bytes()
        if source.path.suffix == ".py":
            texts = list(_docstrings(content))
        else:
            texts = [("text", content.decode())]
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        texts = []
    pieces = ((kind, tuple(paragraphs(text))) for kind, text in texts)
    return Module(source.library, source.id, tuple(Docstring(kind, prose) for kind, prose in pieces if prose))


def write_corpus(modules: Iterable[Module], path: Path) -> CorpusCounts:
    """Write one JSON line {"id", "text"} per module, and return the counts.

    The text has one paragraph per line. Repeated paragraphs are left out.
    """
    seen: set[str] = set()
    libraries = set()
    documents = words = 0
    with path.open("w", encoding="utf-8") as file:
        for module in modules:
            text = []
            for docstring in module.docstrings:
                for paragraph in docstring.paragraphs:
                    if paragraph not in seen:
                        seen.add(paragraph)
                        text.append(paragraph)
            if text:
                file.write(json.dumps({"id": module.id, "text": "\n".join(text)}, ensure_ascii=False) + "\n")
                documents += 1
                words += sum(len(paragraph.split()) for paragraph in text)
                libraries.add(module.library)
    return CorpusCounts(documents, words, round(path.stat().st_size / 1e6, 2), len(libraries))


def installed_sources() -> list[DocumentationFile]:
    """Return the documentation files of the standard library and of the dependencies, whatever else is installed."""
    sources = list(package_sources(STANDARD_LIBRARY, Path(sysconfig.get_path("stdlib")), f"{STANDARD_LIBRARY}/"))
    for name, distribution in dependencies(THIS_PACKAGE).items():
        root = Path(str(distribution.locate_file("")))
        for file in sorted(file.as_posix() for file in distribution.files or ()):
            if file.endswith("/METADATA") or (not file.startswith("..") and is_documentation(file)):
                sources.append(DocumentationFile(name, file, root / file))
    return list({source.id: source for source in sources}.values())


def package_sources(library: str, root: Path, prefix: str) -> Iterator[DocumentationFile]:
    """Yield the documentation files below `root`, sorted; their names in the corpus start with `prefix`."""
    for file in sorted(path.relative_to(root).as_posix() for path in root.rglob("*.*")):
        if is_documentation(file):
            yield DocumentationFile(library, prefix + file, root / file)


def is_documentation(file: str) -> bool:
    """Return whether the file with this path in its package may hold prose: no tests, data or generated code."""
    if not file.endswith((".py", ".md", ".rst", ".txt")):
        return False
    if file.endswith(".txt") and not file.rpartition("/")[2].lower().startswith(DOCUMENT_STEMS):
        return False
    return not NOT_PROSE.fullmatch(file)


def dependencies(name: str) -> dict[str, importlib.metadata.Distribution]:
    """Return the installed direct and indirect requirements of `name` without extras, sorted by normalised name.

    A requirement that is not installed is skipped.
    """
    distributions: dict[str, importlib.metadata.Distribution] = {}
    visited = {_normal(name)}
    try:
        queue = _requirements(importlib.metadata.distribution(name))
    except importlib.metadata.PackageNotFoundError:
        queue = [_normal(dependency) for dependency in ROOTS]
    while queue:
        current = queue.pop()
        if current in visited:
            continue
        visited.add(current)
        try:
            distributions[current] = importlib.metadata.distribution(current)
        except importlib.metadata.PackageNotFoundError:
            continue
        queue += _requirements(distributions[current])
    return dict(sorted(distributions.items()))


def _requirements(distribution: importlib.metadata.Distribution) -> list[str]:
    lines = (line for line in distribution.requires or () if not re.search(r";.*\bextra\s*==", line))
    return [_normal(match[0]) for line in lines if (match := re.match(r"[\w.-]+", line))]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _docstrings(content: bytes) -> Iterator[tuple[str, str]]:
    """Yield (kind, dedented text) of docstrings in Python source, and of other strings that hold documentation."""
    if len(content) > LARGEST_SOURCE_BYTES or not (b'"""' in content or b"'''" in content or b"topics = {" in content):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in strings
        tree = ast.parse(content)
    yield from _documented("module", tree)


def _documented(kind: str, node: Any) -> Iterator[tuple[str, str]]:
    match node.body:
        case [ast.Expr(value=ast.Constant(value=str(text))), *_]:
            yield kind, _dedent(text)
    for statement in (*node.body, *getattr(node, "orelse", ()), *getattr(node, "handlers", ())):
        match statement:
            case ast.ClassDef():
                yield from _documented("class", statement)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from _documented("function", statement)
            case ast.If() | ast.Try() | ast.With() | ast.ExceptHandler():
                yield from _documented("text", statement)
            case ast.Assign(targets=[ast.Name(id=name) | ast.Attribute(attr=name)], value=value):
                if DOCUMENTATION_NAME.search(name):
                    yield from (("text", _dedent(text)) for text in _long_strings(value))
            case ast.Expr(value=ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=[*_, value])):
                if DOCUMENTATION_NAME.search(name):
                    yield from (("text", _dedent(text)) for text in _long_strings(value))


def _long_strings(node: ast.AST) -> Iterator[str]:
    return (text for part in ast.walk(node) if (text := _string(part)) and text.count("\n") > 1)


def _string(node: ast.AST | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _dedent(text: str) -> str:
    first, _, rest = text.expandtabs().partition("\n")
    return f"{first.lstrip()}\n{textwrap.dedent(rest)}"
