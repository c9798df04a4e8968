"""Other settings of a step that does not fit: more micro-batches, sharded parameters, rematerialisation."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Literal

from bert_jax.config import MeshConfig
from bert_jax.planning.step_memory import ChipMemory

Remat = Literal["none", "attention", "block", "full"]
# Shares of the temporaries that are left; they decide only what is tried. The share of the scores depends on length and
# attention body.
REMAT_SHARES: dict[Remat, float] = {"none": 1.0, "attention": 1.0, "block": 0.4, "full": 0.3}


@dataclasses.dataclass(frozen=True)
class Setting:
    """The settings that decide how much memory a batch takes. `mesh` has no -1."""

    mesh: MeshConfig
    accumulate: int
    remat: Remat

    def flags(self, before: "Setting") -> str:
        """Return the flags by which this setting differs from `before`."""
        flags = [
            f"--mesh.{axis} {getattr(self.mesh, axis)}"
            for axis in ("data", "fsdp", "tensor")
            if getattr(self.mesh, axis) != getattr(before.mesh, axis)
        ]
        flags += ["--mesh.shard-optimizer"] * (self.mesh.shard_optimizer and not before.mesh.shard_optimizer)
        flags += [f"--accumulate {self.accumulate}"] * (self.accumulate != before.accumulate)
        flags += [f"--remat {self.remat}"] * (self.remat != before.remat)
        return " ".join(flags)


def other_settings(before: Setting, batch_size: int) -> Iterator[Setting]:
    """Yield other settings for the same batch, those that cost less time first.

    More micro-batches and a divided optimizer state cost little, divided parameters cost collectives, and
    rematerialisation a third more FLOPs, of groups of blocks up to two thirds.
    """
    divided = dataclasses.replace(before.mesh, shard_optimizer=before.mesh.shard_optimizer or before.mesh.data > 1)
    sharded = dataclasses.replace(before.mesh, data=1, fsdp=before.mesh.data * before.mesh.fsdp)
    shards = sharded.fsdp
    smaller: list[Remat] = [name for name, share in REMAT_SHARES.items() if share < REMAT_SHARES[before.remat]]
    for remat in (before.remat, *smaller):
        for mesh in dict.fromkeys((before.mesh, divided, sharded)):
            accumulate = before.accumulate
            while batch_size % (shards * accumulate) == 0:
                setting = Setting(mesh, accumulate, remat)
                if setting != before:
                    yield setting
                accumulate *= 2


def expected_memory(setting: Setting, before: Setting, measured: ChipMemory, stated: ChipMemory) -> int:
    """Return the bytes that a setting is expected to need, from those `measured` before.

    `stated` is what its shardings say of parameters and optimizer. Micro-batches keep a second copy of the gradients.
    """
    share = before.accumulate / setting.accumulate
    share *= REMAT_SHARES[setting.remat] / REMAT_SHARES[before.remat]
    second = stated.gradients if setting.accumulate > 1 else 0
    return int(stated.total + measured.code + second + share * measured.temporaries)


def promising(
    before: Setting,
    batch_size: int,
    measured: ChipMemory,
    usable: int,
    stated: Callable[[Setting], ChipMemory | None],
) -> list[Setting]:
    """Return the settings that are expected to fit, those that cost less time first.

    `stated` says what the shardings of a setting take, or None where the model does not divide over its mesh.
    """
    settings = []
    for setting in other_settings(before, batch_size):
        memory = stated(setting)
        if memory is not None and expected_memory(setting, before, measured, memory) <= usable:
            settings.append(setting)
    return settings
