"""State of the process as a whole: its age, and whether it is a command of ours. Standard library only."""

import os
import time
from pathlib import Path

_IMPORTED = time.monotonic()
is_command = False  # set by the command line; a notebook or a program that imports the package is not ours to end
is_left_computing = False  # set where a device still computes what nobody waits for: its library would, at the end


def age_seconds() -> float:
    """Return how long ago this process was started, its imports included.

    As Linux says it; elsewhere since this module was imported, among the first that a command imports.
    """
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")  # proc(5): starttime
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started
    except (OSError, AttributeError, IndexError, ValueError):
        return time.monotonic() - _IMPORTED
