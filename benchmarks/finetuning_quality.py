"""Compare dev scores after fine-tuning, over seeds, with a plain Hugging Face PyTorch loop from the same checkpoint.

    taskset -c 0 python benchmarks/finetuning_quality.py CHECKPOINT GLUE SQUAD --seeds 1 2 3 --output quality.jsonl
    python benchmarks/finetuning_quality.py --output quality.jsonl --table

CHECKPOINT is a Hugging Face folder of a BERT, GLUE holds the official folders, SQUAD train.json and dev.json. Both
sides use the same recipe: float32, peak learning rate 5e-5 (--learning-rate) with 10 % warm-up and linear decay, AdamW
with weight decay 0.01 for matrices, gradients clipped at 1, dropout 0.1, batches of rows of similar length. GLUE: 3
epochs, batch 32, 128 tokens. SQuAD: 5 epochs, batch 16, windows of 384 tokens that overlap by 128. The dev rows are
scored after each epoch, and the best epoch counts. --epochs squad=3 sets another number for a task. The side pytorch
uses transformers' tokenizer, models and initialization, and draws its own batches; pytorch_same_batches uses the
batches that bert_jax draws with the seed. All are scored by bert_jax.tasks.

Each finished run appends a line of JSON to the output; runs that the output already holds are skipped. --table prints
the output as Markdown, in per cent.
"""

import argparse
import dataclasses
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tables

from bert_jax.data.batches import Batches
from bert_jax.data.encoded import Encoded

TASKS = ("mrpc", "stsb", "cola", "rte", "squad")
LENGTH = {"squad": 384}  # tokens of a row; 128 elsewhere
OVERLAP = 128  # tokens that two neighbouring windows share
CANDIDATES = 20  # best starts and best ends that are combined
MAX_ANSWER_TOKENS = 30

Scores = dict[str, float]


@dataclasses.dataclass(frozen=True)
class Run:
    """The dev scores and the mean loss of each epoch of one training."""

    epochs: list[Scores]
    losses: list[float]

    @property
    def best(self) -> int:
        """The index of the best epoch, the first among equals."""
        mains = [scores["main"] for scores in self.epochs]
        return mains.index(max(mains))


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("checkpoint", type=Path, nargs="?")
    arguments.add_argument("glue", type=Path, nargs="?")
    arguments.add_argument("squad", type=Path, nargs="?")
    arguments.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    arguments.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    arguments.add_argument("--sides", nargs="+", choices=tuple(SIDES), default=list(SIDES))
    arguments.add_argument("--epochs", nargs="+", type=task_epochs, default=[], metavar="TASK=N")
    arguments.add_argument("--learning-rate", type=float, default=5e-5)
    arguments.add_argument("--output", type=Path, required=True)
    arguments.add_argument("--table", action="store_true")
    options = arguments.parse_args()
    if options.table:
        print("\n".join(table(read_lines(options.output))))
        return 0
    if options.squad is None:
        arguments.error("CHECKPOINT, GLUE and SQUAD are needed to run")
    recipes = {task: recipe_of(task, options.learning_rate, dict(options.epochs).get(task)) for task in options.tasks}
    done = {(line["task"], line["side"], line["seed"], epochs_of(line)) for line in read_lines(options.output)}
    for seed in options.seeds:
        for task in options.tasks:
            for side in options.sides:
                if (task, side, seed, recipes[task].epochs) not in done:
                    line = measure(task, side, seed, recipes[task], options)
                    with options.output.open("a") as file:
                        file.write(json.dumps(line) + "\n")
                    print(json.dumps(line), flush=True)
    return 0


def task_epochs(text: str) -> tuple[str, int]:
    task, _, epochs = text.partition("=")
    if task not in TASKS or not epochs.isdecimal() or int(epochs) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a task and its epochs, like squad=3")
    return task, int(epochs)


def epochs_of(line: dict[str, Any]) -> int:
    return len(line["main_by_epoch"])


def measure(task: str, side: str, seed: int, recipe: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Train and score once; return the output line."""
    start, cpu = time.perf_counter(), time.process_time()
    data = options.squad if task == "squad" else options.glue
    run = SIDES[side](task, options.checkpoint, data, seed, recipe)
    return {
        "task": task,
        "side": side,
        "seed": seed,
        "scores": run.epochs[run.best],
        "best_epoch": run.best + 1,
        "main_by_epoch": [round(scores["main"], 4) for scores in run.epochs],
        "loss_by_epoch": [round(loss, 4) for loss in run.losses],
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),  # depends less on other work on the machine
    }


def recipe_of(task: str, rate: float, epochs: int | None = None) -> Any:
    from pytorch_loop import Recipe

    recipe = Recipe(learning_rate=rate, **({"epochs": 5, "batch_size": 16} if task == "squad" else {}))
    return recipe if epochs is None else dataclasses.replace(recipe, epochs=epochs)


def run_ours(task: str, checkpoint: Path, data: Path, seed: int, recipe: Any) -> Run:
    from bert_jax import FinetuneConfig, finetune
    from bert_jax.train.metrics import read_metrics

    with tempfile.TemporaryDirectory() as scratch:
        config = FinetuneConfig(
            checkpoint,
            data,
            Path(scratch, "run"),
            task=task,
            epochs=recipe.epochs,
            batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate,
            warmup=recipe.warmup,
            weight_decay=recipe.weight_decay,
            dropout=recipe.dropout,
            max_length=LENGTH.get(task, 128),
            overlap=OVERLAP if task == "squad" else None,
            seeds=(seed,),
            log_every=1,
        )
        (folder,) = finetune(config)
        lines, result = read_metrics(folder.path), folder.result()
    run = Run(
        [scores for _, split, scores in lines if split == "dev"],
        epoch_means([values["loss"] for _, split, values in lines if split == "train"], recipe.epochs),
    )
    if result is None or run.epochs[run.best] != result["dev"]:
        raise RuntimeError(f"{task} seed {seed}: result.json does not have the best epoch's scores: {result}")
    return run


def run_pytorch(task: str, checkpoint: Path, data: Path, seed: int, recipe: Any) -> Run:
    from pytorch_loop import by_length

    return train_pytorch(task, checkpoint, data, seed, recipe, by_length)


def run_same_batches(task: str, checkpoint: Path, data: Path, seed: int, recipe: Any) -> Run:
    return train_pytorch(task, checkpoint, data, seed, recipe, order_of_ours(seed))


def order_of_ours(seed: int) -> Callable[..., list[np.ndarray]]:
    """Return a function that gives the rows of each batch as bert_jax draws them, one epoch after the other."""
    epochs = itertools.count()

    def order(sizes: np.ndarray, batch_size: int, _: np.random.Generator) -> list[np.ndarray]:
        rows = Encoded(
            tokens=np.zeros(sizes.sum(), np.int32),
            offsets=np.concatenate([[0], np.cumsum(sizes)]),
            segment_b=sizes.astype(np.int32),
            labels=np.arange(len(sizes), dtype=np.int32),  # row numbers
            pad=0,
            max_length=int(sizes.max()),
            dropped=0,
            truncated=0,
        )
        batches = Batches(rows, batch_size, seed)
        first = next(epochs) * batches.steps_per_epoch
        drawn = [batches.batch(first + i) for i in range(batches.steps_per_epoch)]
        return [batch["label"][batch["weight"] > 0] for batch in drawn]

    return order


def train_pytorch(task: str, checkpoint: Path, data: Path, seed: int, recipe: Any, order: Callable[..., Any]) -> Run:
    import pytorch_loop

    prepare = read_questions if task == "squad" else read_rows
    model, tokenizer, rows, dev, score = prepare(task, checkpoint, data, seed, recipe)
    epochs: list[Scores] = []

    def after_epoch() -> None:
        epochs.append(score(pytorch_loop.predict(model, tokenizer, dev, recipe.batch_size)))
        print(f"{task} pytorch seed {seed} epoch {len(epochs)}: {epochs[-1]}", file=sys.stderr, flush=True)

    losses = pytorch_loop.train(model, tokenizer, rows, recipe, order, seed, after_epoch)
    return Run(epochs, epoch_means(losses, recipe.epochs))


SIDES: dict[str, Callable[[str, Path, Path, int, Any], Run]] = {
    "ours": run_ours,
    "pytorch": run_pytorch,
    "pytorch_same_batches": run_same_batches,
}


def epoch_means(losses: Sequence[float], epochs: int) -> list[float]:
    return np.array(losses).reshape(epochs, -1).mean(axis=1).tolist()


def read_rows(task: str, checkpoint: Path, data: Path, seed: int, recipe: Any) -> tuple:
    """Return model, tokenizer, training rows and dev rows of a GLUE task, and the function that scores dev logits."""
    from pytorch_loop import encode, load

    from bert_jax.data.labelled.glue import read_labelled_task
    from bert_jax.tasks.scores import main_score, score

    labelled = read_labelled_task(task, data)
    tokenizer, model = load(
        "SequenceClassification", checkpoint, recipe, seed, num_labels=len(labelled.labels or ("score",))
    )

    def scored(logits: list[np.ndarray]) -> Scores:
        outputs = np.stack(logits)
        predictions = outputs[:, 0] if labelled.labels is None else outputs.argmax(axis=-1)
        scores = score(labelled.metrics, predictions, np.array(labelled.dev.labels))
        return {**scores, "main": main_score(scores, labelled.main)}

    rows = encode(tokenizer, labelled.train, LENGTH.get(task, 128), labelled=True)
    return model, tokenizer, rows, encode(tokenizer, labelled.dev, LENGTH.get(task, 128)), scored


def read_questions(task: str, checkpoint: Path, data: Path, seed: int, recipe: Any) -> tuple:
    """Return the same for questions and their contexts, in windows."""
    from pytorch_loop import load

    from bert_jax.data.labelled.squad import read_squad
    from bert_jax.tasks.squad_scores import squad_scores

    tokenizer, model = load("QuestionAnswering", checkpoint, recipe, seed)
    train, questions = read_squad(data / "train.json").items, read_squad(data / "dev.json")
    dev = questions.items
    dev_windows = windows(tokenizer, dev)
    golds = {item.id: item.golds for item in dev}

    def scored(logits: list[np.ndarray]) -> Scores:
        best: dict[str, tuple[float, str]] = {item.id: (-np.inf, "") for item in dev}
        for window, scores in zip(dev_windows, logits, strict=True):
            item = dev[window["owner"]]
            best[item.id] = max(best[item.id], best_answer(window, item.context, scores), key=lambda answer: answer[0])
        scores = squad_scores({name: text for name, (_, text) in best.items()}, golds, questions.version)
        return {**scores, "main": scores["f1"]}

    inputs = []
    for window in windows(tokenizer, train):
        first, last = answer_places(window, train[window["owner"]])
        inputs.append({**window["inputs"], "start_positions": first, "end_positions": last})
    return model, tokenizer, inputs, [window["inputs"] for window in dev_windows], scored


def windows(tokenizer: Any, items: list) -> list[dict[str, Any]]:
    """Return the windows of questions: model inputs, the number of the question, and the span of each token.

    Spans are in characters of the context; None for tokens that are not in it.
    """
    encoded = tokenizer(
        [item.question for item in items],
        [item.context for item in items],
        truncation="only_second",
        max_length=LENGTH["squad"],
        stride=OVERLAP,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    owners, offsets = encoded.pop("overflow_to_sample_mapping"), encoded.pop("offset_mapping")
    result = []
    for i, owner in enumerate(owners):
        spans = zip(offsets[i], encoded.sequence_ids(i), strict=True)
        result.append(
            {
                "inputs": {name: values[i] for name, values in encoded.items()},
                "owner": owner,
                "spans": [tuple(span) if part == 1 else None for span, part in spans],
            }
        )
    return result


def answer_places(window: dict[str, Any], item: Any) -> tuple[int, int]:
    """Return the first and last token of the first answer; [CLS] twice if the window does not hold all of it."""
    text, start = item.answers[0]
    end = start + len(text)
    spans = [(i, *span) for i, span in enumerate(window["spans"]) if span is not None]
    if spans[0][1] > start or spans[-1][2] < end:
        return 0, 0
    first = next(i for i, _, token_end in spans if token_end > start)
    return first, next(i for i, token_start, _ in reversed(spans) if token_start < end)


def best_answer(window: dict[str, Any], context: str, logits: np.ndarray) -> tuple[float, str]:
    """Return the score and text of the best valid span among the most likely starts and ends."""
    spans = window["spans"]
    starts, ends = (np.argsort(-logits[:, side], kind="stable")[:CANDIDATES].tolist() for side in (0, 1))
    best, text = -np.inf, ""
    for first in starts:
        for last in ends:
            valid = spans[first] is not None and spans[last] is not None and first <= last < first + MAX_ANSWER_TOKENS
            if valid and logits[first, 0] + logits[last, 1] > best:
                best = float(logits[first, 0] + logits[last, 1])
                text = context[spans[first][0] : spans[last][1]]
    return best, text


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def table(lines: Sequence[dict[str, Any]]) -> list[str]:
    """Return a table of mean and deviation over the common seeds, and the standard error of the difference."""
    head = ["task", "epochs", "against", "metric", "seeds", "bert_jax", "PyTorch", "difference", "standard error"]
    rows = []
    runs = {(TASKS.index(line["task"]), epochs_of(line), line["side"], line["seed"]): line["scores"] for line in lines}
    kinds = sorted({key[:3] for key in runs if key[2] != "ours"})
    for index, epochs, side in kinds:
        task = TASKS[index]
        seeds = [seed for *kind, seed in runs if kind == [index, epochs, side]]
        seeds = [seed for seed in seeds if (index, epochs, "ours", seed) in runs]
        if len(seeds) < 2:
            continue
        ours, theirs = ([runs[index, epochs, which, seed] for seed in seeds] for which in ("ours", side))

        for metric in (metric for metric in ours[0] if metric != "main"):
            scale = 1 if task == "squad" else 100
            values = [[scale * scores[metric] for scores in side] for side in (ours, theirs)]
            (mean, other), deviations = map(statistics.mean, values), [statistics.stdev(side) for side in values]
            error = sum(deviation**2 / len(side) for deviation, side in zip(deviations, values, strict=True)) ** 0.5
            scores = [f"{mean:.2f} ± {deviations[0]:.2f}", f"{other:.2f} ± {deviations[1]:.2f}"]
            rows.append([task, epochs, side, metric, len(seeds), *scores, f"{mean - other:+.2f}", f"{error:.2f}"])
    return tables.markdown(head, rows)


if __name__ == "__main__":
    sys.exit(main())
