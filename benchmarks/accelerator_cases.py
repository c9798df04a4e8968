"""The cases of accelerator.py, in the order in which they run: what a few minutes must tell comes first."""

import dataclasses
from collections.abc import Iterator

from bert_jax.model.attention_bodies import ATTENTIONS
from bert_jax.model.residual_norm import RESIDUAL_NORMS

STEP, ATTENTION, RESIDUAL_NORM, PYTORCH = "step", "attention", "residual-norm", "pytorch"
SECONDS = {STEP: 120, ATTENTION: 60, RESIDUAL_NORM: 60, PYTORCH: 120}  # the most that a case takes
CUDNN = "cudnn"


@dataclasses.dataclass(frozen=True)
class Shape:
    """A batch of full rows, and the model that computes it."""

    preset: str
    rows: int
    length: int
    predictions: int
    vocab_size: int | None = None  # None: that of the preset


SHAPES = {
    "base@128": Shape("bert-base-uncased", 512, 128, 20),
    "base@512": Shape("bert-base-uncased", 128, 512, 76),
    "large@128": Shape("bert-large-uncased", 256, 128, 20),
    "large@512": Shape("bert-large-uncased", 64, 512, 76),
    "large@2048": Shape("bert-large-uncased", 16, 2048, 0),  # kernels only: BERT has 512 positions
}
TINY = Shape("bert-tiny", 4, 32, 5, vocab_size=1000)


@dataclasses.dataclass(frozen=True)
class Case:
    """One line of the results.

    kind               STEP, ATTENTION, RESIDUAL_NORM or PYTORCH
    body               of a kernel alone; of PyTorch, its attention: "default" or "cudnn"
    attention_dropout  None: that of the model
    tiny               with TINY in place of the shape, to try the script on a CPU
    trace              folder for a profile of a step, or ""
    """

    kind: str
    shape: str
    body: str = ""
    attention: str = "auto"
    attention_dropout: float | None = None
    residual_norm: str = "auto"
    packed: bool = False
    tiny: bool = False
    trace: str = ""

    @property
    def name(self) -> str:
        """The words by which the case is chosen and printed."""
        words = [self.kind, self.shape, self.body, "packed" if self.packed else ""]
        if self.kind == STEP:
            words += [f"--{name} {getattr(self, name.replace('-', '_'))}" for name in self.changed]
        elif self.attention_dropout is not None and self.body != CUDNN:  # which has none
            words.append(f"dropout {self.attention_dropout:g}")
        return " ".join(filter(None, words))

    @property
    def changed(self) -> list[str]:
        """The flags of a step that differ from their defaults."""
        names = ("attention", "attention-dropout", "residual-norm")
        return [name for name in names if getattr(self, name.replace("-", "_")) not in ("auto", None)]

    @property
    def sizes(self) -> Shape:
        """The shape that is measured."""
        return TINY if self.tiny else SHAPES[self.shape]


def kernel(shape: str, body: str, *, packed: bool = False, dropout: float | None = None) -> Case:
    """Return a case of attention alone. cuDNN has no dropout of the weights, and no packed rows."""
    return Case(ATTENTION, shape, body, packed=packed, attention_dropout=0.0 if body == CUDNN else dropout)


def all_cases() -> list[Case]:
    """Return the cases in order, each once."""
    return list(dict.fromkeys(_in_order()))


def _in_order() -> Iterator[Case]:
    # Are the kernels right?
    yield kernel("large@512", "pallas")
    yield Case(RESIDUAL_NORM, "large@512", "pallas")
    yield kernel("large@512", CUDNN)
    yield kernel("large@512", "pallas", packed=True)
    # How fast is a step, and against PyTorch?
    for shape in ("large@512", "base@128"):
        yield Case(STEP, shape)
        yield Case(PYTORCH, shape, CUDNN)
    yield Case(STEP, "large@512", attention_dropout=0.0)
    yield Case(STEP, "large@512", packed=True)
    yield Case(STEP, "large@128")
    yield Case(PYTORCH, "large@128", CUDNN)
    # What does a kernel save?
    yield Case(STEP, "large@512", attention="plain")
    yield Case(STEP, "large@512", residual_norm="plain")
    yield Case(STEP, "base@512")
    for body in RESIDUAL_NORMS:
        yield Case(RESIDUAL_NORM, "large@512", body)
    for shape in ("large@512", "large@128", "large@2048"):
        for packed in (False, True):
            yield from (kernel(shape, body, packed=packed) for body in ATTENTIONS if not (packed and body == CUDNN))
    yield kernel("large@512", "pallas", dropout=0.0)
    yield Case(PYTORCH, "large@512", "default")
    yield Case(PYTORCH, "base@512", CUDNN)
    for changes in ({"attention_dropout": 0.0}, {"attention": "plain"}, {"residual_norm": "plain"}):
        yield Case(STEP, "base@128", **changes)
