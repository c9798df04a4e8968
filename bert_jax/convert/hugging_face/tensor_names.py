"""Rules for the tensors of each family of Hugging Face. The rules of a model cover every parameter once."""

from collections.abc import Callable

from bert_jax.config import ModelConfig
from bert_jax.convert.rules import TOKEN_TABLE, Rule, dense_rules, norm_rules


def bert_encoder(config: ModelConfig, prefix: str) -> list[Rule]:
    """Return the rules of the encoder of BERT, RoBERTa, XLM-RoBERTa and ELECTRA. `prefix` is "bert." or the like."""
    tables = f"{prefix}embeddings"
    rules = [
        Rule(f"{tables}.word_embeddings.weight", (TOKEN_TABLE,), rows=True),
        Rule(f"{tables}.position_embeddings.weight", ("encoder/embeddings/positions",)),
        Rule(f"{tables}.token_type_embeddings.weight", ("encoder/embeddings/segments",)),
        *norm_rules(f"{tables}.LayerNorm", "encoder/embeddings/norm"),
    ]
    if config.table_width != config.width:
        rules += dense_rules(f"{prefix}embeddings_project", "encoder/embeddings/project")
    for i in range(config.depth):
        theirs, ours = f"{prefix}encoder.layer.{i}", f"encoder/blocks/{i}"
        for part in ("query", "key", "value"):
            rules += dense_rules(f"{theirs}.attention.self.{part}", f"{ours}/attention/{part}")
        rules += dense_rules(f"{theirs}.attention.output.dense", f"{ours}/attention/output")
        rules += norm_rules(f"{theirs}.attention.output.LayerNorm", f"{ours}/attention_norm")
        rules += dense_rules(f"{theirs}.intermediate.dense", f"{ours}/mlp/up")
        rules += dense_rules(f"{theirs}.output.dense", f"{ours}/mlp/down")
        rules += norm_rules(f"{theirs}.output.LayerNorm", f"{ours}/mlp_norm")
    return rules


def distilbert_encoder(config: ModelConfig, prefix: str) -> list[Rule]:
    """Return the rules of the encoder of DistilBERT."""
    tables = f"{prefix}embeddings"
    rules = [
        Rule(f"{tables}.word_embeddings.weight", (TOKEN_TABLE,), rows=True),
        Rule(f"{tables}.position_embeddings.weight", ("encoder/embeddings/positions",)),
        *norm_rules(f"{tables}.LayerNorm", "encoder/embeddings/norm"),
    ]
    for i in range(config.depth):
        theirs, ours = f"{prefix}transformer.layer.{i}", f"encoder/blocks/{i}"
        for part, name in (("q", "query"), ("k", "key"), ("v", "value"), ("out", "output")):
            rules += dense_rules(f"{theirs}.attention.{part}_lin", f"{ours}/attention/{name}")
        rules += norm_rules(f"{theirs}.sa_layer_norm", f"{ours}/attention_norm")
        rules += dense_rules(f"{theirs}.ffn.lin1", f"{ours}/mlp/up")
        rules += dense_rules(f"{theirs}.ffn.lin2", f"{ours}/mlp/down")
        rules += norm_rules(f"{theirs}.output_layer_norm", f"{ours}/mlp_norm")
    return rules


def modernbert_encoder(config: ModelConfig, prefix: str) -> list[Rule]:
    """Return the rules of the encoder of ModernBERT, which joins query, key and value, and both halves of the MLP."""
    rules = [
        Rule(f"{prefix}embeddings.tok_embeddings.weight", (TOKEN_TABLE,), rows=True),
        *norm_rules(f"{prefix}embeddings.norm", "encoder/embeddings/norm", bias=False),
    ]
    for i in range(config.depth):
        theirs, ours = f"{prefix}layers.{i}", f"encoder/blocks/{i}"
        if i:
            rules += norm_rules(f"{theirs}.attn_norm", f"{ours}/attention_norm", bias=False)
        joined = (f"{ours}/attention/{part}" for part in ("query", "key", "value"))
        rules += dense_rules(f"{theirs}.attn.Wqkv", *joined, bias=False)
        rules += dense_rules(f"{theirs}.attn.Wo", f"{ours}/attention/output", bias=False)
        rules += norm_rules(f"{theirs}.mlp_norm", f"{ours}/mlp_norm", bias=False)
        rules += dense_rules(f"{theirs}.mlp.Wi", f"{ours}/mlp/up", f"{ours}/mlp/gate", bias=False)
        rules += dense_rules(f"{theirs}.mlp.Wo", f"{ours}/mlp/down", bias=False)
    return rules + norm_rules(f"{prefix}final_norm", "encoder/final_norm", bias=False)


def masked_lm(transform: str, norm_name: str, bias_name: str, *, bias: bool = True) -> list[Rule]:
    """Return the rules of a masked LM head."""
    return [
        *dense_rules(transform, "masked_lm/transform", bias=bias),
        *norm_rules(norm_name, "masked_lm/norm", bias=bias),
        Rule(bias_name, ("masked_lm/bias",), rows=True),
    ]


POOLER = "encoder/pooler/dense"
PREDICTION_HEAD = [
    *dense_rules("head.dense", POOLER, bias=False),
    *norm_rules("head.norm", "encoder/pooler/norm", bias=False),
]
CLASSIFIER = dense_rules("classifier", "classifier")
SPAN = dense_rules("qa_outputs", "classifier")

# The rules of each head. The argument is the prefix of the encoder's names; "pooler" is the pooler of a bare encoder.
Heads = dict[str, Callable[[str], list[Rule]]]


def _pooled_classifier(pooler: str) -> Callable[[str], list[Rule]]:
    """Return the rules of a pooler, whose name has "{prefix}" for the encoder's prefix, and a classifier on it."""
    return lambda prefix: [*dense_rules(pooler.format(prefix=prefix), POOLER), *CLASSIFIER]


def _classification_module(prefix: str) -> list[Rule]:
    """Return the rules of RoBERTa's and ELECTRA's classifier, which has the pooler inside."""
    return [*dense_rules("classifier.dense", POOLER), *dense_rules("classifier.out_proj", "classifier")]


TOKEN_AND_SPAN: Heads = {"token": lambda prefix: CLASSIFIER, "span": lambda prefix: SPAN}
BERT_HEADS: Heads = {
    "pooler": lambda prefix: dense_rules(f"{prefix}pooler.dense", POOLER),
    "masked_lm": lambda prefix: masked_lm(
        "cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.bias"
    ),
    "next_sentence": lambda prefix: dense_rules("cls.seq_relationship", "next_sentence"),
    "sequence": _pooled_classifier("{prefix}pooler.dense"),
    "choice": _pooled_classifier("{prefix}pooler.dense"),
    **TOKEN_AND_SPAN,
}
ROBERTA_HEADS: Heads = {
    "pooler": BERT_HEADS["pooler"],
    "masked_lm": lambda prefix: masked_lm("lm_head.dense", "lm_head.layer_norm", "lm_head.bias"),
    "sequence": _classification_module,
    "choice": BERT_HEADS["choice"],
    **TOKEN_AND_SPAN,
}
DISTILBERT_HEADS: Heads = {
    "masked_lm": lambda prefix: masked_lm("vocab_transform", "vocab_layer_norm", "vocab_projector.bias"),
    "sequence": _pooled_classifier("pre_classifier"),
    "choice": _pooled_classifier("pre_classifier"),
    **TOKEN_AND_SPAN,
}
ELECTRA_HEADS: Heads = {
    "masked_lm": lambda prefix: masked_lm(
        "generator_predictions.dense", "generator_predictions.LayerNorm", "generator_lm_head.bias"
    ),
    "discriminator": lambda prefix: [
        *dense_rules("discriminator_predictions.dense", "dense"),
        *dense_rules("discriminator_predictions.dense_prediction", "score"),
    ],
    "sequence": _classification_module,
    "choice": _pooled_classifier("sequence_summary.summary"),
    **TOKEN_AND_SPAN,
}
MODERNBERT_HEADS: Heads = {
    "masked_lm": lambda prefix: masked_lm("head.dense", "head.norm", "decoder.bias", bias=False),
    **dict.fromkeys(("sequence", "choice", "token", "span"), lambda prefix: [*PREDICTION_HEAD, *CLASSIFIER]),
}

# Tensors that repeat another one; {prefix} is the encoder's prefix. Both must be equal: no untied output layer is read.
BERT_TIED = {
    "cls.predictions.decoder.weight": "{prefix}embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}
ROBERTA_TIED = {
    "lm_head.decoder.weight": "{prefix}embeddings.word_embeddings.weight",
    "lm_head.decoder.bias": "lm_head.bias",
}
DISTILBERT_TIED = {"vocab_projector.weight": "{prefix}embeddings.word_embeddings.weight"}
ELECTRA_TIED = {"generator_lm_head.weight": "{prefix}embeddings.word_embeddings.weight"}
MODERNBERT_TIED = {"decoder.weight": "{prefix}embeddings.tok_embeddings.weight"}
