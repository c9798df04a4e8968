"""Tokenizers behind one small protocol. No JAX."""

from pathlib import Path

from bert_jax.errors import UserError
from bert_jax.text.tokenizer import Tokenizer


def load_tokenizer(path: Path, *, lowercase: bool | None = None) -> Tokenizer:
    """The tokenizer of a folder (ours or Hugging Face's) or of a bare vocab.txt; `lowercase` overrules what they say.

    A bare vocabulary is taken as cased where an ordinary entry has a capital letter.
    """
    from bert_jax.text.wordpiece_files import read_folder, read_vocab

    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such file or folder. A tokenizer folder or a vocab.txt is expected")
    return read_folder(path, lowercase=lowercase) if path.is_dir() else read_vocab(path, lowercase=lowercase)
