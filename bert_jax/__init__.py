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
    from bert_jax.embedder import Embedder, load_embedder
    from bert_jax.mask_filler import Filling, MaskFiller, load_mask_filler
    from bert_jax.predictor import Prediction, Predictor, load
    from bert_jax.verbs.convert import ConvertConfig, convert
    from bert_jax.verbs.evaluate import EvaluateConfig, evaluate
    from bert_jax.verbs.finetune import FinetuneConfig, finetune
    from bert_jax.verbs.pretrain import PretrainConfig, pretrain

__version__ = "0.1.0"

_WHERE = {
    "load": "bert_jax.predictor",
    "Predictor": "bert_jax.predictor",
    "Prediction": "bert_jax.predictor",
    "load_embedder": "bert_jax.embedder",
    "Embedder": "bert_jax.embedder",
    "load_mask_filler": "bert_jax.mask_filler",
    "MaskFiller": "bert_jax.mask_filler",
    "Filling": "bert_jax.mask_filler",
    "convert": "bert_jax.verbs.convert",
    "ConvertConfig": "bert_jax.verbs.convert",
    "pretrain": "bert_jax.verbs.pretrain",
    "PretrainConfig": "bert_jax.verbs.pretrain",
    "finetune": "bert_jax.verbs.finetune",
    "FinetuneConfig": "bert_jax.verbs.finetune",
    "evaluate": "bert_jax.verbs.evaluate",
    "EvaluateConfig": "bert_jax.verbs.evaluate",
}

__all__ = [
    "ConvertConfig",
    "Embedder",
    "EvaluateConfig",
    "Filling",
    "FinetuneConfig",
    "MaskFiller",
    "Prediction",
    "Predictor",
    "PretrainConfig",
    "Stopped",
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
