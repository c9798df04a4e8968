"""Settings of pre-training; the text under each field is its --help."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from bert_jax.config import GuardConfig, HostsConfig, MeshConfig, OptimConfig
from bert_jax.errors import UserError
from bert_jax.settings.phase_settings import PhaseConfig
from bert_jax.wording import counted


@dataclasses.dataclass(frozen=True)
class PretrainConfig:
    """Pre-train an encoder on shards from `bert-jax prep shards`. The same command resumes a stopped run.

    bert-jax pretrain --data shards --output runs/mini --model bert-mini --steps 20000 --batch-size 256
    bert-jax pretrain bert-base.toml --data both --output runs/base --mesh.fsdp 4
    bert-jax pretrain --from bert-base-uncased --data shards --output runs/more --steps 20000 --optim.peak-lr 2e-5

    A file may divide a run into phases, one table [[phases]] each, with data (folder of shards within --data), steps
    and, if wanted, batch-size, accumulate and [phases.optim] (peak-lr, warmup, schedule, cooldown). bert-base.toml has
    two; docs/phases.md describes them.
    """

    data: Path
    """Folder of shards. For phases: the folder that theirs lie in. Default for phases: the current folder."""
    output: Path
    """Run folder to create or resume."""
    steps: int
    """Number of updates. With more than a run was started with, the run is lengthened: from its newest checkpoint on,
    the learning rate follows the schedule of the longer run. Phases have their own numbers."""
    model: str | None = None
    """Named model, or .toml file with its sizes. The vocabulary is that of the shards. Default: bert-base-uncased"""
    from_: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """Model to start from, instead of --model: run folder or one folder in its checkpoints/, Hugging Face folder, or
    TensorFlow 1 checkpoint. The shards need its tokenizer, or one that `bert-jax prep vocab --extend` made from it."""
    decay_from: int | None = None
    """Begin the cool-down at this step of the run at --from: its checkpoint goes on with optimizer state, step and
    position in the data, and the learning rate falls from its value there to 0 at --steps."""
    lowercase: bool | None = None
    """--lowercase or --no-lowercase: whether the WordPiece vocabulary of --from is for lower-cased text. Default: as
    its files say, or else guessed from its entries."""
    batch_size: int = 256
    """Sequences of an update, over all devices."""
    accumulate: int = 1
    """Number of micro-batches whose gradients are accumulated for each update, where a batch does not fit into memory.
    """
    seed: int = 0
    """Decides the initial weights, the order of the data and dropout."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Number type of matrix products. Parameters, normalisation, softmax and loss stay float32."""
    precision: Literal["highest", "default"] = "highest"
    """Precision of matrix products in float32. highest: float32 on every device; default: as JAX chooses, with factors
    rounded to TF32 on GPUs and to bfloat16 on TPUs, which is faster. No effect on CPUs and with --dtype bfloat16."""
    deterministic: bool = False
    """On GPUs: leave out operations that add in a varying order, and choose kernels without measuring them, so that a
    resumed run repeats bit for bit. Slower. On a CPU, runs with the same --threads do so anyway."""
    attention: Literal["auto", "plain", "cudnn", "pallas"] = "auto"
    """How attention is computed. plain: by matrix products, anywhere; cudnn: by NVIDIA's cuDNN, without attention
    dropout, packed rows and local layers; pallas: by a kernel of this project for GPUs or TPUs. auto: in bfloat16, on a
    GPU the first of cudnn and pallas that can, on a TPU pallas for rows of 128 tokens or more; otherwise plain."""
    residual_norm: Literal["auto", "plain", "pallas"] = "auto"
    """How dropout, residual connection and norm of a block are computed. plain: by XLA; pallas: in one pass, by a
    kernel of this project for GPUs, in blocks with the norm last and where a device has a multiple of 64 tokens. auto:
    pallas on a GPU in bfloat16, otherwise plain."""
    remat: Literal["none", "attention", "block", "full"] = "none"
    """Parts that the backward pass computes again, to keep less in memory. attention: the scores of plain attention;
    block: all but the input of each block, a third more work; full: in groups of blocks, all but the input of each
    group, half to two thirds more work."""
    scan_layers: bool = False
    """Compile one layer and repeat it, in place of each: compiles a deep model in a fraction of the time, and copies
    the parameters once a step."""
    dropout: float | None = None
    """Dropout rate. Default: that of the model. Fine-tuning has its own setting."""
    attention_dropout: float | None = None
    """Dropout rate of attention weights. Default: as --dropout, or else that of the model."""
    next_sentence: bool | None = None
    """Train the loss on sentence pairs beside the masked LM: next sentence prediction, or sentence order if the shards
    have that. Default: if the shards have pairs."""
    objective: str | None = None
    """Name of another pre-training task in bert_jax/registry.py. Default: masked LM, with the pair loss of the shards.
    """
    save_every: int = 1000
    """Steps between two checkpoints."""
    keep: int = 3
    """Number of newest checkpoints to keep."""
    evaluate_every: int = 1000
    """Steps between two evaluations on the held-out shards."""
    held_out_examples: int = 2048
    """Largest number of held-out examples to evaluate on."""
    log_every: int = 10
    """Steps between two lines of metrics.jsonl."""
    wandb: str | None = None
    """Project at Weights & Biases that gets the numbers of the log, too. WANDB_ENTITY, WANDB_MODE=offline and wandb's
    other variables keep their meaning. Needs pip install 'bert_jax[wandb]'."""
    profile: int | None = None
    """Write a profile of the five steps after this one into profile/ in the run folder, for TensorBoard or Perfetto."""
    watchdog_seconds: int | None = None
    """End the process where a step takes longer, as it does when another process or the network hangs. Default: 1800 in
    a job of several processes, no limit in a single one."""
    threads: int | None = None
    """On a CPU: number of threads that XLA splits its sums for. Runs with the same number are equal bit for bit, on any
    number of cores. Default: the number that the run was started with; for a new run, the number of cores."""
    phases: tuple[PhaseConfig, ...] = ()
    """Parts of the run with their own data, steps and batch size, in their order."""
    optim: OptimConfig = OptimConfig()
    mesh: MeshConfig = MeshConfig()
    guard: GuardConfig = GuardConfig()
    hosts: HostsConfig = HostsConfig()

    def __post_init__(self) -> None:
        total = sum(phase.steps for phase in self.phases)
        if self.phases and self.steps != total:
            raise UserError(
                f"steps is {self.steps}; {counted(len(self.phases), 'phase')} together have {total}. Leave it out, and "
                "change the steps of the phases in the file"
            )

    @staticmethod
    def implied(values: dict[str, Any]) -> dict[str, Any]:
        """Return the settings that follow from the phases among `values`: the steps, and the current folder."""
        phases: tuple[PhaseConfig, ...] = values.get("phases", ())
        return {"data": Path(), "steps": sum(phase.steps for phase in phases)} if phases else {}

    def resolved_phases(self) -> tuple[PhaseConfig, ...]:
        """Return the phases, with data folder, batch size and micro-batches from the run where they have none.

        A run without phases is one phase.
        """
        run = PhaseConfig(data=Path(), steps=self.steps)
        return tuple(
            dataclasses.replace(
                phase,
                data=self.data / phase.data,
                batch_size=phase.batch_size or self.batch_size,
                accumulate=phase.accumulate or self.accumulate,
            )
            for phase in self.phases or (run,)
        )
