"""bert-jax demo: pre-train and fine-tune a small model on installed documentation, and report the results."""

import csv
import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bert_jax import cli
from bert_jax.command_name import typed
from bert_jax.config import ModelConfig, to_toml
from bert_jax.cpu import usable_cores
from bert_jax.demo.closing import closing_lines
from bert_jax.demo.demo_record import DemoRecord, open_record
from bert_jax.demo.demo_report import write_report
from bert_jax.demo.demo_results import DemoAnswer, DemoResults, MaskedSentence, Seeds
from bert_jax.demo.docstring_task import DemoData, read_demo_data, write_corpus_and_task
from bert_jax.errors import Stopped, UserError
from bert_jax.files import read_json
from bert_jax.output import whole_folder, write_text
from bert_jax.settings.demo import DemoConfig
from bert_jax.tasks.bag_of_words import word_accuracy
from bert_jax.terminal import say
from bert_jax.train.run import RUNS
from bert_jax.train.signals import INTERRUPTED
from bert_jax.version import __version__
from bert_jax.wording import counted

MINUTES = 8  # duration on two cores of a server CPU, for the first message
SEED = 1
SEEDS = (1, 2, 3)  # of fine-tuning

DEMO_LENGTH = 64
MASK_RATE = 0.3  # MosaicBERT: twice as many predictions per sequence; worth it in a short training
DEMO_MODEL = ModelConfig(  # bert-tiny, adapted to minutes of training
    vocab_size=4096,
    width=128,
    depth=2,
    heads=2,
    mlp_width=512,
    max_length=DEMO_LENGTH,
    initializer_range=0.06,  # at this width the usual 0.02 is too small
    pool_from="mean",  # the output of [CLS] takes longer to become useful
)
SHARDS = {"length": DEMO_LENGTH, "dupe-factor": 2, "mask-rate": MASK_RATE, "held-out": 0.02}
PRETRAIN = {
    "steps": 1800,
    "batch-size": 32,
    "dropout": 0.0,  # hardly any example is repeated
    "optim.peak-lr": 2e-3,
    "optim.warmup": 0.1,
    "save-every": 1000,
    "evaluate-every": 400,
}
FINETUNE = {
    "task": "rows",
    "epochs": 10,
    "batch-size": 16,
    "learning-rate": 1e-3,
    "dropout": 0.1,
    "max-length": DEMO_LENGTH,
}
HIDDEN = ("If [MASK], the default is used.", "A tuple [MASK] two elements.")
SHOWN_WORDS = 4  # predictions per masked word
EXAMPLE_TEXT = "Draw a line between the points of two axes."


def demo(config: DemoConfig) -> DemoResults:
    """Run all stages as the commands that a user would type, write the report, and return its content.

    Stages that an interrupted demo has finished are not run again.
    """
    folder = config.output
    record = open_record(folder, _recipe())
    stages = _Stages(record)
    if record.stage_seconds:
        say(f"Resuming the demo in {folder}/.")
    else:
        say(
            f"Pre-training and fine-tuning a small BERT: about {MINUTES} minutes on two CPU cores. All files go to "
            f"{folder}/."
        )
    data = _data(folder / "data", record)
    vocab, shards, pretrained = folder / "vocab", folder / "shards", folder / "pretrained"
    stages.run(
        "vocabulary", vocab, "prep", "vocab", "--input", data.corpus, "--output", vocab, "--size", DEMO_MODEL.vocab_size
    )
    stages.run(
        *("shards", shards / "manifest.json"),
        *("prep", "shards", "--input", data.corpus, "--tokenizer", vocab, "--output", shards, *_flags(SHARDS)),
    )
    shape = folder / "model.toml"
    write_text(shape, to_toml(DEMO_MODEL))
    stages.run(
        *("pre-training", pretrained / "result.json"),
        *("pretrain", "--data", shards, "--output", pretrained, "--model", shape, *_flags(PRETRAIN)),
    )
    finetune = ("finetune", "--from", pretrained, "--data", folder / "data", *_flags(FINETUNE), "--seeds", *SEEDS)
    tuned, scratch = folder / "finetuned", folder / "from-scratch"
    stages.run("fine-tuning", tuned / "report.html", *finetune, "--output", tuned)
    stages.run("from random weights", scratch / "report.html", *finetune, "--output", scratch, "--from-scratch")
    with record.timed("answers"):
        answers, hidden = _answer(tuned, data.dev), _fill(pretrained)
    results = _results(data, record, stages.commands, folder, answers, hidden)
    write_report(folder, results)
    return results


class _Stages:
    """Runs the stages, each as the command that a user would type."""

    def __init__(self, record: DemoRecord) -> None:
        self.record, self.commands = record, list[str]()

    def run(self, stage: str, result: Path, *words: object) -> None:
        """Run a command, unless its `result` exists. Raises Stopped or UserError if it fails."""
        arguments = [str(word) for word in words]
        self.commands.append(typed(arguments))
        say(f"\n$ {self.commands[-1]}")
        if result.exists():
            say("already done")
            return
        with self.record.timed(stage):
            code = cli.main(arguments)
        if code == cli.STOPPED:
            raise Stopped("stopped; run the same command again to resume")
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        if code:
            raise UserError(f"the demo failed at `{self.commands[-1]}`, see above")


def _recipe() -> str:
    """Return a hash of all settings that the results of the stages depend on."""
    parts = (__version__, SEED, SEEDS, DEMO_MODEL, SHARDS, PRETRAIN, FINETUNE)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _flags(settings: Mapping[str, object]) -> Iterator[object]:
    for name, value in settings.items():
        yield f"--{name}"
        yield value


def _data(folder: Path, record: DemoRecord) -> DemoData:
    """Return the corpus and the task, which are written unless they exist, and print their counts."""
    if not folder.exists():
        say("Reading the documentation of the installed Python packages ...")
        with record.timed("corpus"), whole_folder(folder) as making:
            write_corpus_and_task(making, SEED)
    data = read_demo_data(folder)
    counts = data.corpus_counts
    say(
        f"Pre-training corpus: {counts.documents:,} modules, {counts.words:,} words. Task: which of "
        f"{len(data.labels)} libraries does a docstring come from? {data.train_rows} training rows, {data.dev_rows} "
        "held-out rows."
    )
    return data


def _answer(run: Path, dev: Path) -> list[DemoAnswer]:
    from bert_jax.inference.loading import load

    texts, labels = _columns(dev)
    answers = load(run).predict(texts)
    return [
        DemoAnswer(text, answer.label or "", answer.probabilities or {}, label)
        for text, label, answer in zip(texts, labels, answers, strict=True)
    ]


def _columns(path: Path) -> tuple[list[str], list[str]]:
    """Return the texts and the labels of a file of rows."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["label"] for row in rows]


def _fill(run: Path) -> list[MaskedSentence]:
    from bert_jax.inference.mask_filler import load_mask_filler

    filler = load_mask_filler(run, best=SHOWN_WORDS)
    return [MaskedSentence(text, [(word.token, word.probability) for word in filler.fill(text)]) for text in HIDDEN]


def _results(
    data: DemoData,
    record: DemoRecord,
    commands: Sequence[str],
    folder: Path,
    answers: list[DemoAnswer],
    hidden: list[MaskedSentence],
) -> DemoResults:
    from bert_jax.train.metrics import read_metrics
    from bert_jax.train.run import open_run

    pretrained, tuned, scratch = folder / "pretrained", folder / "finetuned", folder / "from-scratch"
    losses = [values["mlm_loss"] for _, split, values in read_metrics(pretrained) if split == "train"]
    return DemoResults(
        pretrained=_seeds(tuned),
        scratch=_seeds(scratch),
        majority_accuracy=data.majority,
        words_accuracy=word_accuracy(*_columns(data.train), *_columns(data.dev)),
        pretrain_loss_first=losses[0],
        pretrain_loss_last=losses[-1],
        stage_seconds=record.stage_seconds,
        corpus={
            "documents": data.corpus_counts.documents,
            "words": data.corpus_counts.words,
            "held-out documents": data.held_out_counts.documents,
        },
        task={"training rows": data.train_rows, "held-out rows": data.dev_rows},
        labels=data.labels,
        model=_in_words(open_run(pretrained).model()),
        device=_device(),
        answers=answers,
        hidden=hidden,
        commands=commands,
        next_steps=[
            (typed(["predict", "--model", tuned, EXAMPLE_TEXT]), "predict the library of a text of your own"),
            (typed(["fill-mask", "--model", pretrained, HIDDEN[0]]), "predict a masked word in a text of your own"),
            (f"{tuned}/report.html", "open it in a browser: scores, mistakes, curves"),
            (f"{folder}/report.md, {folder}/curves.png", "the report of this demo, with a figure"),
        ],
        pretrain_run=pretrained,
        pretrained_runs=_runs(tuned),
        scratch_runs=_runs(scratch),
    )


def _runs(folder: Path) -> list[Path]:
    """Return the run folders of the seeds in `folder`."""
    return [folder / name for name in read_json(folder / RUNS)["scores"]]


def _seeds(folder: Path) -> Seeds:
    return Seeds([scores["accuracy"] for scores in read_json(folder / RUNS)["scores"].values()])


def _in_words(model: ModelConfig) -> str:
    from bert_jax.model.encoder import parameter_count

    return f"{model.depth} layers, {model.width} wide, {parameter_count(model) / 1e6:.1f} M parameters"


def _device() -> str:
    import jax

    kind = jax.devices()[0].device_kind
    return counted(usable_cores(), "CPU core") if kind == "cpu" else f"{jax.device_count()} x {kind}"


def main(config: DemoConfig) -> int:
    """Run the demo and print its results; return the exit code."""
    results = demo(config)
    say()
    for line in closing_lines(results, config.output, shutil.get_terminal_size().columns):
        say(line)
    return 0
