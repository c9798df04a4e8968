"""Official TFDS data sets, prepared offline by the official code from files of the official layouts."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any


def prepare_glue(config: str, folder: Path, data_dir: Path, splits: dict[str, str]) -> Any:
    """glue/CONFIG in `data_dir`, a file of `folder` for each split."""
    from tensorflow_datasets.text.glue import Glue

    def rows(builder: Any, file: str) -> Any:
        kind = "test" if file.startswith(("test", "diagnostic")) else "train"
        return _mrpc(folder / file) if config == "mrpc" else builder._generate_examples(str(folder / file), kind)

    return _prepared(Glue, config, data_dir, rows, splits)


def prepare_squad(config: str, data_dir: Path, splits: dict[str, Path]) -> Any:
    """squad/CONFIG in `data_dir`, a JSON file for each split."""
    from tensorflow_datasets.datasets.squad.squad_dataset_builder import Builder

    return _prepared(Builder, config, data_dir, lambda builder, file: builder._generate_examples(str(file)), splits)


def _prepared(official: Any, config: str, data_dir: Path, rows: Callable[[Any, Any], Any], splits: dict) -> Any:
    import tensorflow_datasets as tfds

    with tfds.core.registered.skip_registration():

        class Ours(official):
            """The official one, with files that are here."""

            name = official.name
            pkg_dir_path = Path(inspect.getfile(official)).parent

            def _split_generators(self, manager: Any) -> dict[str, Any]:
                return {split: rows(self, file) for split, file in splits.items()}

    builder = Ours(config=config, data_dir=str(data_dir), file_format="array_record")
    builder.download_and_prepare()
    return builder


def _mrpc(path: Path) -> Any:
    """The rows of GLUE's file: the official code wants the files that it was made from."""
    header, *lines = path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    for number, line in enumerate(lines):
        row = dict(zip(header.split("\t"), line.rstrip("\r").split("\t"), strict=True))
        label = int(row.get("Quality", -1))
        yield number, {"sentence1": row["#1 String"], "sentence2": row["#2 String"], "label": label, "idx": number}
