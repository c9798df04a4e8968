"""The environment that the Makefile gives to its commands."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_commands_may_keep_compiled_modules():
    """Images for containers often forbid it. Each process would then take three times as long to start."""
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    words = ["make", "--no-print-directory", "--eval", "environment: ; @env", "environment"]
    result = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert "PATH=" in result.stdout and "PYTHONDONTWRITEBYTECODE" not in result.stdout
