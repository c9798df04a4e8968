"""`bert_jax.finetune` and `bert_jax.pretrain`: runs, with their scores as tables."""

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bert_jax.api.in_memory_rows import is_address
from bert_jax.api.keywords import Verb
from bert_jax.api.results import Result
from bert_jax.errors import UserError
from bert_jax.files import read_json_if_there
from bert_jax.settings.finetune import FinetuneConfig
from bert_jax.settings.pretrain import PretrainConfig
from bert_jax.wording import counted

if TYPE_CHECKING:
    from bert_jax.train.run import RunFolder

REPORT = "report.html"
TASKS_OF_ROWS = ("rows", "choice")
Scores = dict[str, float]


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class FinetuneResult(Result):
    """The finished runs of a call, and what they score on the dev rows. Taken wherever a path is.

    path      the folder that answers: the run, or the folder of runs
    runs      the run folders
    scores    dev scores by metric: of the one run, or the means over the seeds of the setting that was chosen; of all
              GLUE tasks the score of each
    baseline  the main score of whoever ignores the texts; None for all GLUE tasks
    """

    path: Path
    runs: "tuple[RunFolder, ...]"
    scores: Scores
    baseline: float | None

    @classmethod
    def of(cls, path: Path, runs: "list[RunFolder]") -> "FinetuneResult":
        """Return what finished runs left in `path`."""
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
        """The page with the scores, mistakes and settings, to open in a browser."""
        return self.path / REPORT

    @functools.cached_property
    def model(self) -> Any:
        """The model that answers, as `bert_jax.load` gives it."""
        from bert_jax.inference.loading import load

        return load(self.path)

    def predict(self, *texts: Any, **settings: Any) -> Any:
        """Return what the model says of a text, or of a list of them."""
        return self.model.predict(*texts, **settings)

    def title(self) -> str:
        scores = ", ".join(f"{name} {value:.4f}" for name, value in self.scores.items())
        report = f"; {self.report}" if self.report.is_file() else ""
        return f"{self.path}: {scores}{report}"

    def table(self) -> list[dict[str, Any]]:
        """Return a row a run: its dev scores, the step of its best checkpoint and the rows it learned from."""
        rows = []
        for run in self.runs:
            result = run.result() or {}
            name = {"run": str(run.path.relative_to(self.path))} if len(self.runs) > 1 else {}
            counts = {key: result.get(key) for key in ("best_step", "train_rows", "dev_rows")}
            rows.append({**name, **_without_main(result.get("dev", {})), **counts})
        return rows

    def remarks(self) -> list[str]:
        """Return what stands beside the scores of the run that answers, and what to try where that is no lower."""
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
class PretrainResult(Result):
    """The finished run, and what it scores on the held-out shards. Taken wherever a path is."""

    run: "RunFolder"

    @property
    def path(self) -> Path:
        return self.run.path

    @property
    def scores(self) -> Scores:
        """Scores on the held-out examples by name; empty where the shards hold none."""
        return dict(self.result().get("held_out") or {})

    def result(self) -> dict[str, Any]:
        """Return what the run wrote at its end."""
        return self.run.result() or {}

    def title(self) -> str:
        return f"{self.path}: {counted(self.result().get('step', 0), 'step')}"

    def table(self) -> list[dict[str, Any]]:
        """Return one row with the scores."""
        return [{"step": self.result().get("step"), **self.scores}]

    def __fspath__(self) -> str:
        return str(self.path)


@Verb(FinetuneConfig, "finetune", rows="data", numbered=True)
def finetune(config: FinetuneConfig) -> FinetuneResult:
    """Fine-tune a pre-trained encoder on labelled rows, and return its scores on those that were held out.

    bert_jax.finetune(from_="runs/mini", data="tickets.csv", text="body", label="priority", output="runs/tickets")
    bert_jax.finetune(from_="runs/mini", texts=texts, labels=labels, epochs=4)

    The rows are a file, a folder or a data set as for the command, a data frame, a mapping of columns or a list of
    mappings, {"train": ..., "dev": ...} of such, or `texts` and `labels`. A config or a .toml file may come first.
    Called again with the same settings and `output`, it goes on where it was, or finds what is finished.
    """
    if is_address(config.data) and config.task not in TASKS_OF_ROWS:
        known = " and ".join(TASKS_OF_ROWS)
        raise UserError(f"task {config.task} reads files of its own format. Rows in memory are for the tasks {known}")
    from bert_jax.verbs.finetune import finetune as finetune_runs

    return FinetuneResult.of(config.output, finetune_runs(config))


@Verb(PretrainConfig, "pretrain", numbered=True)
def pretrain(config: PretrainConfig) -> PretrainResult:
    """Pre-train an encoder on shards, and return its scores on those that were held out.

    bert_jax.pretrain(data="shards", output="runs/mini", model="bert-mini", steps=20_000, batch_size=256)

    A config or a .toml file may come first. Called again with the same settings and `output`, it goes on where it was.
    """
    from bert_jax.verbs.pretrain import pretrain as pretrain_run

    return PretrainResult(pretrain_run(config))


def _without_main(scores: Scores) -> Scores:
    """Return the scores without the one that repeats one of them, or their mean."""
    return {name: value for name, value in scores.items() if name != "main"}
