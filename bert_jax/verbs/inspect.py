"""bert-jax inspect: describe a folder and the verbs that take it."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bert_jax.config import read_toml
from bert_jax.convert.export.onnx_file import OnnxModel
from bert_jax.convert.hugging_face.adapters import Adapter, is_adapter, read_adapter
from bert_jax.convert.hugging_face.families import family_of
from bert_jax.convert.hugging_face.weight_files import has_weights
from bert_jax.convert.rules import TOKEN_TABLE
from bert_jax.convert.source import read_model
from bert_jax.data.pretraining.record import MANIFEST, read_manifest
from bert_jax.errors import NotAModel, UserError, shown
from bert_jax.inference.loading import is_onnx
from bert_jax.model.vectors import VectorConfig
from bert_jax.pretrained import Pretrained
from bert_jax.registry import HEADS
from bert_jax.settings.inspect import InspectConfig
from bert_jax.settings.pretrain import PretrainConfig
from bert_jax.terminal import say
from bert_jax.text import load_tokenizer
from bert_jax.text.tokenizer_classes import has_tokenizer
from bert_jax.train.checkpoint_path import checkpoint_at
from bert_jax.train.run import RunFolder, is_run
from bert_jax.train.run_progress import read_progress, run_at
from bert_jax.train.seal import checkpoint_steps
from bert_jax.verbs.run_curves import check_figure, draw_runs
from bert_jax.verbs.run_facts import compare, progress_facts, read_runs, table_lines
from bert_jax.wording import counted

FORMAT_NAMES = {"hf": "Hugging Face folder", "tf": "TensorFlow 1 checkpoint", None: "run"}
MAX_SHOWN_LABELS = 20
READS = 5  # of a run that goes on and replaces the checkpoint that is read


Facts = dict[str, str | int | list[str]]


def inspect(path: Path) -> Facts:
    """Return the facts about a folder by name. Raises UserError where it is of no known kind, or damaged."""
    if not path.exists() and not path.with_name(f"{path.name}.index").exists():
        raise UserError(f"{path}: no such file or folder")
    if (path / MANIFEST).is_file():
        manifest = read_manifest(path)
        return {
            "what": "shards",
            "examples": manifest.kind,
            "masks": f"{manifest.masking.when}, by {manifest.masking.unit}",
            "training examples": manifest.examples("train"),
            "length": manifest.length,
            "tokenizer": manifest.tokenizer[:12],
            "can": ["pretrain", "prep check"],
        }
    if is_onnx(path):
        return describe_onnx(OnnxModel(path))
    if is_adapter(path) and not has_weights(path):
        return describe_adapter(read_adapter(path))
    try:
        return describe_run(path) if is_run(path) else describe_model(read_model(path))
    except NotAModel:
        pass  # perhaps a tokenizer
    try:
        tokenizer = load_tokenizer(path)
    except UserError:
        if path.is_file() or has_tokenizer(path):
            raise
        raise UserError(f"{path}: neither a model, nor shards, nor a tokenizer") from None
    return {
        "what": "tokenizer",
        "kind": type(tokenizer).__name__,
        "entries": tokenizer.vocab_size,
        "fingerprint": tokenizer.fingerprint[:12],
        "can": ["prep shards"],
    }


def describe_model(pretrained: Pretrained) -> Facts:
    """Describe a model by its family, sizes, parameters and head."""
    model, tokenizer = pretrained.model, pretrained.tokenizer
    table = pretrained.params[TOKEN_TABLE]
    padding = (len(table) - model.vocab_size) * table.shape[1]
    parameters = {
        part: sum(value.size for name, value in pretrained.params.items() if name.startswith("encoder/") == in_encoder)
        for part, in_encoder in (("encoder", True), ("head", False))
    }
    try:
        family = pretrained.origin.get("family") or family_of(model).name
    except UserError:
        family = "of its own"
    facts: Facts = {
        "what": _format(pretrained),
        "family": family,
        "head": HEADS[pretrained.kind].about,
        "layers": model.depth,
        "width": model.width,
        "heads": model.heads,
        "MLP width": model.mlp_width,
        "longest text": f"{pretrained.max_length} tokens",
        "vocabulary": model.vocab_size,
        "encoder": f"{parameters['encoder'] - padding:,} parameters",
        "with head": f"{parameters['encoder'] + parameters['head'] - padding:,} parameters",
        "numbers": _numbers(pretrained),
        "tokenizer": "none" if tokenizer is None else f"{type(tokenizer).__name__}, {tokenizer.vocab_size} entries",
        **_vector_facts(pretrained.vectors, pretrained.max_length),
    }
    if pretrained.labels is not None:
        facts["labels"] = _first_labels(pretrained.labels)
    facts["can"] = list(HEADS[pretrained.kind].uses)
    return facts


def describe_run(path: Path) -> Facts:
    """Describe a run by its newest or best model, where it has saved one, and its progress."""
    run = run_at(path)
    has_model = checkpoint_at(path) is not None or checkpoint_steps(run.checkpoints)
    facts: Facts = describe_model(_read_saved_model(path, run)) if has_model else {"what": "run, nothing saved yet"}
    if run.record()["kind"] != "convert" and checkpoint_at(path) is None:
        facts |= progress_facts(read_progress(run))
    return facts | phase_facts(run)


def _read_saved_model(path: Path, run: RunFolder) -> Pretrained:
    """Return the model of a run. One that the run replaces by a newer one meanwhile is followed by the newer one."""
    for _ in range(READS):
        steps = checkpoint_steps(run.checkpoints)
        try:
            return read_model(path)
        except (UserError, OSError):
            if checkpoint_steps(run.checkpoints) == steps:
                raise
    return read_model(path)


def phase_facts(run: RunFolder) -> Facts:
    """Describe the phases of a pre-training run that has several."""
    if not run.settings_table().get("phases"):
        return {}
    phases = read_toml(PretrainConfig, run.path / "run.toml").resolved_phases()
    shown = [
        f"{counted(phase.steps, 'step')} of {phase.batch_size} rows from {phase.data}"
        f"{' at a learning rate of their own' if phase.optim else ''}"
        for phase in phases
    ]
    return {"phases": shown}


def describe_adapter(adapter: Adapter) -> Facts:
    """Describe an adapter whose base is not there."""
    kind = adapter.kind
    return {
        "what": "LoRA adapter, without the model that it changes",
        "base": adapter.base,
        "head": HEADS[kind].about if kind else "that of its base",
        "rank": shown(adapter.table.get("r", 8)),
        "can": ["convert --base FOLDER"],
    }


def describe_onnx(model: OnnxModel) -> Facts:
    """Describe an exported model."""
    description = model.description
    facts: Facts = {
        "what": "ONNX model",
        "head": HEADS[description.kind].about,
        "layers": description.model.depth,
        "width": description.model.width,
        "longest text": f"{description.max_length} tokens",
        "vocabulary": description.model.vocab_size,
        **_vector_facts(description.vectors, description.max_length),
    }
    if description.labels is not None:
        facts["labels"] = _first_labels(description.labels)
    embeds = ["embed"] if "last_hidden_state" in model.shapes else []
    facts["can"] = ["predict", "evaluate"] if HEADS[description.kind].answerer else embeds
    return facts


def _format(pretrained: Pretrained) -> str:
    if pretrained.task.name:
        return FORMAT_NAMES[None]
    if pretrained.vectors is not None:
        return "sentence-transformers folder"
    return FORMAT_NAMES.get(pretrained.origin.get("format"), "run")


def _vector_facts(vectors: VectorConfig | None, max_length: int) -> Facts:
    """Describe how a text becomes one vector, and the prompts that may precede it."""
    if vectors is None:
        return {"vectors": "not specified; the mean of the tokens is taken"}
    prompts = [
        f"{name}{' (default)' if name == vectors.prompt else ''} {text!r}"
        for name, text in vectors.prompts.items()
        if text
    ]
    longest = f", of at most {vectors.max_length} tokens" if vectors.max_length not in (None, max_length) else ""
    return {
        "vectors": f"{vectors.in_words()}{longest}; {vectors.similarity}",
        **({"prompts": prompts} if prompts else {}),
    }


def _numbers(pretrained: Pretrained) -> str:
    """Return the type of the numbers in the file and the exceptions to it. A run holds float32."""
    origin = {} if pretrained.task.name else pretrained.origin
    others = Counter(origin.get("other_dtypes", {}).values())
    return ", ".join(
        [origin.get("dtype", "float32"), *(f"{counted(count, 'tensor')} of {name}" for name, count in others.items())]
    )


def _first_labels(labels: Sequence[str]) -> list[str]:
    more = [f"... {len(labels)} in all"] if len(labels) > MAX_SHOWN_LABELS else []
    return [*labels[:MAX_SHOWN_LABELS], *more]


def main(config: InspectConfig) -> int:
    """Print the facts about a folder, or a comparison of several runs; return the exit code."""
    facts = described(config)
    if config.json:
        say(json.dumps(facts, indent=2, ensure_ascii=False))
    elif config.others:
        for line in table_lines(facts):
            say(line)
    else:
        for name, value in facts.items():
            say(f"{name:14} {', '.join(value) if isinstance(value, list) else value}")
    if config.figure:
        say(f"curves: {config.figure}", to_stderr=True)
    return 0


def described(config: InspectConfig) -> dict[str, Any]:
    """Return the facts about one folder, or those of several runs by their names. Draws the figure if there is one."""
    paths = (config.path, *config.others)
    if config.figure:
        check_figure(config.figure)
    runs = read_runs(paths) if config.others or config.figure else []
    if config.figure:
        draw_runs(config.figure, runs)
    return compare(runs) if config.others else inspect(config.path)
