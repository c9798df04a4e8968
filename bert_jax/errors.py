"""The ways a command ends early on purpose, and what is told of a library's error."""

import reprlib
from collections.abc import Iterable

NAME = 160  # characters of a name in a message


class OneLine(Exception):
    """An error that its message explains: a notebook shows that alone, without the frames that led to it."""

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows."""
        return [f"{type(self).__name__}: {self}"]


class UserError(OneLine):
    """A mistake the user can mend: one line that names the file, the line, the value and the way out. Exit code 1."""


class NotAModel(UserError):
    """A path where no format of models is recognised."""


class Diverged(UserError):
    """A loss that is no number any more. Of several runs the others go on."""


class Stopped(OneLine):
    """A signal ended the run after everything was saved: start it again to go on. Exit code 75 (EX_TEMPFAIL)."""


def first_line(error: Exception) -> str:
    """What a library's error says, without what comes below."""
    return (str(error).strip() or type(error).__name__).split("\n")[0]


def shown(value: object) -> str:
    """Return the value as Python writes it, clipped at each level: a message stays short whatever a file holds."""
    return _CLIPPER.repr(value)


def listed(names: Iterable[object], most: int = 5) -> str:
    """Return the first `most` names, each of them short, and how many more there are."""
    names = list(names)
    more = len(names) - most
    first = (text if len(text := str(name)) <= NAME else f"{text[:NAME]}..." for name in names[:most])
    return ", ".join(first) + (f" and {more:,} more" if more > 0 else "")


_CLIPPER = reprlib.Repr()
_CLIPPER.maxstring = _CLIPPER.maxother = _CLIPPER.maxlong = 80
_CLIPPER.maxdict = _CLIPPER.maxlist = _CLIPPER.maxtuple = _CLIPPER.maxset = 8
_CLIPPER.maxlevel = 3
