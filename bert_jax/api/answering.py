"""`bert_jax.predict`, `embed` and `fill_mask`, for texts in memory and for files."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bert_jax.api.keywords import NOWHERE, TOML_SUFFIX, ApiFunction
from bert_jax.api.results import TableResult
from bert_jax.errors import UserError
from bert_jax.settings.embed import EmbedConfig
from bert_jax.settings.fill_mask import FillMaskConfig
from bert_jax.settings.predict import PredictConfig
from bert_jax.wording import counted

if TYPE_CHECKING:
    from bert_jax.inference.mask_filler import Filling

LISTED = {"texts": "text", "pairs": "pair", "choices": "choices"}


class Predictions(TableResult, Sequence[Any]):
    """The predictions of a model in the order of the texts: a sequence, shown as a table."""

    def __init__(self, texts: Sequence[str], answers: Sequence[Any]) -> None:
        self.texts, self.answers = list(texts), list(answers)

    def title(self) -> str:
        return counted(len(self.answers), "prediction")

    def table(self) -> list[dict[str, Any]]:
        """Return one row per text: the text and its prediction."""
        return [{"text": text, **_as_dict(answer)} for text, answer in zip(self.texts, self.answers, strict=True)]

    def __getitem__(self, index: Any) -> Any:
        return self.answers[index]

    def __len__(self) -> int:
        return len(self.answers)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]


def _as_dict(answer: Any) -> dict[str, Any]:
    """Return a prediction as columns of a table."""
    if isinstance(answer, list):  # entities
        return {"entities": [f"{entity.text} ({entity.label})" for entity in answer]}
    columns = answer if isinstance(answer, dict) else answer.as_dict()
    return {name: value for name, value in columns.items() if name != "candidates"}


def accepts_single_text(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function of a list of texts accept a single text, too, and return its one result then."""

    @functools.wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        texts = arguments[0] if arguments else keywords.get("texts")
        is_settings = isinstance(texts, str) and texts.endswith(TOML_SUFFIX) and "model" not in keywords
        if not isinstance(texts, str) or is_settings:
            return function(*arguments, **keywords)
        lists = {name: [keywords[name]] for name in LISTED if keywords.get(name) is not None}
        results = function(*([value] for value in arguments), **{**keywords, **lists})
        return results[0] if keywords.get("output") is None else results

    return call


@accepts_single_text
@ApiFunction(PredictConfig, "predict", positional=("texts", "pairs"), rows="input", lists=LISTED)
def predict(config: PredictConfig) -> Any:
    """Return the predictions of a fine-tuned model for one text, several texts, or the rows of a file or data frame.

    bert_jax.predict("The export has hung since noon.", model="runs/tickets")
    bert_jax.predict(texts, model="runs/tickets")
    bert_jax.predict(input="new.csv", model="runs/tickets", output="labels.jsonl")

    One text returns one prediction, several texts a sequence of predictions in order. With `output`, write them to that
    file as the command does and return its path. For many calls, load the model once:
    `bert_jax.load("runs/tickets").predict(text)`.
    """
    from bert_jax.verbs.predict import predict as predict_file

    if config.output is None:
        return _predictions(config)
    predict_file(config)
    return config.output


def _predictions(config: PredictConfig) -> Predictions:
    """Return the predictions for all rows. Raises UserError if there are no rows."""
    from bert_jax.inference.tagger import Entities
    from bert_jax.verbs.predict import answers_of

    texts: list[str] = []
    answers: list[Any] = []
    for rows, chunk in answers_of(config):
        texts += rows.texts
        answers += [answer.entities if isinstance(answer, Entities) else answer for answer in chunk]
    if not answers:
        raise UserError(f"{config.input}: no rows")
    return Predictions(texts, answers)


@accepts_single_text
@ApiFunction(EmbedConfig, "embed", positional=("texts",), rows="input", lists={"texts": "text"}, optional=("output",))
def embed(config: EmbedConfig) -> Any:
    """Return one vector per text as an array (texts, width), for texts, the rows of a file, or a data frame.

    bert_jax.embed(texts, model="runs/mini", normalize=True)

    A single text returns its vector, (width,). With `output`, write the array to that file and return its path. For
    many calls, load the model once: `bert_jax.load_embedder("runs/mini").embed(texts)`.
    """
    from bert_jax.verbs.embed import embed as embed_file
    from bert_jax.verbs.embed import vectors_of

    if config.output == NOWHERE:
        return vectors_of(config)
    embed_file(config)
    return config.output


class Fillings(TableResult, Sequence["Filling"]):
    """The most likely tokens at a mask, the most likely first: a sequence, shown as a table."""

    def __init__(self, text: str, fillings: "Sequence[Filling]") -> None:
        self.text, self._fillings = text, list(fillings)

    def title(self) -> str:
        return self.text

    def table(self) -> list[dict[str, Any]]:
        """Return one row per token: its probability, and the text with the token in place of the mask."""
        return [dataclasses.asdict(filling) for filling in self._fillings]

    def __getitem__(self, index: Any) -> Any:
        return self._fillings[index]

    def __len__(self) -> int:
        return len(self._fillings)


@ApiFunction(FillMaskConfig, "fill_mask", positional=("text",))
def fill_mask(config: FillMaskConfig) -> Fillings:
    """Return the most likely tokens at the [MASK] of a text.

    bert_jax.fill_mask("The dog [MASK] at the postman.", model="runs/mini")
    """
    from bert_jax.inference.mask_filler import load_mask_filler

    return Fillings(config.text, load_mask_filler(config.model, best=config.best).fill(config.text))
