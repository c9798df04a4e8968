"""Scoring of the dev examples during a run."""

import dataclasses

import numpy as np

from bert_jax.data.batches import MAX_LENGTHS, ROW_TOKENS
from bert_jax.data.encoded import Encoded
from bert_jax.data.long_texts import LONG_TEXT_WAYS
from bert_jax.finetuning.task_data import Examples, TaskData
from bert_jax.inference.outputs import predict_rows
from bert_jax.train.program import Params, Program
from bert_jax.train.run import RunFolder

BATCH_ROWS = 64  # of 32 tokens
FEWEST_SHAPES = 4  # distinct batch lengths of a small dev set, each compiled once
BATCHES_OF_SHAPE = 16  # one more length for every 16 batches: compiling it then pays off


@dataclasses.dataclass(frozen=True)
class DevOutputs:
    """Model outputs for the dev examples and for the additional sets, by name. Shapes: see inference.outputs."""

    dev: np.ndarray
    also: dict[str, np.ndarray]


class DevScoring:
    """Scores parameters on the dev examples and keeps the outputs of the best ones for the final report."""

    def __init__(self, program: Program, data: TaskData) -> None:
        self.program, self.data = program, data
        self._best: tuple[int, float, DevOutputs] | None = None  # step, main score

    def score(self, step: int, params: Params) -> dict[str, float]:
        """Return the dev metrics, `main`, which selects the checkpoint, and `{set}_{metric}` of each additional set."""
        outputs = self._outputs(params)
        scores = self.data.dev.score(outputs.dev)
        if self._best is None or scores["main"] > self._best[1]:
            self._best = step, scores["main"], outputs
        for name, examples in self.data.also.items():
            set_scores = examples.score(outputs.also[name])
            scores |= {f"{name}_{metric}": value for metric, value in set_scores.items() if metric != "main"}
        return scores

    def outputs_at(self, run: RunFolder, step: int) -> DevOutputs:
        """Return the outputs at `step`: those kept while training, or computed again from its checkpoint."""
        if self._best is not None and self._best[0] == step:
            return self._best[2]
        return self._outputs(self._params_at(run, step))

    def in_ways(self, run: RunFolder, step: int) -> dict[str, dict[str, dict[str, float]]]:
        """Score the checkpoint with each way to read long texts; an empty dict if no dev text is longer than a row."""
        if self.data.dev.in_ways is None:
            return {}
        params = self._params_at(run, step)
        return {
            "long_texts": self.data.dev.in_ways(tuple(LONG_TEXT_WAYS), lambda encoded: self._predict(params, encoded))
        }

    def _params_at(self, run: RunFolder, step: int) -> Params:
        return self.program.place_params(run.params(step))

    def _outputs(self, params: Params) -> DevOutputs:
        def predict(examples: Examples) -> np.ndarray:
            return self._predict(params, examples.encoded)

        return DevOutputs(
            predict(self.data.dev), {name: predict(examples) for name, examples in self.data.also.items()}
        )

    def _predict(self, params: Params, encoded: Encoded) -> np.ndarray:
        batches = len(encoded.tokens) // (BATCH_ROWS * ROW_TOKENS)
        shapes = min(MAX_LENGTHS, FEWEST_SHAPES + batches // BATCHES_OF_SHAPE)
        return predict_rows(self.program, params, encoded, BATCH_ROWS, shapes)
