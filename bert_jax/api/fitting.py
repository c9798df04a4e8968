"""Fine-tuning in memory, for the estimators: no run folder and no checkpoint, and nothing is held out."""

import dataclasses
import functools
import math
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from bert_jax import hosts
from bert_jax.config import MeshConfig, ModelConfig, OptimConfig
from bert_jax.convert.run_folder import write_run
from bert_jax.data.batches import Batches
from bert_jax.data.labelled.rows import Rows
from bert_jax.data.long_texts import encode_long_texts
from bert_jax.errors import Diverged
from bert_jax.finetuning.recipe import with_recipe
from bert_jax.finetuning.single_run import balanced_weights, first_state, read_start
from bert_jax.inference.outputs import predict_rows
from bert_jax.model.compute import Compute
from bert_jax.output import whole_folder
from bert_jax.pretrained import Pretrained
from bert_jax.settings.finetune import FinetuneConfig
from bert_jax.sharding import make_mesh
from bert_jax.task_record import TaskRecord
from bert_jax.tasks.registry import make_task
from bert_jax.tasks.sequence_tasks import ClassificationTask
from bert_jax.terminal import note, say
from bert_jax.text import load_tokenizer
from bert_jax.train.optimizer import Layers, Pace, make_optimizer
from bert_jax.train.program import Program
from bert_jax.trees import flatten, unflatten

PROGRAMS = 8  # that are kept compiled: folds and repeated fits share one


@dataclasses.dataclass(frozen=True)
class Shape:
    """All that decides what is compiled, but for the shapes of the batches."""

    model: ModelConfig
    problem: str
    outputs: int
    class_weights: tuple[float, ...] | None
    dtype: str
    accumulate: int
    weight_decay: float
    layers: Layers


class Fitted:
    """A trained model in memory, which is pickled with its tokenizer."""

    def __init__(self, about: Pretrained, shape: Shape) -> None:
        self.about, self.shape = about, shape

    @functools.cached_property
    def _params(self) -> Any:
        return _program(self.shape).place_params(unflatten(self.about.params))

    def outputs(self, rows: Rows, batch_size: int) -> np.ndarray:
        """Return what the model says of each text: class scores before the softmax, or numbers."""
        about, task = self.about, self.about.task
        assert about.tokenizer is not None
        texts = encode_long_texts(rows, about.tokenizer, about.max_length, task.long_texts or "cut", task.overlap)
        of_rows = predict_rows(_program(self.shape), self._params, texts.encoded, batch_size)
        return texts.outputs(of_rows, about.problem)

    def save(self, path: Path, settings: FinetuneConfig, *, scale: np.ndarray, shift: np.ndarray) -> None:
        """Write a run folder, whole or not at all; its outputs are `scale` times these, and `shift` more."""
        params = dict(self.about.params)
        for name, value in (("kernel", scale), ("bias", scale)):
            params[f"classifier/{name}"] = (params[f"classifier/{name}"] * value).astype(np.float32)
        params["classifier/bias"] = (params["classifier/bias"] + shift).astype(np.float32)
        with whole_folder(path, last=("run.toml",), flag="path") as folder:
            write_run(self.about.changed(params=params), folder, settings)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state with the tokenizer as the files of its folder: it holds what cannot be pickled."""
        assert self.about.tokenizer is not None
        with tempfile.TemporaryDirectory(prefix="bert-jax-") as temporary:
            folder = Path(temporary, "tokenizer")
            self.about.tokenizer.save(folder)
            files = {path.name: path.read_bytes() for path in folder.iterdir()}
        return {"about": self.about.changed(tokenizer=None), "shape": self.shape, "tokenizer": files}

    def __setstate__(self, state: dict[str, Any]) -> None:
        with tempfile.TemporaryDirectory(prefix="bert-jax-") as folder:
            for name, content in state["tokenizer"].items():
                Path(folder, name).write_bytes(content)
            tokenizer = load_tokenizer(Path(folder))
        self.about, self.shape = state["about"].changed(tokenizer=tokenizer), state["shape"]


def fit(
    config: FinetuneConfig, rows: Rows, labels: tuple[str, ...] | None, problem: str, *, name: str, verbose: bool
) -> Fitted:
    """Return the model that starts at `config.from_` and has learned from all rows, whose labels are ids or numbers.

    Raises UserError where the settings do not fit the model, and Diverged at a loss that is not finite.
    """
    hosts.prepare(cpu_threads=config.threads)
    pretrained, model, tokenizer = read_start(config)
    texts = encode_long_texts(rows, tokenizer, config.length, config.long_texts, config.overlap)
    for remark in texts.note("training") if rows.pairs is None else ():
        note(f"{name}: {remark}")
    outputs = 1 if labels is None else len(labels)
    weights = balanced_weights(texts.encoded, outputs) if config.class_weights == "balanced" else None
    layers = Layers(model.depth, config.layer_decay, config.freeze_layers)
    decay = config.weight_decay
    shape = Shape(model, problem, outputs, weights, config.dtype, config.accumulate, decay, layers)
    [seed] = config.seeds
    batches = Batches(texts.encoded, config.batch_size, seed)
    rate, epochs = with_recipe(config, model)
    steps = max(1, round(epochs * batches.steps_per_epoch))
    program = _program(shape).of_run(seed, Pace.of(OptimConfig(rate, config.warmup), steps))
    state = first_state(program, config, pretrained)
    waiting: list[jax.Array] = []
    for step in range(steps):
        state, means = program.step(state, program.place(batches.batch(step)))
        waiting.append(means["loss"])
        if (step + 1) % batches.steps_per_epoch == 0 or step + 1 == steps:
            losses = [float(loss) for loss in jax.device_get(waiting)]
            _require_finite(losses, step + 1)
            if verbose:
                say(f"{name}: step {step + 1} of {steps}, loss {sum(losses) / len(losses):.4f}", to_stderr=True)
            waiting.clear()
    params = {path: np.asarray(value) for path, value in flatten(jax.device_get(state.params)).items()}
    pair = rows.pairs is not None
    task = TaskRecord.of(name="rows", pair=pair, long_texts=config.long_texts, overlap=config.overlap)
    about = Pretrained(name, "sequence", model, tokenizer, params, labels, problem, config.length, task=task)
    return Fitted(about, shape)


def _require_finite(losses: list[float], step: int) -> None:
    lost = [place for place, loss in enumerate(losses) if not math.isfinite(loss)]
    if lost:
        raise Diverged(
            f"step {step - len(losses) + lost[0] + 1}: the loss is {losses[lost[0]]}. Lower learning_rate, or use "
            'dtype="float32"'
        )


@functools.lru_cache(maxsize=PROGRAMS)
def _program(shape: Shape) -> Program:
    task = make_task("sequence", shape.model, shape.outputs, shape.problem, Compute(shape.dtype))
    if shape.class_weights is not None and isinstance(task, ClassificationTask):
        task = dataclasses.replace(task, class_weights=shape.class_weights)
    optim = OptimConfig(weight_decay=shape.weight_decay)
    return Program(
        task, make_mesh(MeshConfig(data=1)), make_optimizer(optim, shape.layers), accumulate=shape.accumulate
    )
