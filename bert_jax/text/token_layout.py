"""The control tokens around a text and between the texts of a pair, and the segment of each token."""

import dataclasses
import os
from pathlib import Path
from typing import Any

from bert_jax.errors import UserError
from bert_jax.text.folder_files import TOKENIZER_SETTINGS
from bert_jax.text.tokenizer_classes import BERT_CLASSES, ROBERTA_CLASSES
from bert_jax.text.tokenizer_json import XLM_ROBERTA, pipeline_steps

BERT_TOKENIZER = "BertTokenizer"
TOKEN_TYPES = "token_type_ids"  # Hugging Face's name for the model input that holds segments


@dataclasses.dataclass(frozen=True)
class Layout:
    """The layout `cls a sep` of a text, and `cls a sep b sep` of a pair.

    cls, sep    ids
    separators  number of `sep` tokens between a and b
    types       token types of a pair: of cls, a, each separator, b and the last sep. A single text has type 0 only
    """

    cls: int
    sep: int
    separators: int
    types: tuple[int, ...]

    @property
    def segments(self) -> int | None:
        """2 if b and the last separator have type 1 and the rest 0; 1 if all types are 0; None for any other types."""
        *first, b, sep = self.types
        return b + 1 if not any(first) and b == sep and b in (0, 1) else None


@dataclasses.dataclass(frozen=True)
class ClassLayout:
    """The layout that a tokenizer class of Hugging Face uses, whatever post-processor its tokenizer.json has.

    separators, segments  as in `Layout`
    feeds_segments        whether the model gets token types if the settings have no `model_input_names`
    """

    separators: int
    segments: int
    feeds_segments: bool


_LIKE_BERT, _LIKE_ROBERTA = ClassLayout(1, 2, True), ClassLayout(2, 1, False)
CLASS_LAYOUTS = {
    **dict.fromkeys(BERT_CLASSES, _LIKE_BERT),
    "DistilBertTokenizer": ClassLayout(1, 2, False),
    **dict.fromkeys((*ROBERTA_CLASSES, XLM_ROBERTA, "MPNetTokenizer"), _LIKE_ROBERTA),
}


def read_layout(post_processor: dict[str, Any] | None, source: str) -> Layout | None:
    """Return the layout of a post-processor; None if it adds no control tokens.

    Raises UserError for a layout that no BERT uses.
    """
    steps = [step for step in pipeline_steps(post_processor) if step.get("type") != "ByteLevel"]
    if not steps:
        return None
    if len(steps) > 1 or steps[0].get("type") not in ("BertProcessing", "RobertaProcessing", "TemplateProcessing"):
        kinds = ", ".join(str(step.get("type")) for step in steps)
        raise UserError(f"{source}: a post_processor of {kinds}; BERT's, RoBERTa's or a template is expected")
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
                numbers = " ".join(map(str, single_types))
                raise UserError(f"{source}: its post_processor gives a single text the types {numbers}; 0 is expected")
            return Layout(cls, sep, separators, tuple(types))
    layouts = [" ".join(str(item) for item in items) for items in (single, pair)]
    raise UserError(f"{source}: its post_processor makes '{layouts[0]}' and '{layouts[1]}', which no BERT takes")


def _items(template: list[dict[str, Any]], special: dict[str, Any]) -> tuple[list[Any], list[int]]:
    """Return the items of a template, each the id of a control token, "A" or "B", and the type of each."""
    items: list[Any] = []
    types: list[int] = []
    for item in template:
        part = item["Sequence"] if "Sequence" in item else item["SpecialToken"]
        ids = [part["id"]] if "Sequence" in item else special[part["id"]]["ids"]
        items += ids
        types += [part.get("type_id", 0)] * len(ids)
    return items, types


def model_segments(layout: Layout | None, class_name: str | None, folder: Path, settings: dict[str, Any]) -> int:
    """Return the number of segments that a model is given for a pair: 2 if the second text has its own, else 1.

    Hugging Face gives a model the token types if they are in `model_input_names`. If the settings have no such list,
    the tokenizer class decides; the general class gives no types, so all tokens are in segment 0. `layout` is that of
    the file's post-processor, or None to take that of the class. Raises UserError if file and class disagree, because
    transformers 4 follows the file and transformers 5 the class.
    """
    input_names = settings.get("model_input_names")
    class_layout = CLASS_LAYOUTS.get(class_name or "")
    if isinstance(input_names, list):
        feeds_segments = TOKEN_TYPES in input_names
    elif class_layout is None:
        # A tokenizer without a model and a class: its own post-processor decides.
        feeds_segments = class_name is None and not os.path.lexists(folder / "config.json")
    else:
        feeds_segments = class_layout.feeds_segments
    if layout is None:
        return class_layout.segments if class_layout and feeds_segments else 1
    if class_layout is not None:
        _check_layout(layout, class_layout, feeds_segments, f"{folder}: {class_name}")
    if not feeds_segments:
        return 1
    if layout.segments is None:
        types = " ".join(map(str, layout.types))
        raise UserError(
            f"{folder}: its post_processor gives the tokens of a pair the types {types}; 0 before the second text and "
            f"0 or 1 from there on are expected. To use none, take {TOKEN_TYPES} out of "
            f"model_input_names in {TOKENIZER_SETTINGS}"
        )
    return layout.segments


def _check_layout(layout: Layout, class_layout: ClassLayout, feeds_segments: bool, source: str) -> None:
    """Raise UserError if the layout of a file is not that of the tokenizer class that reads it."""
    segments = layout.segments if feeds_segments else class_layout.segments
    if (layout.separators, segments) != (class_layout.separators, class_layout.segments):
        types = " ".join(map(str, layout.types))
        raise UserError(
            f"{source} puts {class_layout.separators} control tokens between two texts and gives a pair "
            f"{class_layout.segments} segments; its post_processor puts {layout.separators}, of types {types}. "
            f"transformers 4 follows the file, transformers 5 the class. To follow the file, name "
            f"PreTrainedTokenizerFast and model_input_names in {TOKENIZER_SETTINGS}"
        )
