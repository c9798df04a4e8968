"""Imports follow the layers of docs/architecture.md, in the source and at run time."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = [
    path.relative_to(ROOT) for package in ("bert_jax", "data_prep") for path in sorted((ROOT / package).rglob("*.py"))
]

FOUNDATION = {
    "bert_jax.chips",
    "bert_jax.command_name",
    "bert_jax.origin",
    "bert_jax.config",
    "bert_jax.errors",
    "bert_jax.files",
    "bert_jax.foreign_flags",
    "bert_jax.cpu",
    "bert_jax.output",
    "bert_jax.process",
    "bert_jax.progress",
    "bert_jax.registry",
    "bert_jax.status_line",
    "bert_jax.task_record",
    "bert_jax.terminal",
    "bert_jax.trees",
    "bert_jax.version",
    "bert_jax.wording",
}
GROUND = FOUNDATION | {"bert_jax.text", "bert_jax.sharding", "bert_jax.random_bits", "bert_jax.hosts"}
RECORDS = {
    "bert_jax.data.pretraining.example_kinds",
    "bert_jax.data.pretraining.record",
    "bert_jax.data.pretraining.masking",
    "bert_jax.data.formats.tfds",
    "bert_jax.data.formats",
}
BODY = GROUND | {
    "bert_jax.train",
    "bert_jax.model",
    "bert_jax.data",
    "bert_jax.pretrained",
    "bert_jax.tasks",
    "bert_jax.convert",
    "bert_jax.pictures",
    "bert_jax.settings",
}

# The modules of ours that each package may import; the longest prefix decides. A package may always import itself.
ALLOWED: dict[str, set[str]] = {
    "bert_jax": {"bert_jax.errors", "bert_jax.version"},  # other names are imported on first use
    "bert_jax.__main__": {"bert_jax.cli"},
    "bert_jax.cli": {
        "bert_jax.version",
        "bert_jax.errors",
        "bert_jax.process",
        "bert_jax.terminal",
        "bert_jax.settings.command_line",
    },
    "bert_jax.settings": FOUNDATION
    | {"bert_jax.data.formats.dialect", "bert_jax.data.labelled.glue_tasks", "bert_jax.launch"},
    "bert_jax.launch": {"bert_jax.errors", "bert_jax.terminal"},
    "bert_jax.completion": {"bert_jax.cli", "bert_jax.errors", "bert_jax.settings", "bert_jax.terminal"},
    "bert_jax.chips": set(),
    "bert_jax.command_name": set(),
    "bert_jax.wording": set(),
    "bert_jax.api": BODY
    | {
        "bert_jax.finetuning",
        "bert_jax.inference",
        "bert_jax.prediction",
        "bert_jax.verbs",
        "bert_jax.process_setup",
        "bert_jax.launch",
    },
    "bert_jax.origin": set(),
    "bert_jax.errors": set(),
    "bert_jax.task_record": {"bert_jax.config", "bert_jax.errors"},
    "bert_jax.trees": set(),
    "bert_jax.version": set(),
    "bert_jax.config": {"bert_jax.errors", "bert_jax.files", "bert_jax.foreign_flags"},
    "bert_jax.foreign_flags": set(),
    "bert_jax.files": {"bert_jax.errors"},
    "bert_jax.cpu": set(),
    "bert_jax.output": {"bert_jax.errors"},
    "bert_jax.process": set(),
    "bert_jax.progress": {"bert_jax.process", "bert_jax.status_line", "bert_jax.terminal"},
    "bert_jax.registry": {"bert_jax.data.labelled.glue_tasks", "bert_jax.errors"},  # names the rest, as cli.py does
    "bert_jax.status_line": set(),
    "bert_jax.terminal": {"bert_jax.errors", "bert_jax.process", "bert_jax.status_line"},
    "bert_jax.model.presets": FOUNDATION,
    "bert_jax.hosts": FOUNDATION | {"bert_jax.launchers"},
    "bert_jax.launchers": FOUNDATION,
    "bert_jax.process_setup": FOUNDATION,
    "bert_jax.pictures": FOUNDATION,
    "bert_jax.random_bits": FOUNDATION,
    "bert_jax.sharding": FOUNDATION,
    "bert_jax.text": FOUNDATION,
    "bert_jax.data": FOUNDATION | {"bert_jax.text"},
    "bert_jax.data.formats": {"bert_jax.errors"},  # used by data_prep, too, which never imports JAX
    "bert_jax.model": GROUND,
    "bert_jax.train": GROUND,
    "bert_jax.pretrained": GROUND | {"bert_jax.model"},
    "bert_jax.tasks": GROUND | {"bert_jax.model", "bert_jax.data", "bert_jax.train", "bert_jax.pretrained"},
    "bert_jax.convert": GROUND | {"bert_jax.model", "bert_jax.data", "bert_jax.train", "bert_jax.pretrained"},
    "bert_jax.inference": BODY | {"bert_jax.process_setup"},
    "bert_jax.prediction": BODY | {"bert_jax.inference"},
    "bert_jax.finetuning": BODY | {"bert_jax.inference", "bert_jax.prediction"},
    "bert_jax.planning": BODY,
    "bert_jax.demo": BODY | {"bert_jax.inference"},
    "bert_jax.verbs": BODY
    | {
        "bert_jax.finetuning",
        "bert_jax.inference",
        "bert_jax.prediction",
        "bert_jax.demo",
        "bert_jax.planning",
        "bert_jax.process_setup",
    },
    "bert_jax.verbs.demo": BODY
    | {"bert_jax.inference", "bert_jax.demo", "bert_jax.verbs", "bert_jax.cli"},  # runs the other verbs
    "data_prep": FOUNDATION | RECORDS | {"bert_jax.text"},
    "data_prep.command": FOUNDATION | RECORDS | {"bert_jax.text", "bert_jax.settings.command_line", "data_prep"},
    "data_prep.functions": FOUNDATION | RECORDS | {"bert_jax.text", "bert_jax.api", "data_prep"},
}

VERBS = ("convert", "demo", "embed", "evaluate", "fill_mask", "finetune", "inspect", "plan", "predict", "pretrain")
SAME_NAME = {f"{verb}.py" for verb in VERBS}  # a verb and its settings


def module_of(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path) for path in FILES}


def imports(path: Path) -> set[str]:
    """Return our modules that a file imports anywhere, except under TYPE_CHECKING."""
    tree = ast.parse((ROOT / path).read_text())
    type_checking = {
        node
        for condition in ast.walk(tree)
        if isinstance(condition, ast.If) and ast.unparse(condition.test) == "TYPE_CHECKING"
        for node in ast.walk(condition)
    }
    names = set()
    for node in ast.walk(tree):
        if node in type_checking:
            continue
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                deep = f"{node.module}.{alias.name}"
                names.add(deep if deep in MODULES else node.module or "")
    return {name for name in names if name.split(".")[0] in ("bert_jax", "data_prep") and name != "bert_jax"}


def within(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_go_down_the_layers(path):
    module = module_of(path)
    home = "bert_jax" if module == "bert_jax" else max((p for p in ALLOWED if within(module, {p})), key=len)
    assert home != "bert_jax" or module == "bert_jax", f"{module} has no place in ALLOWED"
    wrong = sorted(name for name in imports(path) if not within(name, ALLOWED[home] | {home} - {"bert_jax"}))
    assert not wrong, f"{path} may not import {', '.join(wrong)}"


def test_no_import_circle():
    graph = {module_of(path): imports(path) & MODULES for path in FILES}
    rest = dict(graph)
    while leaves := [module for module, needs in rest.items() if not needs & (rest.keys() - {module})]:
        for module in leaves:
            del rest[module]
    assert not rest, f"these modules import each other: {', '.join(sorted(rest))}"


def test_file_names_are_unique():
    """A verb and its settings may share a file name."""
    names = [path.name for path in FILES if path.name not in ("__init__.py", "__main__.py")]
    twice = {name for name in names if names.count(name) > 1}
    assert twice <= SAME_NAME, twice - SAME_NAME


def test_bert_jax_does_not_import_data_prep():
    """Not under TYPE_CHECKING either: bert_jax must type-check and build without data_prep."""
    statement = re.compile(r"^\s*(from|import) data_prep\b", re.M)
    importing = [
        str(path) for path in FILES if path.parts[0] == "bert_jax" and statement.search((ROOT / path).read_text())
    ]
    assert not importing


ALL_FILES = FILES + [
    p.relative_to(ROOT) for name in ("tests", "benchmarks") for p in sorted((ROOT / name).rglob("*.py"))
]


@pytest.mark.parametrize("path", ALL_FILES, ids=str)
def test_no_file_is_longer_than_400_lines(path):
    assert len((ROOT / path).read_text().splitlines()) <= 400


@pytest.mark.parametrize(
    "statement",
    [
        "import bert_jax",
        "import bert_jax.cli",
        "import bert_jax.config, bert_jax.model.presets, bert_jax.text",
        "import bert_jax.data.pretraining.record, bert_jax.data.pretraining.masking",
        "import bert_jax.data.formats.delimited, bert_jax.data.formats.parquet, bert_jax.data.labelled.row_files",
        "import bert_jax.text.wordpiece",
        "import data_prep.job.build, data_prep.checking.check, data_prep.vocabulary.train, data_prep.command",
        "import data_prep.functions",
    ],
)
def test_cheap_imports_do_not_import_frameworks(statement):
    heavy = "{'jax', 'jaxlib', 'flax', 'optax', 'orbax', 'torch', 'tensorflow', 'transformers', 'sklearn', 'pandas'}"
    code = f"{statement}; import sys; print(*sorted({heavy} & sys.modules.keys()))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert not result.stdout.strip()


def test_help_and_wrong_flags_import_nothing_heavy():
    """--help should take half a second; NumPy alone would take a third of that."""
    code = """
import sys
from bert_jax import cli
for words in [[verb] for verb in cli.VERBS] + [["prep", verb] for verb in ("vocab", "report", "shards", "check")]:
    for flag in ("--help", "--no-such-flag"):
        try:
            cli.main([*words, flag])
        except SystemExit:
            pass
heavy = {"numpy", "jax", "flax", "orbax", "grain", "tokenizers", "pyarrow", "matplotlib", "fsspec", "rich", "scipy"}
sys.exit(" ".join(sorted(heavy & sys.modules.keys())) or None)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr[-1000:]


def test_every_public_name_can_be_imported():
    import bert_jax

    assert all(getattr(bert_jax, name) for name in bert_jax.__all__)
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = bert_jax.lode
