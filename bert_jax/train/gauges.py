"""Numbers of the machine beside those of the model: speed, wait for data, utilisation, memory."""

from collections.abc import Sequence

import jax

from bert_jax.train.clock import Speed
from bert_jax.train.flops import peak_flops
from bert_jax.train.memory import peak_bytes
from bert_jax.train.phases import Phases

SECONDS_DIGITS = 6  # microseconds
SHARE_DIGITS = 4


class Gauges:
    """Reads the `MACHINE_NUMBERS` of metrics.jsonl after a lap of steps."""

    def __init__(self, devices: Sequence[jax.Device], phases: Phases) -> None:
        self.devices, self.phases = devices, phases

    def read(self, step: int, speed: Speed) -> dict[str, float]:
        """Return the numbers after a lap that ended with `step`, without those that this machine does not tell.

        Those are `mfu` on a chip whose peak is not known, and `memory_bytes` on one that does not report it.
        """
        numbers: dict[str, float] = {
            "tokens_per_second": round(speed.tokens_per_second),
            "padding": round(speed.padding, SHARE_DIGITS),
            "step_seconds": round(speed.step_seconds, SECONDS_DIGITS),
            "data_seconds": round(speed.data_seconds, SECONDS_DIGITS),
        }
        peak, flops_per_row = peak_flops(self.devices), self.phases.at(step).flops_per_row
        if peak and flops_per_row:
            numbers["mfu"] = round(flops_per_row * speed.rows_per_second / peak, SHARE_DIGITS)
        memory = peak_bytes(self.devices)
        if memory is not None:
            numbers["memory_bytes"] = memory
        return numbers
