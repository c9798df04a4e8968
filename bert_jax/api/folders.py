"""`bert_jax.convert` and `bert_jax.inspect`: convert model folders and describe them."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bert_jax.api.keywords import ApiFunction
from bert_jax.api.results import MappingResult, TableResult
from bert_jax.settings.convert import ConvertConfig
from bert_jax.settings.inspect import InspectConfig

if TYPE_CHECKING:
    from bert_jax.convert.proof import OutputDifference


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class ConvertResult(TableResult):
    """The folder that was written, and the differences between both models' outputs. Usable as a path.

    differences  one per output; None if the library that runs the target format is not installed
    """

    path: Path
    differences: "Sequence[OutputDifference] | None"

    def title(self) -> str:
        compared = "written and read back" if self.differences is None else "compared on the same batch"
        return f"{self.path}: {compared}"

    def table(self) -> list[dict[str, Any]]:
        """Return one row per output: the largest absolute difference and the largest absolute value."""
        return [
            {"output": output.name, "largest difference": output.difference, "largest value": output.largest}
            for output in self.differences or ()
        ]

    def __fspath__(self) -> str:
        return str(self.path)


class InspectResult(MappingResult):
    """The description of a model folder: facts by name. For several runs: the facts about each by its name."""

    def __init__(self, paths: Sequence[Path], facts: Mapping[str, Any]) -> None:
        super().__init__(facts)
        self.path = paths[0]
        self._paths = paths

    def title(self) -> str:
        return ", ".join(map(str, self._paths))

    def table(self) -> list[dict[str, Any]]:
        """Return one row per fact, or one per run where there are several."""
        if all(isinstance(value, Mapping) for value in self._values.values()):
            return [{"run": name, **facts} for name, facts in self._values.items()]
        return [{"": name, " ": value} for name, value in self._values.items()]


@ApiFunction(ConvertConfig, "convert", positional=("source", "target"))
def convert(config: ConvertConfig) -> ConvertResult:
    """Convert a model to another format, and compare the outputs of both.

    bert_jax.convert("runs/tickets", "exported/tickets", to="hf")
    """
    from bert_jax.verbs.convert import convert as convert_model

    return ConvertResult(config.target, convert_model(config))


@ApiFunction(InspectConfig, "inspect", positional=("path", "others"))
def inspect(config: InspectConfig) -> InspectResult:
    """Describe a folder: its format, its model, and which verbs it can be used with.

    bert_jax.inspect("runs/mini")
    bert_jax.inspect("runs/mini", ["runs/small"], figure="runs.png")
    """
    from bert_jax.verbs.inspect import described

    return InspectResult((config.path, *config.others), described(config))
