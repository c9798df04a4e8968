"""Exceptions and exit codes of the package, and helpers that keep error messages short."""

import difflib
import reprlib
from collections.abc import Iterable

DONE, MISTAKE, USAGE, STOPPED = 0, 1, 2, 75  # exit codes; 75 is EX_TEMPFAIL: run the command again
NAME_CHARACTERS = 160  # longest name in a message


class OneLine(Exception):
    """An error whose message is sufficient: a notebook shows it without a traceback."""

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows in place of the traceback."""
        return [f"{type(self).__name__}: {self}"]


class UserError(OneLine):
    """An error that the user can fix: one line with the file, the line, the value and the remedy. Exit code 1."""


class NotAModel(UserError):
    """A path where no format of models is recognised."""


class Diverged(UserError):
    """An error of a run whose loss is not finite. Other runs of the same command continue."""


class Stopped(OneLine):
    """A run ended by a signal after saving everything: the same command resumes it. Exit code 75 (EX_TEMPFAIL)."""


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or the name of its type if it has none."""
    return (str(error).strip() or type(error).__name__).split("\n")[0]


def shown(value: object) -> str:
    """Return the repr of a value, clipped at each level, so that the message stays short whatever a file contains."""
    return _CLIPPER.repr(value)


def did_you_mean(name: str, known: Iterable[str], otherwise: str) -> str:
    """Return "did you mean 'x'?" for the known name that is closest to `name`, or `otherwise` if none is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else otherwise


def listed(names: Iterable[object], most: int = 5) -> str:
    """Return the first `most` names, each clipped, and the number of the others: "a, b and 3 more"."""
    names = list(names)
    more = len(names) - most
    texts = map(str, names[:most])
    first = (text if len(text) <= NAME_CHARACTERS else f"{text[:NAME_CHARACTERS]}..." for text in texts)
    return ", ".join(first) + (f" and {more:,} more" if more > 0 else "")


_CLIPPER = reprlib.Repr()
_CLIPPER.maxstring = _CLIPPER.maxother = _CLIPPER.maxlong = 80
_CLIPPER.maxdict = _CLIPPER.maxlist = _CLIPPER.maxtuple = _CLIPPER.maxset = 8
_CLIPPER.maxlevel = 3
