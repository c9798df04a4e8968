"""Folders of Hugging Face with a small model of random weights, as if downloaded."""

from pathlib import Path

import numpy as np
from tiny import TINY

from bert_jax.convert.huggingface import read_huggingface, write_huggingface
from bert_jax.convert.pretrained import Pretrained, outputs_of, shapes_of
from bert_jax.text import load_tokenizer

WORDS = [f"word{i}" for i in range(TINY.vocab_size - 5)]


def write_foreign(folder: Path, kind: str, labels: tuple[str, ...] | None = None) -> Pretrained:
    """A Hugging Face folder with random weights and a tokenizer of 37 words; what is read from it."""
    (folder.parent / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]) + "\n")
    rng = np.random.default_rng(0)
    shapes = shapes_of(kind, TINY, outputs=outputs_of(kind, labels), pooler=kind == "encoder")
    params = {
        name: (rng.normal(size=shape) * 0.2 + name.endswith("scale")).astype(np.float32)
        for name, shape in shapes.items()
    }
    tokenizer = load_tokenizer(folder.parent / "vocab.txt")
    folder.mkdir()
    write_huggingface(Pretrained("here", kind, TINY, tokenizer, params, labels, max_length=17), folder)
    return read_huggingface(folder)
