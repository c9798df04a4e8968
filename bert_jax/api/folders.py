"""`bert_jax.convert` and `bert_jax.inspect`: model folders from one format to another, and what they are."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bert_jax.api.keywords import Verb
from bert_jax.api.results import MappingResult, Result
from bert_jax.settings.convert import ConvertConfig
from bert_jax.settings.inspect import InspectConfig

if TYPE_CHECKING:
    from bert_jax.convert.proof import OutputDifference


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class ConvertResult(Result):
    """The folder that was made, and how far both sides lie apart. Taken wherever a path is.

    differences  by output; None where no other library here runs the other side
    """

    path: Path
    differences: "Sequence[OutputDifference] | None"

    def title(self) -> str:
        compared = "written and read back" if self.differences is None else "compared on the same batch"
        return f"{self.path}: {compared}"

    def table(self) -> list[dict[str, Any]]:
        """Return a row an output: the largest difference, and the largest value."""
        found = self.differences or ()
        return [
            {"output": one.name, "largest difference": one.difference, "largest value": one.largest} for one in found
        ]

    def __fspath__(self) -> str:
        return str(self.path)


class InspectResult(MappingResult):
    """Description of a model folder: its facts by name."""

    def __init__(self, path: Path, found: Mapping[str, Any]) -> None:
        super().__init__(found)
        self.path = path

    def title(self) -> str:
        return str(self.path)

    def table(self) -> list[dict[str, Any]]:
        """Return a row for each thing to say."""
        return [{"": name, " ": value} for name, value in self._values.items()]


@Verb(ConvertConfig, "convert", positional=("source", "target"))
def convert(config: ConvertConfig) -> ConvertResult:
    """Convert a model to another format, and return how far both sides lie apart.

    bert_jax.convert("runs/tickets", "exported/tickets", to="hf")
    """
    from bert_jax.verbs.convert import convert as convert_model

    return ConvertResult(config.target, convert_model(config))


@Verb(InspectConfig, "inspect", positional=("path",))
def inspect(config: InspectConfig) -> InspectResult:
    """Return what a folder is, and what can be done with it.

    bert_jax.inspect("runs/mini")
    """
    from bert_jax.verbs.inspect import inspect as describe

    return InspectResult(config.path, describe(config.path))
