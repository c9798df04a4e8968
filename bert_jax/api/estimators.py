"""scikit-learn estimators that fine-tune an encoder in memory."""

import dataclasses
import inspect
import os
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import assert_all_finite, check_is_fitted

from bert_jax.api.fitting import Fitted, fit
from bert_jax.api.in_memory_rows import as_list
from bert_jax.api.keywords import KEYWORD, POSITIONAL, as_toml, errors_in_one_line
from bert_jax.config import MeshConfig, from_table
from bert_jax.data.labelled.rows import Rows, rows_of
from bert_jax.errors import UserError, listed
from bert_jax.pretrained import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from bert_jax.settings.field_texts import field_texts
from bert_jax.settings.finetune import FinetuneConfig
from bert_jax.tasks.probabilities import sigmoid, softmax

# Settings of `bert_jax.finetune` that are parameters of both estimators. The other settings concern files and runs.
ESTIMATOR_SETTINGS = (
    "lowercase",
    "epochs",
    "batch_size",
    "learning_rate",
    "warmup",
    "schedule",
    "cooldown",
    "weight_decay",
    "layer_decay",
    "freeze_layers",
    "fresh_layers",
    "dropout",
    "max_length",
    "long_texts",
    "overlap",
    "from_scratch",
    "accumulate",
    "dtype",
    "precision",
    "threads",
)
OWN_PARAMETERS: dict[str, Any] = {"random_state": 0, "verbose": False}
OWN_PARAMETER_TEXTS = {
    "from_": "Folder of the model to start from: a run, one of its checkpoints, or a Hugging Face model.",
    "random_state": "Seed of the new head, the order of the rows, and dropout. None: a different seed for each fit.",
    "verbose": "Print the loss of each epoch on standard error.",
}
INDICATOR = "multilabel-indicator"
PREDICT_ROWS = 64


class InputError(UserError, ValueError):
    """Invalid input to an estimator. A ValueError, because scikit-learn expects one."""


def with_parameters(*settings: str) -> Callable[[type], type]:
    """Decorate an estimator with a constructor whose parameters are settings of `FinetuneConfig`, with their defaults.

    The description of each setting is appended to the docstring of the class.
    """
    fields = {field.name: field.default for field in dataclasses.fields(FinetuneConfig)}
    defaults = {**{name: fields[name] for name in settings}, **OWN_PARAMETERS}
    parameters = [inspect.Parameter(name, KEYWORD, default=default) for name, default in defaults.items()]
    signature = inspect.Signature(
        [inspect.Parameter("self", POSITIONAL), inspect.Parameter("from_", POSITIONAL, default=None), *parameters]
    )

    def decorate(cls: type) -> type:
        def initialise(*arguments: Any, **keywords: Any) -> None:
            bound = signature.bind(*arguments, **keywords)
            bound.apply_defaults()
            estimator = bound.arguments.pop("self")
            for name, value in bound.arguments.items():
                setattr(estimator, name, value)

        initialise.__signature__ = signature  # type: ignore[attr-defined]
        initialise.__name__ = "__init__"
        cls.__init__ = initialise  # type: ignore[misc]
        texts = {**field_texts(FinetuneConfig), **OWN_PARAMETER_TEXTS}
        lines = [
            textwrap.fill(" ".join(f"{name}: {texts[name]}".split()), 116, subsequent_indent="    ")
            for name in ("from_", *defaults)
            if name in texts
        ]
        cls.__doc__ = "\n".join([inspect.cleandoc(cls.__doc__ or ""), "", *lines])
        return cls

    return decorate


class _BertEstimator(BaseEstimator):
    """Base class of both estimators: reads X, fits in memory, and saves."""

    from_: Any
    random_state: Any
    verbose: bool
    model_: Fitted

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the model as a run folder, which every verb can read, and return its path."""
        check_is_fitted(self)
        with errors_in_one_line():
            scale, shift = self._scales()
            self.model_.save(Path(path), self._settings(), scale=scale, shift=shift)
        return Path(path)

    def _scales(self) -> tuple[Any, Any]:
        """Return the scale and the shift that turn outputs of the model into predictions."""
        return np.float64(1.0), np.float64(0.0)

    def _settings(self) -> FinetuneConfig:
        """Return the settings of fine-tuning. Raises UserError if one is missing or out of range."""
        name = type(self).__name__
        if self.from_ is None:
            raise InputError(f'{name}: from_ is missing. Name the folder of a model: {name}("runs/mini")')
        settings = {key: value for key, value in self.get_params(deep=False).items() if key not in OWN_PARAMETERS}
        seed = self.random_state
        if not isinstance(seed, int | np.integer):
            seed = check_random_state(seed).randint(2**31 - 1)
        settings |= {"data": "texts", "output": "memory", "seeds": seed, "mesh": MeshConfig(data=1)}
        return from_table(FinetuneConfig, as_toml(FinetuneConfig, settings), name)

    def _read(self, X: Any, *, fitting: bool) -> Rows:
        """Return the texts, or pairs of texts, in X. Raises UserError for anything else."""
        texts, pairs = texts_of(X)
        if not texts:
            raise InputError("X has 0 sample(s); a minimum of 1 is required")
        if not fitting and (pairs is not None) != self.model_.about.task.pair:
            kinds = "single texts", "pairs of texts"
            raise InputError(
                f"X has {kinds[pairs is not None]}, {type(self).__name__} was fitted on {kinds[pairs is None]}"
            )
        return rows_of(texts, pairs)

    def _train(self, rows: Rows, labels: tuple[str, ...] | None, problem: str) -> Self:
        settings = self._settings()
        with errors_in_one_line():
            self.model_ = fit(settings, rows, labels, problem, name=type(self).__name__, verbose=self.verbose)
        return self

    def _outputs(self, X: Any) -> np.ndarray:
        """Return the outputs of the model for each text, (texts, outputs), in double precision."""
        check_is_fitted(self)
        return self.model_.outputs(self._read(X, fitting=False), PREDICT_ROWS).astype(np.float64)

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether `fit` has run. By default scikit-learn would take the name `from_` as a sign that it has."""
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False  # the tag means numbers
        tags.target_tags.required = True
        return tags


@with_parameters(*ESTIMATOR_SETTINGS, "class_weights")
class BertClassifier(ClassifierMixin, _BertEstimator):
    """A classifier of texts, or of pairs of texts, that fine-tunes an encoder.

    BertClassifier("runs/mini", epochs=4).fit(texts, labels).predict(["The export has hung since noon."])

    X is a list, an array or a column of texts; two columns are pairs of texts. y has the class of each text, or, for
    multi-label classification, a row of zeros and ones. All rows are trained on, and nothing is written to disk.
    The parameters are settings of `bert_jax.finetune`. After `fit`, `classes_` holds the sorted classes and `model_`
    the trained model.
    """

    classes_: np.ndarray

    def fit(self, X: Any, y: Any) -> Self:
        """Fine-tune on all texts and return the estimator."""
        rows = self._read(X, fitting=True)
        check_consistent_length(rows.texts, _required(y))
        kind = type_of_target(y, input_name="y", raise_unknown=True)
        if kind == INDICATOR:
            indicators = np.asarray(y.toarray() if hasattr(y, "toarray") else y)
            self.classes_ = np.arange(indicators.shape[1])
            ids: list[Any] = [tuple(map(float, row)) for row in indicators]
        else:
            y = column_or_1d(y, warn=True)
            check_classification_targets(y)
            self.classes_, class_ids = np.unique(y, return_inverse=True)
            ids = class_ids.tolist()
        if len(self.classes_) < 2:
            raise InputError(f"y has one class, {self.classes_.tolist()[0]!r}; at least two are needed")
        names = tuple(str(label) for label in self.classes_.tolist())
        rows = dataclasses.replace(rows, labels=ids)
        return self._train(rows, names, MULTI_LABEL if kind == INDICATOR else SINGLE_LABEL)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class for each text, (texts, classes)."""
        outputs = self._outputs(X)
        return sigmoid(outputs) if self._is_multi_label else softmax(outputs)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most likely class of each text; for multi-label classification, its labels as zeros and ones."""
        outputs = self._outputs(X)
        return (outputs > 0).astype(int) if self._is_multi_label else self.classes_[outputs.argmax(axis=1)]

    @property
    def _is_multi_label(self) -> bool:
        return self.model_.about.problem == MULTI_LABEL

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


@with_parameters(*ESTIMATOR_SETTINGS)
class BertRegressor(RegressorMixin, _BertEstimator):
    """A regressor of texts, or of pairs of texts, that fine-tunes an encoder.

    BertRegressor("runs/mini").fit(texts, scores).predict(["The export has hung since noon."])

    X is a list, an array or a column of texts; two columns are pairs of texts. y has one number per text, or a row of
    several. They are standardised for training, and predictions are in the units of y. All rows are trained on, and
    nothing is written to disk. The parameters are settings of `bert_jax.finetune`. After `fit`, `model_` holds the
    trained model.
    """

    mean_: np.ndarray
    deviation_: np.ndarray

    def fit(self, X: Any, y: Any) -> Self:
        """Fine-tune on all texts and return the estimator."""
        rows = self._read(X, fitting=True)
        check_consistent_length(rows.texts, _required(y))
        numbers = np.asarray(y)
        numbers = numbers if numbers.ndim == 2 and numbers.shape[1] > 1 else column_or_1d(y, warn=True)
        try:
            numbers = numbers.astype(np.float64)
        except (TypeError, ValueError):
            raise InputError("y does not hold numbers. For classes, use BertClassifier") from None
        assert_all_finite(numbers, input_name="y")
        self.mean_ = numbers.mean(axis=0)
        deviation = numbers.std(axis=0)
        self.deviation_ = np.where(deviation > 0, deviation, 1.0)
        names = tuple(map(str, range(numbers.shape[1]))) if numbers.ndim == 2 else None
        scaled = ((numbers - self.mean_) / self.deviation_).tolist()
        rows = dataclasses.replace(rows, labels=scaled if names is None else [tuple(row) for row in scaled])
        return self._train(rows, names, REGRESSION)

    def predict(self, X: Any) -> np.ndarray:
        """Return the predicted number of each text, (texts,), or numbers, (texts, outputs)."""
        outputs = self._outputs(X)
        return (outputs if self.mean_.ndim else outputs[:, 0]) * self.deviation_ + self.mean_

    def _scales(self) -> tuple[Any, Any]:
        return self.deviation_, self.mean_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def texts_of(X: Any) -> tuple[list[str], list[str] | None]:
    """Return the texts in X and, if it has two columns, their pairs. Raises UserError for anything else."""
    if isinstance(X, str) or not hasattr(X, "__iter__"):
        raise InputError(f"X is {X!r}; a list of texts is expected, or two columns of texts")
    shape = getattr(X, "shape", ())
    if hasattr(X, "columns") and len(shape) == 2:
        X = X.to_numpy()
    values = as_list(X, "X")
    if values and len(shape) != 1 and all(isinstance(row, list | tuple) for row in values):
        widths = sorted({len(row) for row in values})
        if widths not in ([1], [2]):
            raise InputError(f"X has {listed(widths)} columns; it must have one (texts) or two (pairs of texts)")
        columns = [[row[index] for row in values] for index in range(widths[0])]
    else:
        columns = [values]
    for index, column in enumerate(columns):
        for number, text in enumerate(column):
            if not isinstance(text, str):
                where = f"row {number}" + f", column {index}" * (len(columns) > 1)
                raise InputError(f"X: {where} is {text!r} of type {type(text).__name__}, not a text")
    return columns[0], columns[1] if len(columns) > 1 else None


def _required(y: Any) -> Any:
    if y is None:
        raise InputError("y is missing: requires y to be passed, but the target y is None")
    return y
