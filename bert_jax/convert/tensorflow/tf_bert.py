"""Read and write google-research/bert's checkpoints: bert_config.json, vocab.txt, bert_model.ckpt. No TensorFlow."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from bert_jax.config import ModelConfig
from bert_jax.convert.hugging_face.families import BERT_FAMILY
from bert_jax.convert.hugging_face.family import ConfigTable
from bert_jax.convert.hugging_face.model_folder import read_config
from bert_jax.convert.rules import MAX_NOTED_TENSORS, TOKEN_TABLE, Rule, extra_tensors, read_with_rules, to_theirs
from bert_jax.convert.tensorflow.tensor_bundle import TensorEntry, find_prefix, read_bundle, read_index, write_bundle
from bert_jax.errors import UserError, listed
from bert_jax.pretrained import (
    REGRESSION,
    SINGLE_LABEL,
    Pretrained,
    ReadOptions,
    check_vocabulary,
    outputs_of,
    shapes_of,
)
from bert_jax.terminal import note
from bert_jax.text import load_tokenizer
from bert_jax.text.folder_files import TOKENIZER, read_flag
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.trees import Shape

BERT_CONFIG, VOCAB_FILE, CHECKPOINT_PREFIX = "bert_config.json", "vocab.txt", "bert_model.ckpt"
# Training state beside the weights: moments, counters, loss scaling.
SLOTS = re.compile(
    r"(^|/)(adam_[mv]|lamb_[mv]|Adam(_1)?|Momentum|global_step|beta[12]_power|good_steps|loss_scale|current_loss_scale)$"
)
KIND_BY_TENSOR = {  # a tensor that only a model of the kind has
    "cls/seq_relationship/output_weights": "pretrain",
    "cls/predictions/output_bias": "masked_lm",
    "cls/squad/output_weights": "span",
    "output_weights": "sequence",
}


def is_tf_bert(path: Path) -> bool:
    """Return whether `path` is a folder with a TensorFlow checkpoint, or the prefix of one."""
    folder = path if path.is_dir() else path.parent
    prefix = path.name.removesuffix(".index")
    return any(folder.glob("*.ckpt*.index")) if path.is_dir() else (folder / f"{prefix}.index").is_file()


def read_tf_bert(path: Path, options: ReadOptions = ReadOptions()) -> Pretrained:
    """Return the model of a TensorFlow 1 checkpoint: its folder, or the path that ends in .ckpt.

    Optimizer slots are ignored. The format has no names of classes: they become LABEL_0 and so on. A classifier with
    one output is a regression.
    """
    prefix = find_prefix(path)
    table = read_config(prefix.parent / BERT_CONFIG)
    where = str(prefix)
    model = BERT_FAMILY.read(table, str(prefix.parent / BERT_CONFIG))
    source = _Bundle(prefix)
    kind = next((kind for name, kind in KIND_BY_TENSOR.items() if name in source.entries), "encoder")
    labels = None
    problem = SINGLE_LABEL
    if kind == "sequence":
        (outputs,) = source.shape("output_weights")[:1] or (1,)
        if outputs == 1:  # such as STS-B
            problem = REGRESSION
        else:
            labels = tuple(f"LABEL_{i}" for i in range(outputs))
    rules = tf_rules(model, kind, pooler="bert/pooler/dense/kernel" in source.entries)
    has_pooler = any(name.startswith("encoder/pooler") for rule in rules for name in rule.ours)
    shapes = shapes_of(kind, model, outputs=outputs_of(kind, labels), pooler=has_pooler)
    if options.ignore_extra and (extra := extra_tensors(rules, source)):
        source.drop(extra)
        note(f"{prefix}: left out: {listed(extra, MAX_NOTED_TENSORS)}")
    params = read_with_rules(rules, source, shapes, vocab_size=model.vocab_size, where=where)
    configured = read_flag(table, "do_lower_case", prefix.parent / BERT_CONFIG)
    lowercase = configured if options.lowercase is None else options.lowercase
    tokenizer = _read_tokenizer(prefix.parent, lowercase)
    if tokenizer is not None:
        check_vocabulary(tokenizer, model.vocab_size, str(prefix.parent))
    origin = {"format": "tf", "config": table}
    return Pretrained(
        where=str(path),
        kind=kind,
        model=model,
        tokenizer=tokenizer,
        params=params,
        labels=labels,
        problem=problem,
        max_length=model.max_length,
        origin=origin,
    )


def _read_tokenizer(folder: Path, lowercase: bool | None) -> Tokenizer | None:
    """Return the tokenizer.json beside a checkpoint, else the tokenizer of its vocabulary, else None."""
    if (folder / TOKENIZER).is_file():
        return load_tokenizer(folder, lowercase=lowercase)
    return load_tokenizer(folder / VOCAB_FILE, lowercase=lowercase) if (folder / VOCAB_FILE).is_file() else None


def write_tf_bert(pretrained: Pretrained, folder: Path) -> None:
    """Write bert_config.json, bert_model.ckpt.* and vocab.txt to `folder`, which must exist and be empty."""
    model = pretrained.model
    if not BERT_FAMILY.holds(model):
        raise UserError(f"{pretrained.where}: the original code computes BERT only; convert it --to hf")
    if pretrained.kind not in ("encoder", *KIND_BY_TENSOR.values()):
        raise UserError(f"{pretrained.where}: the original code has no {pretrained.kind} head; convert it --to hf")
    rules = tf_rules(model, pretrained.kind, pooler=pretrained.pooler)
    tensors = {rule.theirs: to_theirs(rule, pretrained.params, model.vocab_size) for rule in rules}
    original = pretrained.origin.get("config", {}) if pretrained.origin.get("format") == "tf" else {}
    (folder / BERT_CONFIG).write_text(json.dumps({**original, **tf_config_table(model)}, indent=2) + "\n")
    if pretrained.tokenizer is not None:
        pretrained.tokenizer.save(folder)
    write_bundle(folder / CHECKPOINT_PREFIX, tensors)


def tf_config_table(model: ModelConfig) -> ConfigTable:
    """Return the bert_config.json of a model, with the keys that the original code reads."""
    table = {**BERT_FAMILY.write(model), "attention_probs_dropout_prob": model.attention_rate}
    return {key: value for key, value in table.items() if key not in ("model_type", "layer_norm_eps")}


def tf_rules(model: ModelConfig, kind: str, *, pooler: bool) -> list[Rule]:
    """Return the rules for all variables of a kind of model. Kernels are (in, out), output_weights are (out, in)."""
    tables = "bert/embeddings"
    rules = [
        Rule(f"{tables}/word_embeddings", (TOKEN_TABLE,), rows=True),
        Rule(f"{tables}/position_embeddings", ("encoder/embeddings/positions",)),
        Rule(f"{tables}/token_type_embeddings", ("encoder/embeddings/segments",)),
        *_norm(tables, "encoder/embeddings/norm"),
    ]
    for i in range(model.depth):
        theirs, ours = f"bert/encoder/layer_{i}", f"encoder/blocks/{i}"
        for part in ("query", "key", "value"):
            rules += _dense(f"{theirs}/attention/self/{part}", f"{ours}/attention/{part}")
        rules += _dense(f"{theirs}/attention/output/dense", f"{ours}/attention/output")
        rules += _norm(f"{theirs}/attention/output", f"{ours}/attention_norm")
        rules += _dense(f"{theirs}/intermediate/dense", f"{ours}/mlp/up")
        rules += _dense(f"{theirs}/output/dense", f"{ours}/mlp/down")
        rules += _norm(f"{theirs}/output", f"{ours}/mlp_norm")
    if pooler or kind in ("pretrain", "sequence"):
        rules += _dense("bert/pooler/dense", "encoder/pooler/dense")
    if kind in ("pretrain", "masked_lm"):
        transform = "cls/predictions/transform"
        rules += _dense(f"{transform}/dense", "masked_lm/transform") + _norm(transform, "masked_lm/norm")
        rules += [Rule("cls/predictions/output_bias", ("masked_lm/bias",), rows=True)]
    outputs = {"pretrain": "cls/seq_relationship/", "span": "cls/squad/", "sequence": ""}
    if kind in outputs:
        head = "next_sentence" if kind == "pretrain" else "classifier"
        rules += [
            Rule(f"{outputs[kind]}output_weights", (f"{head}/kernel",), transpose=True),
            Rule(f"{outputs[kind]}output_bias", (f"{head}/bias",)),
        ]
    return rules


def _dense(theirs: str, ours: str) -> list[Rule]:
    return [Rule(f"{theirs}/{part}", (f"{ours}/{part}",)) for part in ("kernel", "bias")]


def _norm(theirs: str, ours: str) -> list[Rule]:
    return [
        Rule(f"{theirs}/LayerNorm/gamma", (f"{ours}/scale",)),
        Rule(f"{theirs}/LayerNorm/beta", (f"{ours}/bias",)),
    ]


class _Bundle:
    """The variables of a checkpoint without its training state."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self._tensors: dict[str, np.ndarray] = {}
        self.entries: dict[str, TensorEntry] = {
            name: entry for name, entry in read_index(prefix).items() if not SLOTS.search(name)
        }
        if "_CHECKPOINTABLE_OBJECT_GRAPH" in self.entries:
            raise UserError(
                f"{prefix}: a TensorFlow 2 checkpoint, of objects; only TensorFlow 1 checkpoints are read. "
                "Load it in transformers and save it from there"
            )

    def names(self) -> Iterable[str]:
        return self.entries.keys()

    def drop(self, names: Iterable[str]) -> None:
        for name in names:
            del self.entries[name]

    def shape(self, name: str) -> Shape:
        return self.entries[name].shape

    def read(self, name: str) -> np.ndarray:
        self._tensors = self._tensors or read_bundle(self.prefix, self.entries)
        return self._tensors.pop(name)
