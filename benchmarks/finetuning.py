"""Measure fine-tuning on MRPC and prediction of short texts against Hugging Face PyTorch, from the same checkpoint.

    taskset -c 0,1 python benchmarks/finetuning.py GLUE CHECKPOINT [--model bert-small] [--parts mrpc again predict]

GLUE holds MRPC and SST-2. CHECKPOINT is a Hugging Face folder, or the vocab.txt of bert-base-uncased; --model then gets
random weights, which do not change the speed. Both sides run float32, batches of 32, AdamW with warm-up, dropout 0.1.
PyTorch pads to the longest row of each batch, as its examples do. Our time runs from reading the files to the report
and includes compilation; `again` is a second run with compiled programs from disk. PyTorch's time starts at encoding.
The seconds of the epochs include steps and dev scores, and for bert_jax compilation and checkpoints. Prints JSON.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

PARTS = ("mrpc", "again", "predict")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("glue", type=Path)
    arguments.add_argument("checkpoint", type=Path)
    arguments.add_argument("--model", default="bert-small")
    arguments.add_argument("--epochs", type=int, default=3)
    arguments.add_argument("--texts", type=int, default=40_000)
    arguments.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        import jax

        jax.config.update("jax_compilation_cache_dir", str(Path(scratch, "xla")))  # start with an empty compile cache
        folder = options.checkpoint
        if not folder.is_dir():
            folder = Path(scratch, "checkpoint")
            write_checkpoint(folder, options.model, options.checkpoint)
        measured: dict[str, float] = {}
        run = Path(scratch, "cold")
        measured["mrpc_seconds"], measured["epochs_seconds"] = finetune_ours(folder, options, run)
        if "mrpc" in options.parts:
            theirs = finetune_theirs(folder, options)
            measured["mrpc_seconds_pytorch"], measured["epochs_seconds_pytorch"] = theirs
            for part in ("mrpc", "epochs"):
                measured[f"{part}_times_as_fast"] = measured[f"{part}_seconds_pytorch"] / measured[f"{part}_seconds"]
        if "again" in options.parts:
            measured["again_seconds"], _ = finetune_ours(folder, options, Path(scratch, "again"))
        if "predict" in options.parts:
            texts = sentences(options.glue, options.texts)
            measured["texts"] = len(texts)
            measured["predict_seconds"] = predict_ours(run, texts)
            measured["predict_seconds_pytorch"] = predict_theirs(folder, texts)
            measured["predict_times_as_fast"] = measured["predict_seconds_pytorch"] / measured["predict_seconds"]
    name = options.checkpoint.name if options.checkpoint.is_dir() else options.model
    print(json.dumps({"model": name, **{key: round(value, 2) for key, value in measured.items()}}, indent=1))


def write_checkpoint(folder: Path, name: str, vocab: Path) -> None:
    """Write a Hugging Face folder of the model with random weights."""
    from bert_jax.convert.hugging_face.model_folder import write_huggingface
    from bert_jax.model import presets
    from bert_jax.pretrained import Pretrained, shapes_of
    from bert_jax.text import load_tokenizer

    tokenizer = load_tokenizer(vocab)
    model = presets.resolve(name, tokenizer.vocab_size)
    rng = np.random.default_rng(0)
    params = {
        path: (rng.normal(size=shape) * 0.02 + path.endswith("scale")).astype(np.float32)
        for path, shape in shapes_of("encoder", model, pooler=True).items()
    }
    folder.mkdir()
    write_huggingface(Pretrained(name, "encoder", model, tokenizer, params), folder)


def finetune_ours(folder: Path, options: argparse.Namespace, output: Path) -> tuple[float, float]:
    """Return the seconds of the whole command, in this process, and of its epochs."""
    from bert_jax import FinetuneConfig, finetune

    start = time.perf_counter()
    config = FinetuneConfig(folder, options.glue, output, task="mrpc", epochs=options.epochs, log_every=1000)
    (run,) = finetune(config)
    return time.perf_counter() - start, (run.result() or {})["seconds_since_last_start"]


def finetune_theirs(folder: Path, options: argparse.Namespace) -> tuple[float, float]:
    """Return the seconds of a plain loop that scores the dev rows after each epoch, with and without encoding."""
    from pytorch_loop import Recipe, encode, in_random_order, load, predict, train

    from bert_jax.data.labelled.glue import read_labelled_task

    data, recipe = read_labelled_task("mrpc", options.glue), Recipe(options.epochs)
    tokenizer, model = load("SequenceClassification", folder, recipe, seed=0, num_labels=2)
    start = time.perf_counter()
    rows = encode(tokenizer, data.train, 128, labelled=True)
    dev = encode(tokenizer, data.dev, 128)
    encoded = time.perf_counter()
    train(model, tokenizer, rows, recipe, in_random_order, 0, lambda: predict(model, tokenizer, dev, recipe.batch_size))
    end = time.perf_counter()
    return end - start, end - encoded


def sentences(glue: Path, count: int) -> list[str]:
    """Return short texts, those of SST-2."""
    from bert_jax.data.labelled.glue import read_labelled_task

    return read_labelled_task("sst2", glue).train.texts[:count]


def predict_ours(run: Path, texts: list[str]) -> float:
    """Return the seconds from strings to probabilities, including compilation."""
    import bert_jax

    model = bert_jax.load(run)
    model.task = model.task.changed(pair=None)
    start = time.perf_counter()
    model.predict(texts)
    return time.perf_counter() - start


def predict_theirs(folder: Path, texts: list[str]) -> float:
    """Return the seconds from strings to probabilities, in batches of 64 in the order of the texts."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2).eval()
    start = time.perf_counter()
    with torch.no_grad():
        for first in range(0, len(texts), 64):
            inputs = tokenizer(
                texts[first : first + 64], truncation=True, max_length=128, padding=True, return_tensors="pt"
            )
            torch.softmax(model(**inputs).logits, dim=-1).tolist()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
