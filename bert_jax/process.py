"""State of the whole process: its age, and whether it runs a command of ours. Standard library only."""

import os
import time
from pathlib import Path

_IMPORTED = time.monotonic()
is_command = False  # set by the command line; other programs that import the package must not be ended
is_quiet = False  # one of several processes of a job, and not the first, which prints for all
exits_at_once = False  # a device still computes a step that was given up, or other processes of the job are gone


def age_seconds() -> float:
    """Return the time since this process was started, imports included.

    On other systems than Linux, the time since this module was imported, which a command does first.
    """
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")  # proc(5): starttime
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started
    except (OSError, AttributeError, IndexError, ValueError):
        return time.monotonic() - _IMPORTED
