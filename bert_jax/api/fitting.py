"""Fine-tuning in memory, for the estimators: no run folder, no checkpoints, no held-out rows."""

import dataclasses
import functools
import math
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from bert_jax.config import MeshConfig, ModelConfig
from bert_jax.convert.run_folder import write_run
from bert_jax.data.batches import Batches
from bert_jax.data.labelled.rows import Rows
from bert_jax.data.long_texts import encode_long_texts
from bert_jax.errors import Diverged
from bert_jax.finetuning.recipe import with_recipe
from bert_jax.finetuning.single_run import balanced_weights, first_state, learning_rate_of, make_program, read_start
from bert_jax.inference.outputs import predict_rows
from bert_jax.model.compute import Compute
from bert_jax.output import whole_folder
from bert_jax.pretrained import Pretrained
from bert_jax.process_setup import set_up_process
from bert_jax.settings.finetune import FinetuneConfig
from bert_jax.sharding import make_mesh
from bert_jax.task_record import TaskRecord
from bert_jax.tasks.finetuning_task import make_task
from bert_jax.tasks.sequence_tasks import ClassificationTask
from bert_jax.terminal import note, say
from bert_jax.text import load_tokenizer
from bert_jax.train.program import Program
from bert_jax.trees import flatten, unflatten

PROGRAMS = 8  # compiled programs to keep: folds and repeated fits share one


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProgramKey:
    """Everything that decides which program is compiled, apart from the shapes of the batches."""

    model: ModelConfig
    problem: str
    outputs: int
    class_weights: tuple[float, ...] | None
    dtype: str
    accumulate: int
    weight_decay: float
    layer_decay: float
    freeze_layers: int


class Fitted:
    """A trained model in memory. Pickles contain its weights and tokenizer."""

    def __init__(self, about: Pretrained, key: ProgramKey) -> None:
        self.about, self.key = about, key

    @functools.cached_property
    def _params(self) -> Any:
        return _program(self.key).place_params(unflatten(self.about.params))

    def outputs(self, rows: Rows, batch_size: int) -> np.ndarray:
        """Return the outputs for each text, (texts, outputs): logits of classes, or numbers."""
        about, task = self.about, self.about.task
        assert about.tokenizer is not None
        texts = encode_long_texts(rows, about.tokenizer, about.max_length, task.long_texts or "cut", task.overlap)
        row_outputs = predict_rows(_program(self.key), self._params, texts.encoded, batch_size)
        return texts.outputs(row_outputs, about.problem)

    def save(self, path: Path, settings: FinetuneConfig, *, scale: np.ndarray, shift: np.ndarray) -> None:
        """Write a run folder, whole or not at all, whose model computes `outputs * scale + shift`."""
        params = dict(self.about.params)
        for name, value in (("kernel", scale), ("bias", scale)):
            params[f"classifier/{name}"] = (params[f"classifier/{name}"] * value).astype(np.float32)
        params["classifier/bias"] = (params["classifier/bias"] + shift).astype(np.float32)
        with whole_folder(path, last=("run.toml",), flag="path") as folder:
            write_run(self.about.changed(params=params), folder, settings)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state with the tokenizer as the files of its folder, because the object cannot be pickled."""
        assert self.about.tokenizer is not None
        with tempfile.TemporaryDirectory(prefix="bert-jax-") as temporary:
            folder = Path(temporary, "tokenizer")
            self.about.tokenizer.save(folder)
            files = {path.name: path.read_bytes() for path in folder.iterdir()}
        return {"about": self.about.changed(tokenizer=None), "key": self.key, "tokenizer": files}

    def __setstate__(self, state: dict[str, Any]) -> None:
        with tempfile.TemporaryDirectory(prefix="bert-jax-") as folder:
            for name, content in state["tokenizer"].items():
                Path(folder, name).write_bytes(content)
            tokenizer = load_tokenizer(Path(folder))
        self.about, self.key = state["about"].changed(tokenizer=tokenizer), state["key"]


def fit(
    config: FinetuneConfig, rows: Rows, labels: tuple[str, ...] | None, problem: str, *, name: str, verbose: bool
) -> Fitted:
    """Fine-tune the model in `config.from_` on all rows, whose labels are class ids or numbers, and return it.

    name     the estimator's class, for messages
    verbose  print the mean loss of each epoch on standard error
    Raises UserError if the settings do not suit the model, and Diverged if the loss is not finite.
    """
    set_up_process(cpu_threads=config.threads, dtype=config.dtype, precision=config.precision)
    pretrained, model, tokenizer = read_start(config)
    texts = encode_long_texts(rows, tokenizer, config.length, config.long_texts, config.overlap)
    for remark in texts.note("training") if rows.pairs is None else ():
        note(f"{name}: {remark}")
    outputs = 1 if labels is None else len(labels)
    weights = balanced_weights(texts.encoded, outputs) if config.class_weights == "balanced" else None
    key = ProgramKey(
        model=model,
        problem=problem,
        outputs=outputs,
        class_weights=weights,
        dtype=config.dtype,
        accumulate=config.accumulate,
        weight_decay=config.weight_decay,
        layer_decay=config.layer_decay,
        freeze_layers=config.freeze_layers,
    )
    [seed] = config.seeds
    batches = Batches(texts.encoded, config.batch_size, seed)
    rate, epochs = with_recipe(config, model)
    steps = max(1, round(epochs * batches.steps_per_epoch))
    program, learning_rate = _program(key), learning_rate_of(config, rate, steps)
    state = first_state(program, config, pretrained, seed=seed)
    pending: list[jax.Array] = []  # losses still on the device
    for step in range(steps):
        batch = program.place(batches.batch(step))
        state, means = program.step(state, batch, seed=seed, learning_rate=learning_rate.at(step))
        pending.append(means["loss"])
        if (step + 1) % batches.steps_per_epoch == 0 or step + 1 == steps:
            losses = [float(loss) for loss in jax.device_get(pending)]
            _require_finite(losses, step + 1)
            if verbose:
                say(f"{name}: step {step + 1} of {steps}, loss {sum(losses) / len(losses):.4f}", to_stderr=True)
            pending.clear()
    params = {path: np.asarray(value) for path, value in flatten(jax.device_get(state.params)).items()}
    pair = rows.pairs is not None
    task = TaskRecord.of(name="rows", pair=pair, long_texts=config.long_texts, overlap=config.overlap)
    about = Pretrained(name, "sequence", model, tokenizer, params, labels, problem, config.length, task=task)
    return Fitted(about, key)


def _require_finite(losses: list[float], step: int) -> None:
    """Raise Diverged if one of the `losses` up to `step` is not finite."""
    for i, loss in enumerate(losses):
        if not math.isfinite(loss):
            first = step - len(losses) + i + 1
            raise Diverged(f'step {first}: the loss is {loss}. Lower learning_rate, or use dtype="float32"')


@functools.lru_cache(maxsize=PROGRAMS)
def _program(key: ProgramKey) -> Program:
    task = make_task("sequence", key.model, key.outputs, key.problem, Compute(key.dtype))
    if key.class_weights is not None and isinstance(task, ClassificationTask):
        task = dataclasses.replace(task, class_weights=key.class_weights)
    return make_program(
        task,
        make_mesh(MeshConfig(data=1)),
        depth=key.model.depth,
        weight_decay=key.weight_decay,
        layer_decay=key.layer_decay,
        frozen_layers=key.freeze_layers,
        accumulate=key.accumulate,
    )
