"""The dev examples of a run: scored as it trains, and what its best checkpoint gives for them."""

import dataclasses

import numpy as np

from bert_jax.data.batches import ROW_TOKENS, SHAPES
from bert_jax.data.encoded import Encoded
from bert_jax.data.long_texts import WAYS
from bert_jax.finetuning.task_data import Examples, TaskData
from bert_jax.inference.outputs import predict_rows
from bert_jax.train.program import Params, Program
from bert_jax.train.run import RunFolder

BATCH_ROWS = 64  # of 32 tokens
FEWEST_SHAPES = 4  # lengths of batches, each compiled once, of a small dev set
BATCHES_OF_SHAPE = 16  # one length more for so many batches: it then saves what it costs


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What a model gives for the dev examples and for the other sets by name; see inference.outputs."""

    dev: np.ndarray
    also: dict[str, np.ndarray]


class DevScoring:
    """Scores the parameters of a run, and keeps what the best gave: a report needs it at the end."""

    def __init__(self, program: Program, data: TaskData) -> None:
        self.program, self.data = program, data
        self._best: tuple[int, float, Outputs] | None = None  # step, main score

    def score(self, step: int, params: Params) -> dict[str, float]:
        """The task's metrics on the dev examples, and `main`, the one that decides; those of other sets by name."""
        outputs = self._outputs(params)
        scores = self.data.dev.score(outputs.dev)
        if self._best is None or scores["main"] > self._best[1]:
            self._best = step, scores["main"], outputs
        for name, examples in self.data.also.items():
            others = examples.score(outputs.also[name])
            scores |= {f"{name}_{metric}": value for metric, value in others.items() if metric != "main"}
        return scores

    def outputs_at(self, run: RunFolder, step: int) -> Outputs:
        """Those that were scored at this step, or anew from its checkpoint."""
        if self._best is not None and self._best[0] == step:
            return self._best[2]
        return self._outputs(self._params_at(run, step))

    def in_ways(self, run: RunFolder, step: int) -> dict[str, dict[str, dict[str, float]]]:
        """Where dev texts are longer than a row: the checkpoint's scores for each way to read them, else nothing."""
        if self.data.dev.in_ways is None:
            return {}
        params = self._params_at(run, step)
        return {"long_texts": self.data.dev.in_ways(tuple(WAYS), lambda encoded: self._predict(params, encoded))}

    def _params_at(self, run: RunFolder, step: int) -> Params:
        return self.program.place_params(run.params(step))

    def _outputs(self, params: Params) -> Outputs:
        def found(examples: Examples) -> np.ndarray:
            return self._predict(params, examples.encoded)

        return Outputs(found(self.data.dev), {name: found(examples) for name, examples in self.data.also.items()})

    def _predict(self, params: Params, encoded: Encoded) -> np.ndarray:
        batches = len(encoded.tokens) // (BATCH_ROWS * ROW_TOKENS)
        shapes = min(SHAPES, FEWEST_SHAPES + batches // BATCHES_OF_SHAPE)
        return predict_rows(self.program, params, encoded, BATCH_ROWS, shapes)
