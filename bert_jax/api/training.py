"""`bert_jax.finetune` and `bert_jax.pretrain`: train, and return the runs with their scores as tables."""

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bert_jax.api.in_memory_rows import is_address
from bert_jax.api.keywords import ApiFunction
from bert_jax.api.results import TableResult
from bert_jax.errors import UserError
from bert_jax.files import read_json_if_there
from bert_jax.registry import tasks_with
from bert_jax.settings.finetune import FinetuneConfig
from bert_jax.settings.pretrain import PretrainConfig
from bert_jax.wording import counted

if TYPE_CHECKING:
    from bert_jax.train.run import RunFolder

REPORT = "report.html"
ScoresByName = dict[str, float]


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class FinetuneResult(TableResult):
    """The finished runs of a call and their dev scores. Usable as a path.

    path      the run folder, or the folder of several runs; a path to the model in either case
    runs      the run folders
    scores    dev scores by metric: of the one run, or means over the seeds of the chosen setting. For `task="glue"`,
              the score of each GLUE task
    baseline  main score of a baseline that ignores the texts; None for `task="glue"`
    """

    path: Path
    runs: "tuple[RunFolder, ...]"
    scores: ScoresByName
    baseline: float | None

    @classmethod
    def of(cls, path: Path, runs: "list[RunFolder]") -> "FinetuneResult":
        """Return the result of finished runs in `path`."""
        from bert_jax.finetuning.glue_suite import SUMMARY
        from bert_jax.train.run import RUNS

        glue = read_json_if_there(path / SUMMARY)
        if glue:
            scores = {name: metrics["score"]["mean"] for name, metrics in glue["tasks"].items()}
            return cls(path, tuple(runs), scores, None)
        baseline = (runs[0].result() or {}).get("baseline")
        several = read_json_if_there(path / RUNS)
        scores = several["mean"] if several else runs[0].dev_result()[1]
        return cls(path, tuple(runs), _without_main(scores), baseline)

    @property
    def report(self) -> Path:
        """Path of the HTML page with scores, mistakes and settings."""
        return self.path / REPORT

    @functools.cached_property
    def model(self) -> Any:
        """The best model, as `bert_jax.load` returns it."""
        from bert_jax.inference.loading import load

        return load(self.path)

    def predict(self, *texts: Any, **settings: Any) -> Any:
        """Return the prediction for a text, or the predictions for a list of texts."""
        return self.model.predict(*texts, **settings)

    def title(self) -> str:
        scores = ", ".join(f"{name} {value:.4f}" for name, value in self.scores.items())
        report = f"; {self.report}" if self.report.is_file() else ""
        return f"{self.path}: {scores}{report}"

    def table(self) -> list[dict[str, Any]]:
        """Return one row per run: its dev scores, the step of its best checkpoint, and its number of rows."""
        rows = []
        for run in self.runs:
            result = run.result() or {}
            name = {"run": str(run.path.relative_to(self.path))} if len(self.runs) > 1 else {}
            counts = {key: result.get(key) for key in ("best_step", "train_rows", "dev_rows")}
            rows.append({**name, **_without_main(result.get("dev", {})), **counts})
        return rows

    def remarks(self) -> list[str]:
        """Return lines that compare the best run with its baselines, and advice if it is not above them."""
        from bert_jax.finetuning.report.write import verdict_of
        from bert_jax.train.run import resolve_checkpoint

        return [] if self.baseline is None else verdict_of(resolve_checkpoint(self.path)[0])

    def __fspath__(self) -> str:
        return str(self.path)

    def __iter__(self) -> "Iterator[RunFolder]":
        return iter(self.runs)

    def __len__(self) -> int:
        return len(self.runs)

    def __getitem__(self, index: int) -> "RunFolder":
        return self.runs[index]


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class PretrainResult(TableResult):
    """The finished run and its scores on the held-out shards. Usable as a path."""

    run: "RunFolder"

    @property
    def path(self) -> Path:
        return self.run.path

    @property
    def scores(self) -> ScoresByName:
        """Scores on the held-out examples by name; empty if the shards have none."""
        return dict(self.result().get("held_out") or {})

    def result(self) -> dict[str, Any]:
        """Return the content of the run's result.json."""
        return self.run.result() or {}

    def title(self) -> str:
        return f"{self.path}: {counted(self.result().get('step', 0), 'step')}"

    def table(self) -> list[dict[str, Any]]:
        """Return one row with the scores."""
        return [{"step": self.result().get("step"), **self.scores}]

    def __fspath__(self) -> str:
        return str(self.path)


@ApiFunction(FinetuneConfig, "finetune", rows="data", numbered=True)
def finetune(config: FinetuneConfig) -> FinetuneResult:
    """Fine-tune a pre-trained encoder on labelled rows, and return its scores on held-out rows.

    bert_jax.finetune(from_="runs/mini", data="tickets.csv", text="body", label="priority", output="runs/tickets")
    bert_jax.finetune(from_="runs/mini", texts=texts, labels=labels, epochs=4)

    The rows are a file, folder or data set as for the command; or a data frame, a mapping of columns or a list of
    mappings; or {"train": ..., "dev": ...} of those; or `texts` and `labels`. The first argument may be a config or a
    .toml file. Called again with the same settings and `output`, resume the run or return the finished one.
    """
    tasks = tasks_with("text")
    if is_address(config.data) and config.task not in tasks:
        names = " and ".join(tasks)
        raise UserError(f"task {config.task} reads files of its own format. Rows in memory are for the tasks {names}")
    from bert_jax.verbs.finetune import finetune as finetune_runs

    return FinetuneResult.of(config.output, finetune_runs(config))


@ApiFunction(PretrainConfig, "pretrain", numbered=True)
def pretrain(config: PretrainConfig) -> PretrainResult:
    """Pre-train an encoder on shards, and return its scores on the held-out shards.

    bert_jax.pretrain(data="shards", output="runs/mini", model="bert-mini", steps=20_000, batch_size=256)

    The first argument may be a config or a .toml file. Called again with the same settings and `output`, resume the
    run.
    """
    from bert_jax.verbs.pretrain import pretrain as pretrain_run

    return PretrainResult(pretrain_run(config))


def _without_main(scores: ScoresByName) -> ScoresByName:
    """Return the scores without `main`, which repeats one of them or is their mean."""
    return {name: value for name, value in scores.items() if name != "main"}
