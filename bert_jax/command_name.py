"""The name of the command in the shell that it was started from. Standard library only."""

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

NAME = "bert-jax"


def command() -> str:
    """Return what to type for this very installation: bert-jax, or where it lies (.venv/bin/bert-jax)."""
    script = Path(sys.argv[0])
    if script.stem != NAME or not script.is_file():  # python -m bert_jax, a notebook, a test
        script = Path(sys.executable).with_name(NAME)
        if not script.is_file():
            return f"{shlex.quote(sys.executable)} -m bert_jax.cli"
    found = shutil.which(NAME)
    if found and Path(found).samefile(script):
        return NAME
    here = Path(os.path.relpath(script))
    return shlex.quote(str(script.absolute() if ".." in here.parts else here))


def typed(arguments: Sequence[object]) -> str:
    """Return a line that can be pasted into the shell: the command with its arguments, quoted where needed."""
    return f"{command()} {shlex.join(map(str, arguments))}"
