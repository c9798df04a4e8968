"""The ways a command ends early on purpose, and what is told of a library's error."""


class UserError(Exception):
    """A mistake the user can mend: one line that names the file, the line, the value and the way out. Exit code 1."""


class Diverged(UserError):
    """A loss that is no number any more. Of several runs the others go on."""


class Stopped(Exception):
    """A signal ended the run after everything was saved: start it again to go on. Exit code 75 (EX_TEMPFAIL)."""


def first_line(error: Exception) -> str:
    """What a library's error says, without what comes below."""
    return (str(error).strip() or type(error).__name__).split("\n")[0]
