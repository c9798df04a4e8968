"""Read a model from a path, whatever its format."""

import dataclasses
from pathlib import Path

from bert_jax.convert.hugging_face.model_folder import is_huggingface, read_huggingface
from bert_jax.convert.hugging_face.sentence_transformers import is_sentence_transformers, read_sentence_transformers
from bert_jax.convert.run_folder import read_run
from bert_jax.convert.tensorflow.tf_bert import is_tf_bert, read_tf_bert
from bert_jax.convert.unreadable import advice
from bert_jax.errors import NotAModel, UserError
from bert_jax.pretrained import Pretrained, ReadOptions
from bert_jax.train.run import is_run


def read_model(path: Path, options: ReadOptions = ReadOptions()) -> Pretrained:
    """Return the model at `path`.

    `path` is a run folder or one of its checkpoints, a folder of Hugging Face or sentence-transformers, or a
    TensorFlow 1 checkpoint. Nothing in it is executed.

    Raises NotAModel where no format is recognised, and one UserError with all faults of a model.
    """
    if is_run(path):
        _reject_base_and_extra(path, options)
        if options.lowercase is not None:
            raise UserError(f"{path}: a run keeps the tokenizer that it was trained with. Leave out --[no-]lowercase")
        return read_run(path)
    if path.is_dir() and is_sentence_transformers(path):
        return read_sentence_transformers(path, options)
    if path.is_dir() and is_huggingface(path):
        return read_huggingface(path, options)
    if is_tf_bert(path):
        _reject_base_and_extra(path, dataclasses.replace(options, ignore_extra=False))
        return read_tf_bert(path, options)
    if not path.exists():
        raise UserError(f"{path}: no such file or folder. A model of the Hugging Face Hub has to be downloaded first")
    if text := advice(path):
        raise UserError(f"{path}: {text}")
    raise NotAModel(
        f"{path}: not a model: no run folder (run.toml), no Hugging Face folder (config.json or modules.json), "
        "no TensorFlow 1 checkpoint (bert_config.json and *.ckpt.index)"
    )


def _reject_base_and_extra(path: Path, options: ReadOptions) -> None:
    """Raise UserError for options that only a Hugging Face folder is read with."""
    if options.base is not None:
        raise UserError(f"{path}: no adapter, so there is nothing to merge into --base {options.base}")
    if options.ignore_extra:
        raise UserError(f"{path}: a run of this program, which has no tensors to leave out with --ignore-extra")
