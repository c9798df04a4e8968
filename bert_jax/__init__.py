"""Train your own BERT in JAX: raw text in, a pre-trained encoder out, fine-tuned and ready to deploy.

Importing this package costs nothing: JAX comes with the first name that needs it.

    import bert_jax
    model = bert_jax.load("runs/tickets")
    model.predict(["The export has hung since noon."])
"""

import importlib
from typing import TYPE_CHECKING, Any

from bert_jax.errors import Stopped, UserError

if TYPE_CHECKING:
    from bert_jax.inference.chooser import Choice, Chooser
    from bert_jax.inference.embedder import Embedder, load_embedder
    from bert_jax.inference.load import load
    from bert_jax.inference.mask_filler import Filling, MaskFiller, load_mask_filler
    from bert_jax.inference.predictor import Prediction, Predictor
    from bert_jax.inference.reader import Reader, SpanAnswer
    from bert_jax.inference.tagger import Entity, Tagger
    from bert_jax.settings.convert import ConvertConfig
    from bert_jax.settings.evaluate import EvaluateConfig
    from bert_jax.settings.finetune import FinetuneConfig
    from bert_jax.settings.pretrain import PretrainConfig
    from bert_jax.verbs.convert import convert
    from bert_jax.verbs.evaluate import evaluate
    from bert_jax.verbs.finetune import finetune
    from bert_jax.verbs.pretrain import pretrain

__version__ = "0.1.0"

_WHERE = {
    "load": "bert_jax.inference.load",
    "Choice": "bert_jax.inference.chooser",
    "Chooser": "bert_jax.inference.chooser",
    "Entity": "bert_jax.inference.tagger",
    "Reader": "bert_jax.inference.reader",
    "SpanAnswer": "bert_jax.inference.reader",
    "Tagger": "bert_jax.inference.tagger",
    "Predictor": "bert_jax.inference.predictor",
    "Prediction": "bert_jax.inference.predictor",
    "load_embedder": "bert_jax.inference.embedder",
    "Embedder": "bert_jax.inference.embedder",
    "load_mask_filler": "bert_jax.inference.mask_filler",
    "MaskFiller": "bert_jax.inference.mask_filler",
    "Filling": "bert_jax.inference.mask_filler",
    "convert": "bert_jax.verbs.convert",
    "ConvertConfig": "bert_jax.settings.convert",
    "pretrain": "bert_jax.verbs.pretrain",
    "PretrainConfig": "bert_jax.settings.pretrain",
    "finetune": "bert_jax.verbs.finetune",
    "FinetuneConfig": "bert_jax.settings.finetune",
    "evaluate": "bert_jax.verbs.evaluate",
    "EvaluateConfig": "bert_jax.settings.evaluate",
}

__all__ = [
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
    "evaluate",
    "finetune",
    "load",
    "load_embedder",
    "load_mask_filler",
    "pretrain",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'bert_jax' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)
