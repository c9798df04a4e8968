"""Which control tokens stand around a text and between the two of a pair, and which segment each token is of."""

import dataclasses
import os
from pathlib import Path
from typing import Any

from bert_jax.errors import UserError
from bert_jax.text.classes import BERT_CLASSES, ROBERTA_CLASSES
from bert_jax.text.folder_files import SETTINGS
from bert_jax.text.recipes import XLM_ROBERTA, flattened

BERT = "BertTokenizer"
TYPES = "token_type_ids"  # the input of Hugging Face's models that tells segments


@dataclasses.dataclass(frozen=True)
class Layout:
    """`cls a sep`, and `cls a sep b sep` with so many separators between the two.

    types  of the tokens of a pair: cls, a, the separators, b, sep. Those of a single text are all 0
    """

    cls: int
    sep: int
    separators: int
    types: tuple[int, ...]

    @property
    def segments(self) -> int | None:
        """2 where b and what follows it are a segment of their own, 1 where all is one; None for any other types."""
        *first, b, sep = self.types
        return b + 1 if not any(first) and b == sep and b in (0, 1) else None


@dataclasses.dataclass(frozen=True)
class ClassLayout:
    """The layout of a class of Hugging Face, which it takes whatever post-processor the tokenizer.json has.

    fed  whether a model is given the segments where `model_input_names` is not in the settings
    """

    separators: int
    segments: int
    fed: bool


_LIKE_BERT, _LIKE_ROBERTA = ClassLayout(1, 2, True), ClassLayout(2, 1, False)
CLASSES = {
    **dict.fromkeys(BERT_CLASSES, _LIKE_BERT),
    "DistilBertTokenizer": ClassLayout(1, 2, False),
    **dict.fromkeys((*ROBERTA_CLASSES, XLM_ROBERTA, "MPNetTokenizer"), _LIKE_ROBERTA),
}


def read_layout(post_processor: dict[str, Any] | None, source: str) -> Layout | None:
    """Return the layout that a post-processor makes, None where it adds nothing.

    Raises UserError for a layout of another kind.
    """
    steps = [step for step in flattened(post_processor) if step.get("type") != "ByteLevel"]
    if not steps:
        return None
    if len(steps) > 1 or steps[0].get("type") not in ("BertProcessing", "RobertaProcessing", "TemplateProcessing"):
        kinds = ", ".join(str(step.get("type")) for step in steps)
        raise UserError(f"{source}: a post_processor of {kinds}, where Bert's, Roberta's or a template is expected")
    step = steps[0]
    if step["type"] == "TemplateProcessing":
        return _template_layout(step, source)
    cls, sep = step["cls"][1], step["sep"][1]
    if type(cls) is not int or type(sep) is not int:
        raise UserError(f"{source}: its post_processor has the ids {cls!r} and {sep!r}; whole numbers are expected")
    bert = step["type"] == "BertProcessing"
    return Layout(cls, sep, 1, types=(0, 0, 0, 1, 1)) if bert else Layout(cls, sep, 2, types=(0,) * 6)


def _template_layout(step: dict[str, Any], source: str) -> Layout | None:
    (single, single_types), (pair, types) = (_items(step[key], step["special_tokens"]) for key in ("single", "pair"))
    if not any(isinstance(item, int) for item in single + pair):
        return None
    if len(single) == 3 and single[1] == "A":
        cls, _, sep = single
        separators = len(pair) - 4
        expected = [cls, "A", *[sep] * separators, "B", sep]
        if isinstance(cls, int) and isinstance(sep, int) and separators > 0 and pair == expected:
            if any(single_types):
                told = " ".join(map(str, single_types))
                raise UserError(f"{source}: its post_processor gives a single text the types {told}; 0 is expected")
            return Layout(cls, sep, separators, tuple(types))
    found = [" ".join(str(item) for item in items) for items in (single, pair)]
    raise UserError(f"{source}: its post_processor makes '{found[0]}' and '{found[1]}', which no BERT takes")


def _items(template: list[dict[str, Any]], special: dict[str, Any]) -> tuple[list[Any], list[int]]:
    """Ids of control tokens, "A" and "B"; and the type of each."""
    items: list[Any] = []
    types: list[int] = []
    for item in template:
        part = item["Sequence"] if "Sequence" in item else item["SpecialToken"]
        ids = [part["id"]] if "Sequence" in item else special[part["id"]]["ids"]
        items += ids
        types += [part.get("type_id", 0)] * len(ids)
    return items, types


def segments_fed(layout: Layout | None, named: str | None, folder: Path, settings: dict[str, Any]) -> int:
    """Return how many segments a pair has for a model: 2 where the second text is one of its own, else 1.

    Hugging Face gives a model the types of tokens where `model_input_names` says so. Where the settings have no such
    list, it is that of the class `named`; the general class gives none, so that all tokens are of segment 0. `layout`
    is None where no post-processor is there: the class has one. Raises UserError where file and class disagree, since
    transformers 4 takes the file's, transformers 5 that of the class.
    """
    names = settings.get("model_input_names")
    of_class = CLASSES.get(named or "")
    if isinstance(names, list):
        fed = TYPES in names
    elif of_class is None:
        fed = named is None and not os.path.lexists(folder / "config.json")  # a tokenizer alone: what it says itself
    else:
        fed = of_class.fed
    if layout is None:
        return of_class.segments if of_class and fed else 1
    if of_class is not None:
        _check_class(layout, of_class, fed, f"{folder}: {named}")
    if not fed:
        return 1
    if layout.segments is None:
        types = " ".join(map(str, layout.types))
        raise UserError(
            f"{folder}: its post_processor gives the tokens of a pair the types {types}; 0 up to the second text and "
            f"0 or 1 from it on are expected. Without {TYPES} among model_input_names in {SETTINGS} none are used"
        )
    return layout.segments


def _check_class(layout: Layout, of_class: ClassLayout, fed: bool, where: str) -> None:
    """Raises UserError where the layout of a file is not that of the class that is to read it."""
    own = layout.separators, layout.segments if fed else of_class.segments
    if own != (of_class.separators, of_class.segments):
        types = " ".join(map(str, layout.types))
        raise UserError(
            f"{where} puts {of_class.separators} control tokens between two texts, which are {of_class.segments} "
            f"segments; its post_processor puts {layout.separators}, of types {types}. transformers 4 takes the file, "
            f"transformers 5 the class. Name PreTrainedTokenizerFast and model_input_names in {SETTINGS} for the file's"
        )
