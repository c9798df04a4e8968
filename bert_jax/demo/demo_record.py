"""demo.json: the recipe that a demo's folder was started with, and the seconds that its stages took."""

import dataclasses
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bert_jax.files import read_json_if_there
from bert_jax.output import check_new_folder, remove_content, write_text

RECORD_FILE = "demo.json"
RESULTS_FILE = "results.json"


@dataclasses.dataclass
class DemoRecord:
    """The state of a running or interrupted demo."""

    path: Path
    recipe: str  # hash of all settings
    stage_seconds: dict[str, float]  # summed over all starts

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the duration of the block to the seconds of the stage, also if it ends with an error."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.stage_seconds[stage] = self.stage_seconds.get(stage, 0.0) + time.perf_counter() - began
            self.write()

    def write(self) -> None:
        write_text(self.path, json.dumps({"recipe": self.recipe, "stage_seconds": self.stage_seconds}, indent=2) + "\n")


def open_record(folder: Path, recipe: str) -> DemoRecord:
    """Return the record of an interrupted demo with this recipe, or a new record in an emptied folder.

    The content of a finished demo, or of one with another recipe, is removed; the folder itself stays, because it may
    be a mount point. Raises UserError if the folder holds anything else.
    """
    record = read_json_if_there(folder / RECORD_FILE)
    ours = isinstance(record.get("recipe"), str) and isinstance(record.get("stage_seconds"), dict)
    if ours and record["recipe"] == recipe and not (folder / RESULTS_FILE).exists():
        return DemoRecord(folder / RECORD_FILE, recipe, record["stage_seconds"])
    if not ours and not (folder / "data" / "corpus.jsonl").exists():  # earlier versions had no record
        check_new_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    remove_content(folder)
    fresh = DemoRecord(folder / RECORD_FILE, recipe, {})
    fresh.write()
    return fresh
