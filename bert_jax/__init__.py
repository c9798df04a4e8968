"""Pre-train, fine-tune and deploy BERT models in JAX, from raw text.

    import bert_jax
    tuned = bert_jax.finetune(from_="runs/mini", data="tickets.csv", text="body", label="priority")
    tuned.predict("The export has hung since noon.")

Each verb of the command is a function whose keywords are the flags: prepare, pretrain, finetune, evaluate, predict,
embed, fill_mask, convert, inspect. BertClassifier and BertRegressor are scikit-learn estimators. docs/python.md has
examples. Importing this package is cheap: JAX is imported with the first name that needs it.
"""

import importlib
from typing import TYPE_CHECKING, Any

from bert_jax.errors import Stopped, UserError
from bert_jax.version import __version__ as __version__

if TYPE_CHECKING:
    from bert_jax.api.answering import embed, fill_mask, predict
    from bert_jax.api.estimators import BertClassifier, BertRegressor
    from bert_jax.api.folders import convert, inspect
    from bert_jax.api.scoring import evaluate
    from bert_jax.api.training import finetune, pretrain
    from bert_jax.inference.chooser import Choice, Chooser
    from bert_jax.inference.embedder import Embedder, load_embedder
    from bert_jax.inference.loading import load
    from bert_jax.inference.mask_filler import Filling, MaskFiller, load_mask_filler
    from bert_jax.inference.predictor import Prediction, Predictor
    from bert_jax.inference.span_reader import Reader, SpanAnswer
    from bert_jax.inference.tagger import Entity, Tagger
    from bert_jax.settings.convert import ConvertConfig
    from bert_jax.settings.evaluate import EvaluateConfig
    from bert_jax.settings.finetune import FinetuneConfig
    from bert_jax.settings.pretrain import PretrainConfig

    prepare: Any  # of data_prep, which no module of this package imports

_MODULES = {
    "prepare": "data_prep.functions",
    "pretrain": "bert_jax.api.training",
    "finetune": "bert_jax.api.training",
    "evaluate": "bert_jax.api.scoring",
    "predict": "bert_jax.api.answering",
    "embed": "bert_jax.api.answering",
    "fill_mask": "bert_jax.api.answering",
    "inspect": "bert_jax.api.folders",
    "BertClassifier": "bert_jax.api.estimators",
    "BertRegressor": "bert_jax.api.estimators",
    "load": "bert_jax.inference.loading",
    "load_embedder": "bert_jax.inference.embedder",
    "load_mask_filler": "bert_jax.inference.mask_filler",
    "Choice": "bert_jax.inference.chooser",
    "Chooser": "bert_jax.inference.chooser",
    "Embedder": "bert_jax.inference.embedder",
    "Entity": "bert_jax.inference.tagger",
    "Filling": "bert_jax.inference.mask_filler",
    "MaskFiller": "bert_jax.inference.mask_filler",
    "Prediction": "bert_jax.inference.predictor",
    "Predictor": "bert_jax.inference.predictor",
    "Reader": "bert_jax.inference.span_reader",
    "SpanAnswer": "bert_jax.inference.span_reader",
    "Tagger": "bert_jax.inference.tagger",
    "ConvertConfig": "bert_jax.settings.convert",
    "EvaluateConfig": "bert_jax.settings.evaluate",
    "FinetuneConfig": "bert_jax.settings.finetune",
    "PretrainConfig": "bert_jax.settings.pretrain",
}

__all__ = [
    "BertClassifier",
    "BertRegressor",
    "Choice",
    "Chooser",
    "ConvertConfig",
    "Embedder",
    "Entity",
    "EvaluateConfig",
    "Filling",
    "FinetuneConfig",
    "MaskFiller",
    "Prediction",
    "Predictor",
    "PretrainConfig",
    "Reader",
    "SpanAnswer",
    "Stopped",
    "Tagger",
    "UserError",
    "convert",
    "embed",
    "evaluate",
    "fill_mask",
    "finetune",
    "inspect",
    "load",
    "load_embedder",
    "load_mask_filler",
    "predict",
    "prepare",
    "pretrain",
]


def __getattr__(name: str) -> Any:
    if name == "convert":  # the package of this name is callable, too
        return importlib.import_module("bert_jax.convert")
    if name not in _MODULES:
        raise AttributeError(f"module 'bert_jax' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])
