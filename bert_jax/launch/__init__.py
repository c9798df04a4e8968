"""Settings files that come with the package: `bert-jax pretrain bert-base.toml` finds them from any folder."""

import difflib
from pathlib import Path

from bert_jax.errors import UserError
from bert_jax.terminal import note

FOLDER = Path(__file__).parent


def settings_file(name: str) -> Path:
    """Return the path of a TOML file: as it is named, or the one of that name that comes with the package.

    launch/NAME is understood, too. Raises UserError where there is neither, with the names that come nearest.
    """
    path = Path(name)
    if path.exists() or path.parent not in (Path(), Path("launch")):
        return path
    shipped = FOLDER / path.name
    if not shipped.is_file():
        names = sorted(file.name for file in FOLDER.glob("*.toml"))
        close = difflib.get_close_matches(path.name, names, n=1)
        hint = f"Did you mean {close[0]}?" if close else f"These come with bert_jax: {', '.join(names)}"
        raise UserError(f"{name}: no such file. {hint}")
    note(f"{name} is not in this folder; the one that comes with bert_jax is taken, {shipped}")
    return shipped
