"""Flags of other programs and the corresponding flags here. Standard library only.

Covers Hugging Face's Trainer and example scripts, sentence-transformers, google-research/bert and Lightning.
"""

import dataclasses
import typing
from collections.abc import Collection, Iterator, Sequence
from typing import Any

_SHARE = "a fraction of the steps, such as 0.1"

# Foreign name -> flags of ours; the first one that the verb has is meant.
_OURS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("lr", "learning_rate", "max_lr", "peak_lr"), ("learning-rate", "optim.peak-lr")),
    **dict.fromkeys(("num_train_epochs", "num_epochs", "n_epochs", "epoch", "max_epochs"), ("epochs", "steps")),
    **dict.fromkeys(("max_steps", "num_train_steps", "total_steps", "num_steps", "train_steps"), ("steps", "epochs")),
    **dict.fromkeys(
        ("per_device_train_batch_size", "per_gpu_train_batch_size", "train_batch_size", "bs", "batch"), ("batch-size",)
    ),
    **dict.fromkeys(("per_device_eval_batch_size", "eval_batch_size", "predict_batch_size"), ("batch-size",)),
    **dict.fromkeys(("gradient_accumulation_steps", "accumulate_grad_batches", "grad_accum"), ("accumulate",)),
    **dict.fromkeys(
        ("max_seq_length", "max_seq_len", "max_len", "seq_length", "seq_len", "block_size", "model_max_length"),
        ("max-length", "length"),
    ),
    **dict.fromkeys(
        ("model_name_or_path", "pretrained_model_name_or_path", "model_name", "model", "init_checkpoint", "checkpoint"),
        ("from", "model", "tokenizer"),
    ),
    **dict.fromkeys(("tokenizer_name", "tokenizer_path", "vocab_file", "vocab"), ("tokenizer",)),
    **dict.fromkeys(
        ("train_file", "train_data", "training_data", "dataset_name", "dataset", "data_dir", "train_data_dir"),
        ("data", "input"),
    ),
    **dict.fromkeys(("validation_file", "test_file", "eval_file", "dev_file", "data"), ("data", "input")),
    **dict.fromkeys(("input_file", "predict_file", "infile", "file", "corpus", "files"), ("input", "data")),
    **dict.fromkeys(("output_dir", "output_file", "output_path", "out", "out_dir", "outdir", "save_dir"), ("output",)),
    **dict.fromkeys(("weight_decay", "wd"), ("weight-decay", "optim.weight-decay")),
    **dict.fromkeys(
        ("warmup_ratio", "warmup_proportion", "warmup_steps", "num_warmup_steps"), ("warmup", "optim.warmup")
    ),
    **dict.fromkeys(("lr_scheduler_type", "lr_scheduler", "lr_schedule"), ("schedule", "optim.schedule")),
    **dict.fromkeys(("seed", "random_seed", "random_state"), ("seeds", "seed")),
    **dict.fromkeys(
        ("text_column", "text_column_name", "text_col", "sentence1_key", "text_field", "content_column"),
        ("text", "field"),
    ),
    **dict.fromkeys(("text_pair", "text_b", "sentence2_key", "second_text"), ("pair",)),
    **dict.fromkeys(
        ("label_column", "label_column_name", "label_col", "target", "target_column", "labels"), ("label",)
    ),
    **dict.fromkeys(("do_lower_case", "lower_case", "lower", "uncased"), ("lowercase",)),
    **dict.fromkeys(("early_stopping_patience", "early_stopping"), ("patience",)),
    **dict.fromkeys(("eval_steps", "evaluation_steps", "eval_every"), ("evaluate-every",)),
    **dict.fromkeys(("save_steps", "save_checkpoints_steps"), ("save-every",)),
    **dict.fromkeys(("num_workers", "preprocessing_num_workers", "num_proc", "processes"), ("workers",)),
    **dict.fromkeys(("max_grad_norm", "gradient_clip_val", "clip_norm"), ("optim.clip-norm",)),
    **dict.fromkeys(("hidden_dropout_prob", "dropout_rate"), ("dropout",)),
    **dict.fromkeys(("masked_lm_prob", "mlm_probability", "mlm_prob"), ("mask-rate",)),
    **dict.fromkeys(("separator", "sep"), ("delimiter",)),
    **dict.fromkeys(("normalize_embeddings", "normalise"), ("normalize",)),
    "task_name": ("task",),
    "save_total_limit": ("keep",),
    "logging_steps": ("log-every",),
    "adam_beta1": ("optim.b1",),
    "adam_beta2": ("optim.b2",),
    "adam_epsilon": ("optim.epsilon",),
    "vocab_size": ("size",),
    "max_predictions_per_seq": ("max-predictions",),
    "pooling_mode": ("pooling",),
    "top_k": ("best", "n-best"),
    "n_best_size": ("n-best",),
}
# Flag of ours -> the value it takes, where that differs from other programs.
_VALUES = {
    "warmup": _SHARE,
    "optim.warmup": _SHARE,
    "steps": "a number of updates",
    "epochs": "a number of passes over the rows",
    "seeds": "one or more",
}
_NOT_NEEDED = {
    **dict.fromkeys(("fp16", "bf16", "mixed_precision", "amp"), "--dtype bfloat16, where the verb trains"),
    **dict.fromkeys(("do_train", "do_eval", "do_predict"), "not needed: the verb decides what is done"),
    **dict.fromkeys(
        ("resume_from_checkpoint", "resume", "overwrite_output_dir"),
        "not needed: the same command resumes the run in --output; for a new run, choose a new folder",
    ),
    **dict.fromkeys(
        ("evaluation_strategy", "eval_strategy", "save_strategy", "load_best_model_at_end", "metric_for_best_model"),
        "not needed: dev rows are scored each epoch, and the best checkpoint is kept",
    ),
    **dict.fromkeys(("device", "gpu", "gpus", "cuda", "use_cuda", "no_cuda"), "not needed: JAX uses all devices"),
    **dict.fromkeys(("report_to", "push_to_hub", "hub_model_id"), "not available: nothing is uploaded"),
}


def hints(arguments: Sequence[str], settings: type) -> list[str]:
    """Return a hint for each of the arguments that is a flag of another program; `settings` is the verb's dataclass."""
    flags = frozenset(_flags(settings))
    replacements = []
    for argument in arguments:
        flag = argument.split("=")[0]
        name = flag.removeprefix("--").replace("_", "-")
        if flag.startswith("--") and not {name, name.removeprefix("no-")} & flags and (hint := hint_for(name, flags)):
            replacements.append(f"{flag} is {hint}")
    return list(dict.fromkeys(replacements))


def hint_for(name: str, flags: Collection[str]) -> str:
    """Return the hint for a flag of another program, with the corresponding one of `flags`; "" if there is none."""
    name = name.replace("-", "_").lower()
    if name in _NOT_NEEDED:
        return _NOT_NEEDED[name]
    ours = next((flag for flag in _OURS.get(name, ()) if flag in flags), "")
    value = f" ({_VALUES[ours]})" if ours in _VALUES else ""
    return f"--{ours}{value} here" if ours else ""


def key_for(name: str, keys: Collection[str]) -> str:
    """Return the one of `keys` that corresponds to a setting of another program; "" if there is none."""
    candidates = (flag.replace("-", "_").split(".")[-1] for flag in _OURS.get(name.replace("-", "_").lower(), ()))
    return next((key for key in candidates if key in keys), "")


def _flags(settings: Any, prefix: str = "") -> Iterator[str]:
    """Yield the names of all flags of a settings dataclass; flags of nested dataclasses contain a dot."""
    types = typing.get_type_hints(settings)
    for field in dataclasses.fields(settings):
        name = prefix + field.name.rstrip("_").replace("_", "-")
        yield name
        if dataclasses.is_dataclass(types[field.name]):
            yield from _flags(types[field.name], f"{name}.")
