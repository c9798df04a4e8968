"""Write and edit Hugging Face folders of small models with random weights."""

import json
from pathlib import Path

import numpy as np
from tiny import TINY

from bert_jax.convert.hugging_face.model_folder import read_huggingface, write_huggingface
from bert_jax.convert.hugging_face.weight_files import open_weights, write_weights
from bert_jax.pretrained import Pretrained, outputs_of, shapes_of
from bert_jax.text import load_tokenizer

WORDS = [f"word{i}" for i in range(TINY.vocab_size - 5)]


def write_tiny_bert(folder: Path, kind: str, labels: tuple[str, ...] | None = None) -> Pretrained:
    """Write a folder with random weights and a tokenizer of 37 entries. Returns the model read from it."""
    (folder.parent / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]) + "\n")
    rng = np.random.default_rng(0)
    shapes = shapes_of(kind, TINY, outputs=outputs_of(kind, labels), pooler=kind == "encoder")
    params = {
        name: (rng.normal(size=shape) * 0.2 + name.endswith("scale")).astype(np.float32)
        for name, shape in shapes.items()
    }
    tokenizer = load_tokenizer(folder.parent / "vocab.txt", lowercase=True)
    folder.mkdir()
    write_huggingface(
        Pretrained(
            where="here", kind=kind, model=TINY, tokenizer=tokenizer, params=params, labels=labels, max_length=17
        ),
        folder,
    )
    return read_huggingface(folder)


def write_hf_model(folder, model, kind, labels=None, tokenizer=None, **more):
    """Write a folder with random weights of any family. Returns the model that was written."""
    rng = np.random.default_rng(0)
    shapes = shapes_of(kind, model, outputs=outputs_of(kind, labels), pooler=False)
    params = {name: rng.normal(size=shape).astype(np.float32) * 0.2 for name, shape in shapes.items()}
    for name in params:
        if shapes[name][0] == model.padded_vocab_size:
            params[name][model.vocab_size :] = 0.0
    folder.mkdir()
    pretrained = Pretrained(
        where="here",
        kind=kind,
        model=model,
        tokenizer=tokenizer,
        params=params,
        labels=labels,
        max_length=17,
        **more,
    )
    write_huggingface(pretrained, folder)
    return pretrained


def edit_config(folder, **changes):
    """Change keys of config.json; the value ... removes a key."""
    path = folder / "config.json"
    table = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: value for name, value in table.items() if value is not ...}))


def edit_tensors(folder, change):
    """Replace the tensors of a folder by those that `change` returns for them, by name."""
    weights = open_weights(folder)
    write_weights(folder, change({name: weights.read(name) for name in weights}))
