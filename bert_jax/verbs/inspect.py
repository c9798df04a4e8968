"""bert-jax inspect: what a folder is, and what can be done with it."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bert_jax.convert.export.onnx_file import OnnxModel
from bert_jax.convert.hugging_face.adapters import Adapter, is_adapter, read_adapter
from bert_jax.convert.hugging_face.families import family_of
from bert_jax.convert.hugging_face.weight_files import has_weights
from bert_jax.convert.source import read_model
from bert_jax.data.pretraining.record import MANIFEST, read_manifest
from bert_jax.errors import UserError, shown
from bert_jax.inference.loading import ANSWERERS, is_onnx
from bert_jax.model.vectors import VectorConfig
from bert_jax.pretrained import Pretrained
from bert_jax.settings.inspect import InspectConfig
from bert_jax.terminal import say
from bert_jax.text import load_tokenizer
from bert_jax.text.tokenizer_classes import has_tokenizer
from bert_jax.wording import counted

FORMAT_NAMES = {"hf": "Hugging Face folder", "tf": "TensorFlow 1 checkpoint", None: "run"}
HEADS = {
    "encoder": "no head",
    "masked_lm": "masked LM",
    "pretrain": "masked LM and next sentence prediction",
    "discriminator": "discriminator of replaced tokens",
    "sequence": "one answer a text",
    "token": "one class a token",
    "span": "start and end of an answer",
    "choice": "one score a choice",
}
ANSWERS = ("predict", "evaluate", "finetune", "embed", "convert")
USES = {
    "sequence": ANSWERS,
    "token": ANSWERS,
    "span": ANSWERS,
    "choice": ANSWERS,
    "masked_lm": ("fill-mask", "pretrain", "finetune", "embed", "convert"),
    "pretrain": ("fill-mask", "pretrain", "finetune", "embed", "convert"),
}


def inspect(path: Path) -> dict[str, str | int | list[str]]:
    """What there is to say, by name. Raises UserError where the path is nothing of ours, or damaged."""
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
        return describe_model(read_model(path))
    except UserError as error:
        if "not a model" not in str(error):
            raise
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


def describe_model(pretrained: Pretrained) -> dict[str, str | int | list[str]]:
    """A model by its family, sizes, parameters and head."""
    model, tokenizer = pretrained.model, pretrained.tokenizer
    table = pretrained.params["encoder/embeddings/tokens"]
    padding = (len(table) - model.vocab_size) * table.shape[1]
    parameters = {
        part: sum(value.size for name, value in pretrained.params.items() if name.startswith("encoder/") == inside)
        for part, inside in (("encoder", True), ("head", False))
    }
    try:
        family = pretrained.origin.get("family") or family_of(model).name
    except UserError:
        family = "of its own"
    found: dict[str, str | int | list[str]] = {
        "what": _format(pretrained),
        "family": family,
        "head": HEADS[pretrained.kind],
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
        **_described_vectors(pretrained.vectors, pretrained.max_length),
    }
    if pretrained.labels is not None:
        found["labels"] = _shown(pretrained.labels)
    found["can"] = list(USES.get(pretrained.kind, ("pretrain", "finetune", "embed", "convert")))
    return found


def describe_adapter(adapter: Adapter) -> dict[str, str | int | list[str]]:
    """An adapter that waits for its base, by what it says of itself."""
    kind = adapter.kind
    return {
        "what": "LoRA adapter, without the model that it changes",
        "base": adapter.base,
        "head": HEADS[kind] if kind else "its base's",
        "rank": shown(adapter.table.get("r", 8)),
        "can": ["convert --base FOLDER"],
    }


def describe_onnx(model: OnnxModel) -> dict[str, str | int | list[str]]:
    """An exported model by what it says of itself."""
    said = model.description
    found: dict[str, str | int | list[str]] = {
        "what": "ONNX model",
        "head": HEADS[said.kind],
        "layers": said.model.depth,
        "width": said.model.width,
        "longest text": f"{said.max_length} tokens",
        "vocabulary": said.model.vocab_size,
        **_described_vectors(said.vectors, said.max_length),
    }
    if said.labels is not None:
        found["labels"] = _shown(said.labels)
    embeds = ["embed"] if "last_hidden_state" in model.shapes else []
    found["can"] = ["predict", "evaluate"] if said.kind in ANSWERERS else embeds
    return found


def _format(pretrained: Pretrained) -> str:
    if pretrained.task.name:
        return FORMAT_NAMES[None]
    if pretrained.vectors is not None:
        return "sentence-transformers folder"
    return FORMAT_NAMES.get(pretrained.origin.get("format"), "run")


def _described_vectors(vectors: VectorConfig | None, max_length: int) -> dict[str, str | int | list[str]]:
    """Describe how a text becomes one vector, and the prompts that may precede it."""
    if vectors is None:
        return {"vectors": "not said; the mean of the tokens is taken"}
    prompts = [
        f"{name}{' (default)' if name == vectors.prompt else ''} {text!r}"
        for name, text in vectors.prompts.items()
        if text
    ]
    longest = f", of at most {vectors.max_length} tokens" if vectors.max_length not in (None, max_length) else ""
    return {"vectors": f"{vectors.told()}{longest}; {vectors.similarity}", **({"prompts": prompts} if prompts else {})}


def _numbers(pretrained: Pretrained) -> str:
    """Return the type of the numbers in the file, of most tensors and of the others; a run holds float32."""
    origin = {} if pretrained.task.name else pretrained.origin
    others = Counter(origin.get("other_dtypes", {}).values())
    return ", ".join(
        [origin.get("dtype", "float32"), *(f"{counted(count, 'tensor')} of {name}" for name, count in others.items())]
    )


def _shown(labels: Sequence[str]) -> list[str]:
    return [*labels[:20], *([f"... {len(labels)} in all"] if len(labels) > 20 else [])]


def main(config: InspectConfig) -> int:
    """Print what a folder is; return the exit code."""
    found = inspect(config.path)
    if config.json:
        say(json.dumps(found, indent=2, ensure_ascii=False))
        return 0
    for name, value in found.items():
        say(f"{name:14} {', '.join(value) if isinstance(value, list) else value}")
    return 0
