"""Prediction of masked words: `bert_jax.load_mask_filler(path).fill("The [MASK] barked.")`."""

import dataclasses
import os
from pathlib import Path

import numpy as np

from bert_jax.config import MeshConfig
from bert_jax.convert.source import read_model
from bert_jax.data.batches import batch_lengths
from bert_jax.errors import UserError
from bert_jax.model.compute import Compute
from bert_jax.pretrained import Pretrained
from bert_jax.process_setup import set_up_process
from bert_jax.sharding import make_mesh
from bert_jax.tasks.filling_task import FillingTask
from bert_jax.train.program import Program
from bert_jax.trees import unflatten
from bert_jax.wording import article, counted

MASK = "[MASK]"


@dataclasses.dataclass(frozen=True)
class Filling:
    """One candidate token for the mask, and the text with it filled in."""

    token: str
    probability: float
    text: str


class MaskFiller:
    """A masked language model that predicts the token under a mask."""

    def __init__(self, pretrained: Pretrained, *, best: int = 5, compute: Compute = Compute()) -> None:
        if pretrained.kind not in ("masked_lm", "pretrain"):
            raise UserError(f"{pretrained.where}: {article(pretrained.kind)} model has no masked LM head")
        if not 1 <= best <= pretrained.model.vocab_size:
            raise UserError(f"best is {best}; it must lie between 1 and {pretrained.model.vocab_size}")
        self.where, self.max_length = pretrained.where, pretrained.max_length
        self.tokenizer = pretrained.require_tokenizer()
        self.program = Program(FillingTask(pretrained.model, compute, best), make_mesh(MeshConfig(data=1)))
        params = unflatten(pretrained.params)
        encoder = {name: part for name, part in params["encoder"].items() if name != "pooler"}
        self.params = self.program.place_params({"encoder": encoder, "masked_lm": params["masked_lm"]})

    @property
    def mask(self) -> str:
        """The mask token of the tokenizer; [MASK] is accepted as well."""
        return self.tokenizer.tokens([self.tokenizer.special.mask])[0]

    def fill(self, text: str) -> list[Filling]:
        """Return the most likely tokens for the single mask in `text`, most likely first."""
        parts = text.replace(self.mask, MASK).split(MASK)
        if len(parts) != 2:
            raise UserError(f"{text!r}: {counted(len(parts) - 1, 'mask')}; one {MASK} is expected")
        special = self.tokenizer.special
        parts[0] = parts[0].rstrip()  # the mask token of RoBERTa and ModernBERT includes the blanks before it
        before, after = (ids.tolist() for ids in self.tokenizer.ids(parts))
        tokens = [special.cls, *before, special.mask, *after, special.sep]
        if len(tokens) > self.max_length:
            raise UserError(f"{counted(len(tokens), 'token')}; {self.where} takes {self.max_length}. Shorten the text")
        width = next(length for length in batch_lengths(self.max_length) if length >= len(tokens))
        batch = {
            "tokens": np.array([tokens + [special.pad] * (width - len(tokens))], np.int32),
            "length": np.array([len(tokens)], np.int32),
            "segment_b": np.array([len(tokens)], np.int32),
            "position": np.array([len(before) + 1], np.int32),
        }
        (shares, ids), *_ = np.asarray(self.program.outputs(self.params, self.program.place(batch)))
        fillings = []
        for share, number in zip(shares.tolist(), ids.astype(int).tolist(), strict=True):
            filled = self.tokenizer.decode([*before, number, *after])
            fillings.append(Filling(self.tokenizer.tokens([number])[0], share, filled))
        return fillings


def load_mask_filler(path: str | os.PathLike[str], *, best: int = 5) -> MaskFiller:
    """Load the masked LM at `path`: a pre-training run, one of its checkpoints, or a foreign folder."""
    set_up_process()
    return MaskFiller(read_model(Path(path)), best=best)
