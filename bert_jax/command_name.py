"""The command as it must be typed in the user's shell. Standard library only."""

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

COMMAND = "bert-jax"


def command() -> str:
    """Return the command that starts this installation: bert-jax, or its path (.venv/bin/bert-jax)."""
    script = Path(sys.argv[0])
    if script.stem != COMMAND or not script.is_file():  # python -m bert_jax, a notebook, a test
        script = Path(sys.executable).with_name(COMMAND)
        if not script.is_file():
            return f"{shlex.quote(sys.executable)} -m bert_jax.cli"
    on_path = shutil.which(COMMAND)
    if on_path and Path(on_path).samefile(script):
        return COMMAND
    relative = Path(os.path.relpath(script))
    return shlex.quote(str(script.absolute() if ".." in relative.parts else relative))


def typed(arguments: Sequence[object]) -> str:
    """Return the command with its arguments, quoted so that the line can be pasted into a shell."""
    return f"{command()} {shlex.join(map(str, arguments))}"
