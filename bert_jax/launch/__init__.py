"""Settings files that come with the package: `bert-jax pretrain bert-base.toml` finds them in any folder."""

import difflib
from pathlib import Path

from bert_jax.errors import UserError
from bert_jax.terminal import note

SETTINGS_FOLDER = Path(__file__).parent


def settings_file(name: str) -> Path:
    """Return the path of a TOML file: `name` itself if it exists, or else the package's file NAME or launch/NAME.

    Raises UserError with the nearest names if neither exists.
    """
    path = Path(name)
    if path.exists() or path.parent not in (Path(), Path("launch")):
        return path
    packaged = SETTINGS_FOLDER / path.name
    if not packaged.is_file():
        names = sorted(file.name for file in SETTINGS_FOLDER.glob("*.toml"))
        close = difflib.get_close_matches(path.name, names, n=1)
        hint = f"Did you mean {close[0]}?" if close else f"bert_jax comes with {', '.join(names)}"
        raise UserError(f"{name}: no such file. {hint}")
    note(f"{name} is not in this folder; using the one that comes with bert_jax, {packaged}")
    return packaged
