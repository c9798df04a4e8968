"""Tokenizers behind one small protocol. No JAX."""

from pathlib import Path

from bert_jax.errors import UserError
from bert_jax.text.tokenizer import Tokenizer


def load_tokenizer(path: Path, *, lowercase: bool | None = None) -> Tokenizer:
    """The tokenizer of a folder (ours or Hugging Face's) or of a bare vocab.txt; `lowercase` overrules what they say.

    A folder may hold WordPiece (BERT, DistilBERT, ELECTRA), byte-level BPE (RoBERTa, ModernBERT) or SentencePiece's
    unigram (XLM-RoBERTa, multilingual E5). Where no file says whether a vocabulary is cased, the vocabulary as a whole
    decides, and a note tells. Raises UserError for tokenizers that are not read rightly.
    """
    from bert_jax.text.folder import read_folder, read_vocab_file  # what it imports is needed by few

    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such file or folder. A tokenizer folder or a vocab.txt is expected")
    if path.is_dir():
        return read_folder(path, lowercase=lowercase)
    if path.suffix in (".json", ".model"):
        raise UserError(f"{path}: give the folder that it is in, for the files beside it")
    return read_vocab_file(path, lowercase=lowercase)
