"""Tokenizers behind one small protocol. No JAX."""

from pathlib import Path

from bert_jax.errors import UserError
from bert_jax.text.tokenizer import Tokenizer


def load_tokenizer(path: Path, *, lowercase: bool | None = None) -> Tokenizer:
    """Load the tokenizer of a folder (ours or Hugging Face's) or of a bare vocab.txt.

    A folder may hold WordPiece (BERT, DistilBERT, ELECTRA), byte-level BPE (RoBERTa, ModernBERT) or a SentencePiece
    unigram model (XLM-RoBERTa, multilingual E5). `lowercase` overrides what the files say. If no file says whether a
    vocabulary is cased, its entries decide, and a note says so. Raises UserError for a tokenizer whose ids this package
    would not reproduce.
    """
    from bert_jax.text.folder import read_folder, read_vocab_file  # imports more than most callers need

    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such file or folder. A tokenizer folder or a vocab.txt is expected")
    if path.is_dir():
        return read_folder(path, lowercase=lowercase)
    if path.suffix in (".json", ".model"):
        raise UserError(f"{path}: give the folder that it is in, for the files beside it")
    return read_vocab_file(path, lowercase=lowercase)
