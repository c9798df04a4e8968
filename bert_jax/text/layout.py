"""Which control tokens stand around a text and between the two of a pair, read from a tokenizer.json."""

import dataclasses
from typing import Any

from bert_jax.errors import UserError
from bert_jax.text.recipes import flattened


@dataclasses.dataclass(frozen=True)
class Layout:
    """`cls a sep`, and `cls a sep b sep` with so many separators between the two."""

    cls: int
    sep: int
    separators: int


def read_layout(post_processor: dict[str, Any] | None, source: str) -> Layout | None:
    """The layout that a post-processor makes, None where it adds nothing.

    Raises UserError for a layout of another kind. The types of the tokens in the file play no role.
    """
    steps = [step for step in flattened(post_processor) if step.get("type") != "ByteLevel"]
    if not steps:
        return None
    if len(steps) > 1 or steps[0].get("type") not in ("BertProcessing", "RobertaProcessing", "TemplateProcessing"):
        kinds = ", ".join(str(step.get("type")) for step in steps)
        raise UserError(f"{source}: a post_processor of {kinds}, where Bert's, Roberta's or a template is expected")
    step = steps[0]
    if step["type"] != "TemplateProcessing":
        return Layout(cls=step["cls"][1], sep=step["sep"][1], separators=2 if step["type"][0] == "R" else 1)
    single, pair = (_items(step[key], step["special_tokens"]) for key in ("single", "pair"))
    if not any(isinstance(item, int) for item in single + pair):
        return None
    if len(single) == 3 and single[1] == "A":
        layout = Layout(cls=single[0], sep=single[2], separators=len(pair) - 4)
        expected = [layout.cls, "A", *[layout.sep] * layout.separators, "B", layout.sep]
        if isinstance(layout.cls, int) and isinstance(layout.sep, int) and layout.separators > 0 and pair == expected:
            return layout
    found = [" ".join(str(item) for item in items) for items in (single, pair)]
    raise UserError(f"{source}: its post_processor makes '{found[0]}' and '{found[1]}', which no BERT takes")


def _items(template: list[dict[str, Any]], special: dict[str, Any]) -> list[Any]:
    """Ids of control tokens, "A" and "B"."""
    items: list[Any] = []
    for item in template:
        if "Sequence" in item:
            items.append(item["Sequence"]["id"])
        else:
            items += special[item["SpecialToken"]["id"]]["ids"]
    return items
