"""Names of the kinds of pre-training examples and masks. Standard library only."""

from typing import Literal

ExampleKind = Literal["pairs", "sentence-order", "full-sentences", "document-sentences", "packed"]
MaskTiming = Literal["static", "dynamic"]
MaskUnit = Literal["token", "word", "ngram"]

PAIR_LOSSES: dict[str, Literal["nsp", "sop"]] = {"pairs": "nsp", "sentence-order": "sop"}  # kinds with a next_label
