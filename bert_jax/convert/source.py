"""A path to a model, whatever lies there."""

from pathlib import Path

from bert_jax.convert.huggingface import is_huggingface, read_huggingface
from bert_jax.convert.pretrained import Pretrained
from bert_jax.convert.run_folder import read_run
from bert_jax.convert.sentence_transformers import is_sentence_transformers, read_sentence_transformers
from bert_jax.convert.tf_bert import is_tf_bert, read_tf_bert
from bert_jax.errors import UserError
from bert_jax.train.run import is_run


def read_model(path: Path, *, lowercase: bool | None = None) -> Pretrained:
    """The model at `path`: a run folder or a checkpoint of it, a folder of Hugging Face or
    sentence-transformers, or a TensorFlow 1 checkpoint.

    `lowercase` decides whether a WordPiece tokenizer is uncased, in place of what its files say; a run's is as it was
    trained. Raises UserError with all that is wrong with it. Nothing that lies there is executed.
    """
    if is_run(path):
        if lowercase is not None:
            raise UserError(f"{path}: its tokenizer is as the run was trained. Leave out --[no-]lowercase")
        return read_run(path)
    if path.is_dir() and is_sentence_transformers(path):
        return read_sentence_transformers(path, lowercase=lowercase)
    if path.is_dir() and is_huggingface(path):
        return read_huggingface(path, lowercase=lowercase)
    if is_tf_bert(path):
        return read_tf_bert(path, lowercase=lowercase)
    if not path.exists():
        raise UserError(f"{path}: no such file or folder. A model of the Hugging Face Hub has to be downloaded first")
    raise UserError(
        f"{path}: not a model: no run folder (run.toml), no Hugging Face folder (config.json or modules.json), "
        "no TensorFlow 1 checkpoint (bert_config.json and *.ckpt.index)"
    )
