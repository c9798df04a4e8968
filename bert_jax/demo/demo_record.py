"""demo.json: which recipe a demo's folder was begun with, and the seconds that its stages took."""

import dataclasses
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bert_jax.files import read_json_if_there
from bert_jax.output import check_new_folder, remove_content, write_text

FILE = "demo.json"
FINISHED = "results.json"


@dataclasses.dataclass
class Record:
    """The state of a demo that runs, or was interrupted."""

    path: Path
    recipe: str
    stage_seconds: dict[str, float]  # over all starts

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the seconds of the block to those of the stage, also where it ends with an error."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.stage_seconds[stage] = self.stage_seconds.get(stage, 0.0) + time.perf_counter() - began
            self.write()

    def write(self) -> None:
        write_text(self.path, json.dumps({"recipe": self.recipe, "stage_seconds": self.stage_seconds}, indent=2) + "\n")


def open_record(folder: Path, recipe: str) -> Record:
    """Return the record of an interrupted demo of this recipe, or a new one in an empty folder.

    What a finished demo left, or one of another recipe, is removed first; the folder itself may be a mount point.
    Raises UserError where the folder holds anything else.
    """
    record = read_json_if_there(folder / FILE)
    ours = isinstance(record.get("recipe"), str) and isinstance(record.get("stage_seconds"), dict)
    if ours and record["recipe"] == recipe and not (folder / FINISHED).exists():
        return Record(folder / FILE, recipe, record["stage_seconds"])
    if not ours and not (folder / "data" / "corpus.jsonl").exists():  # earlier versions had no record
        check_new_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    remove_content(folder)
    fresh = Record(folder / FILE, recipe, {})
    fresh.write()
    return fresh
