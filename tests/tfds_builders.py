"""Preparation of TFDS data sets offline: the official builders, reading local files of the official layouts."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any


def prepare_glue(config: str, folder: Path, data_dir: Path, splits: dict[str, str]) -> Any:
    """Prepare glue/CONFIG in `data_dir` from one file of `folder` for each split."""
    from tensorflow_datasets.text.glue import Glue

    def examples(builder: Any, file: str) -> Any:
        kind = "test" if file.startswith(("test", "diagnostic")) else "train"
        return _mrpc(folder / file) if config == "mrpc" else builder._generate_examples(str(folder / file), kind)

    return _prepare(Glue, config, data_dir, examples, splits)


def prepare_squad(config: str, data_dir: Path, splits: dict[str, Path]) -> Any:
    """Prepare squad/CONFIG in `data_dir` from one JSON file for each split."""
    from tensorflow_datasets.datasets.squad.squad_dataset_builder import Builder

    return _prepare(Builder, config, data_dir, lambda builder, file: builder._generate_examples(str(file)), splits)


def _prepare(official: Any, config: str, data_dir: Path, examples: Callable[[Any, Any], Any], splits: dict) -> Any:
    import tensorflow_datasets as tfds

    with tfds.core.registered.skip_registration():

        class LocalBuilder(official):
            """The official builder, with local files for its downloads."""

            name = official.name
            pkg_dir_path = Path(inspect.getfile(official)).parent

            def _split_generators(self, manager: Any) -> dict[str, Any]:
                return {split: examples(self, file) for split, file in splits.items()}

    builder = LocalBuilder(config=config, data_dir=str(data_dir), file_format="array_record")
    builder.download_and_prepare()
    return builder


def _mrpc(path: Path) -> Any:
    """Yield the examples of GLUE's own MRPC file: the official builder reads the files that GLUE made it from."""
    header, *lines = path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    for number, line in enumerate(lines):
        row = dict(zip(header.split("\t"), line.rstrip("\r").split("\t"), strict=True))
        label = int(row.get("Quality", -1))
        yield number, {"sentence1": row["#1 String"], "sentence2": row["#2 String"], "label": label, "idx": number}
