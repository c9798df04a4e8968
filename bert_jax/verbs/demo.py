"""bert-jax demo: text to a model that answers, from nothing but what is installed."""

import csv
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bert_jax import cli
from bert_jax.config import ModelConfig, to_toml
from bert_jax.demo.report import DemoResults, Prediction, write_report
from bert_jax.demo.task import DemoData, write_corpus_and_task
from bert_jax.errors import Stopped, UserError
from bert_jax.output import check_new_folder, remove_content, write_text
from bert_jax.settings.demo import DemoConfig
from bert_jax.terminal import say

MINUTES = 7  # on two cores of a server CPU; said at the start
SEED = 1
SHOWN_PREDICTIONS = 6

LENGTH = 64
MASK_RATE = 0.3  # MosaicBERT: twice as much to learn from each sequence, when there are minutes and not days
MODEL = ModelConfig(
    vocab_size=4096, width=128, depth=2, heads=2, mlp_width=512, max_length=LENGTH, initializer_range=0.06
)  # bert-tiny with a small vocabulary; at this width the usual 0.02 starts too near zero to learn much in minutes
PRETRAIN = {
    "steps": 2200,
    "batch-size": 32,
    "dropout": 0.0,  # hardly any example is seen twice
    "optim.peak-lr": 2e-3,
    "optim.warmup": 0.1,
    "save-every": 1000,
    "evaluate-every": 400,
}
FINETUNE = {
    "task": "rows",
    "epochs": 10,
    "batch-size": 16,
    "learning-rate": 3e-4,  # Turc et al. 2019, for models of this size
    "dropout": 0.1,
    "max-length": LENGTH,
}


def demo(config: DemoConfig) -> DemoResults:
    """Runs the whole line through the same commands that a user types, and returns what report.md says."""
    folder = config.output
    _clear(folder)
    began, stages = time.perf_counter(), dict[str, float]()
    commands: list[str] = []

    def run(stage: str, *words: object) -> None:
        arguments = [str(word) for word in words]
        commands.append("bert-jax " + " ".join(arguments))
        say(f"\n$ {commands[-1]}")
        with _timed(stages, stage):
            code = cli.main(arguments)
        if code == cli.STOPPED:
            raise Stopped("stopped; `bert-jax demo` starts anew")
        if code:
            raise UserError(f"the demo ended at `{commands[-1]}`, see above")

    say(f"Text to a model that answers, in about {MINUTES} minutes on two CPU cores. Everything goes to {folder}/.")
    say("Reading the documentation of the installed Python packages ...")
    with _timed(stages, "corpus"):
        data = write_corpus_and_task(folder / "data", SEED)
    _say_data(data)
    vocab, shards, pretrained = folder / "vocab", folder / "shards", folder / "pretrained"
    run("vocabulary", "prep", "vocab", "--input", data.corpus, "--output", vocab, "--size", MODEL.vocab_size)
    run(
        *("shards", "prep", "shards", "--input", data.corpus, "--tokenizer", vocab, "--output", shards),
        *("--length", LENGTH, "--dupe-factor", 2, "--mask-rate", MASK_RATE, "--held-out", 0.02),
    )
    shape = folder / "model.toml"
    write_text(shape, to_toml(MODEL))
    run("pre-training", "pretrain", "--data", shards, "--output", pretrained, "--model", shape, *_flags(PRETRAIN))
    line = ("finetune", "--from", pretrained, "--data", folder / "data", *_flags(FINETUNE))
    tuned, scratch = folder / "finetuned", folder / "from-scratch"
    run("fine-tuning", *line, "--output", tuned)
    run("from random weights", *line, "--output", scratch, "--from-scratch")
    with _timed(stages, "prediction"):
        predictions = _predict(tuned, data.dev)
    results = _results(data, stages, time.perf_counter() - began, predictions, commands, pretrained, tuned, scratch)
    write_report(folder, results)
    return results


def _clear(folder: Path) -> None:
    """Remove what an earlier demo left, and nothing else; the folder itself may be a mount point."""
    if not (folder / "data" / "corpus.jsonl").exists():
        check_new_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    remove_content(folder)


def _flags(settings: Mapping[str, object]) -> Iterator[object]:
    for name, value in settings.items():
        yield f"--{name}"
        yield value


@contextmanager
def _timed(stages: dict[str, float], name: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    stages[name] = time.perf_counter() - began


def _say_data(data: DemoData) -> None:
    counts = data.corpus_counts
    say(
        f"{counts.documents:,} modules, {counts.words:,} words to pre-train on. The task: which of {len(data.labels)} "
        f"libraries does a docstring come from? {data.train_rows} rows to learn it, {data.dev_rows} held out."
    )


def _predict(run: Path, dev: Path) -> list[Prediction]:
    from bert_jax.inference.load import load

    with dev.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:SHOWN_PREDICTIONS]
    answers = load(run).predict([row["text"] for row in rows])
    return [
        Prediction(row["text"], answer.label or "", answer.probabilities or {}, row["label"])
        for row, answer in zip(rows, answers, strict=True)
    ]


def _results(
    data: DemoData,
    stages: dict[str, float],
    seconds: float,
    predictions: list[Prediction],
    commands: list[str],
    pretrained: Path,
    tuned: Path,
    scratch: Path,
) -> DemoResults:
    from bert_jax.train.metrics import read_metrics
    from bert_jax.train.run import open_run

    losses = [values["loss"] for _, split, values in read_metrics(pretrained) if split == "train"]
    return DemoResults(
        pretrained_accuracy=_accuracy(tuned),
        scratch_accuracy=_accuracy(scratch),
        majority_accuracy=data.majority,
        pretrain_loss_first=losses[0],
        pretrain_loss_last=losses[-1],
        seconds=seconds,
        stage_seconds=stages,
        corpus={
            "documents": data.corpus_counts.documents,
            "words": data.corpus_counts.words,
            "held-out documents": data.held_out_counts.documents,
        },
        task={"classes": len(data.labels), "training rows": data.train_rows, "dev rows": data.dev_rows},
        model=_in_words(open_run(pretrained).model()),
        device=_device(),
        predictions=predictions,
        commands=commands,
        pretrain_run=pretrained,
        pretrained_run=tuned,
        scratch_run=scratch,
    )


def _accuracy(run: Path) -> float:
    from bert_jax.train.run import open_run

    return open_run(run).dev_result()[1]["accuracy"]


def _in_words(model: ModelConfig) -> str:
    from bert_jax.model.encoder import parameter_count

    return f"{model.depth} layers, {model.width} wide, {parameter_count(model) / 1e6:.1f} M parameters"


def _device() -> str:
    import jax

    kind = jax.devices()[0].device_kind
    return f"{os.cpu_count()} CPU cores" if kind == "cpu" else f"{jax.device_count()} x {kind}"


def main(config: DemoConfig) -> int:
    """Run the demo and print what came out; return the exit code."""
    results = demo(config)
    say("\nHeld-out accuracy:")
    for name, value in (
        ("majority class", results.majority_accuracy),
        ("random weights, fine-tuned", results.scratch_accuracy),
        ("pre-trained, fine-tuned", results.pretrained_accuracy),
    ):
        say(f"  {name:28} {value:.1%}")
    say("\nA few held-out lines:")
    for prediction in results.predictions:
        mark = "right" if prediction.label == prediction.truth else f"it was {prediction.truth}"
        sure = max(prediction.probabilities.values())
        say(f"  {prediction.label:14} {sure:4.0%}  {mark:20} {prediction.text[:70]}")
    say(f"\n{results.seconds:.0f} seconds. Read {config.output}/report.md, look at {config.output}/curves.png.")
    sys.stdout.flush()
    return 0
