"""Pseudo-terminals: what a program draws on one."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios


def drawn_on_terminal(code: str, columns: int, **environment: str) -> str:
    """Return everything that Python code writes to its standard error, a terminal of so many columns."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    known = os.environ | {"TERM": "xterm-256color", **environment}
    process = subprocess.Popen([sys.executable, "-c", code], stderr=follower, env=known)
    os.close(follower)
    written = b""
    try:
        while data := os.read(leader, 4096):
            written += data
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(leader)
    assert process.wait(20) == 0
    return written.decode()
