"""`bert_jax.predict`, `embed` and `fill_mask`: what models say of texts in memory and of files."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bert_jax.api.keywords import NOWHERE, SUFFIX, Verb
from bert_jax.api.results import Result
from bert_jax.errors import UserError
from bert_jax.settings.embed import EmbedConfig
from bert_jax.settings.fill_mask import FillMaskConfig
from bert_jax.settings.predict import PredictConfig
from bert_jax.wording import counted

if TYPE_CHECKING:
    from bert_jax.inference.mask_filler import Filling

LISTED = {"texts": "text", "pairs": "pair", "choices": "choices"}


class Answers(Result, Sequence[Any]):
    """The answers of a model in the order of the texts: a sequence, shown as a table."""

    def __init__(self, texts: Sequence[str], answers: Sequence[Any]) -> None:
        self.texts, self.answers = list(texts), list(answers)

    def title(self) -> str:
        return counted(len(self.answers), "answer")

    def table(self) -> list[dict[str, Any]]:
        """Return a row a text: the text, and what the model says of it."""
        return [{"text": text, **_as_dict(answer)} for text, answer in zip(self.texts, self.answers, strict=True)]

    def __getitem__(self, index: Any) -> Any:
        return self.answers[index]

    def __len__(self) -> int:
        return len(self.answers)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]


def _as_dict(answer: Any) -> dict[str, Any]:
    """Return an answer as the columns of a table."""
    if isinstance(answer, list):  # entities
        return {"entities": [f"{entity.text} ({entity.label})" for entity in answer]}
    table = answer if isinstance(answer, dict) else answer.as_dict()
    return {name: value for name, value in table.items() if name != "candidates"}


def of_one_or_more(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of lists as one that takes a single text, too, and gives the first of its answers then."""

    @functools.wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        texts = arguments[0] if arguments else keywords.get("texts")
        is_settings = isinstance(texts, str) and texts.endswith(SUFFIX) and "model" not in keywords
        if not isinstance(texts, str) or is_settings:
            return function(*arguments, **keywords)
        lists = {name: [keywords[name]] for name in LISTED if keywords.get(name) is not None}
        found = function(*([value] for value in arguments), **{**keywords, **lists})
        return found[0] if keywords.get("output") is None else found

    return call


@of_one_or_more
@Verb(PredictConfig, "predict", positional=("texts", "pairs"), rows="input", lists=LISTED)
def predict(config: PredictConfig) -> Any:
    """Return what a fine-tuned model says of a text, of many, or of the rows of a file or a data frame.

    bert_jax.predict("The export has hung since noon.", model="runs/tickets")
    bert_jax.predict(texts, model="runs/tickets")
    bert_jax.predict(input="new.csv", model="runs/tickets", output="labels.jsonl")

    Of one text its answer, of more a sequence of answers in order. With `output` they are written there, as the command
    does, and its path is returned. For many calls load the model once: `bert_jax.load("runs/tickets").predict(text)`.
    """
    from bert_jax.verbs.predict import predict as predict_file

    if config.output is None:
        return _answers(config)
    predict_file(config)
    return config.output


def _answers(config: PredictConfig) -> Answers:
    """Return what the model says of all rows. Raises UserError where there are none."""
    from bert_jax.inference.tagger import Entities
    from bert_jax.verbs.predict import answers_of

    texts: list[str] = []
    answers: list[Any] = []
    for rows, found in answers_of(config):
        texts += rows.texts
        answers += [one.entities if isinstance(one, Entities) else one for one in found]
    if not answers:
        raise UserError(f"{config.input}: no rows")
    return Answers(texts, answers)


@of_one_or_more
@Verb(EmbedConfig, "embed", positional=("texts",), rows="input", lists={"texts": "text"}, optional=("output",))
def embed(config: EmbedConfig) -> Any:
    """Return one vector a text, (texts, width), of texts, of the rows of a file or of a data frame.

    bert_jax.embed(texts, model="runs/mini", normalize=True)

    Of one text its vector. With `output` they are written there, and its path is returned. For many calls load the
    model once: `bert_jax.load_embedder("runs/mini").embed(texts)`.
    """
    from bert_jax.verbs.embed import embed as embed_file
    from bert_jax.verbs.embed import vectors_of

    if config.output == NOWHERE:
        return vectors_of(config)
    embed_file(config)
    return config.output


class Fillings(Result, Sequence["Filling"]):
    """The likeliest tokens under a mask, the likeliest first: a sequence, shown as a table."""

    def __init__(self, text: str, found: "Sequence[Filling]") -> None:
        self.text, self._found = text, list(found)

    def title(self) -> str:
        return self.text

    def table(self) -> list[dict[str, Any]]:
        """Return a row a token: its probability, and the text with it."""
        return [dataclasses.asdict(one) for one in self._found]

    def __getitem__(self, index: Any) -> Any:
        return self._found[index]

    def __len__(self) -> int:
        return len(self._found)


@Verb(FillMaskConfig, "fill_mask", positional=("text",))
def fill_mask(config: FillMaskConfig) -> Fillings:
    """Return the likeliest words at the [MASK] of a text.

    bert_jax.fill_mask("The dog [MASK] at the postman.", model="runs/mini")
    """
    from bert_jax.inference.mask_filler import load_mask_filler

    return Fillings(config.text, load_mask_filler(config.model, best=config.best).fill(config.text))
