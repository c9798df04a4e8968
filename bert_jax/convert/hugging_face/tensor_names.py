"""The names of Hugging Face's tensors, family by family. Each table covers every parameter once."""

from collections.abc import Callable

from bert_jax.config import ModelConfig
from bert_jax.convert.rules import Rule, dense, norm

RuleList = list[Rule]


def bert_encoder(config: ModelConfig, at: str) -> RuleList:
    """BERT, RoBERTa, XLM-RoBERTa and ELECTRA; `at` is "bert." and the like, or empty."""
    tables = f"{at}embeddings"
    rules = [
        Rule(f"{tables}.word_embeddings.weight", ("encoder/embeddings/tokens",), rows=True),
        Rule(f"{tables}.position_embeddings.weight", ("encoder/embeddings/positions",)),
        Rule(f"{tables}.token_type_embeddings.weight", ("encoder/embeddings/segments",)),
        *norm(f"{tables}.LayerNorm", "encoder/embeddings/norm"),
    ]
    if config.table_width != config.width:
        rules += dense(f"{at}embeddings_project", "encoder/embeddings/project")
    for i in range(config.depth):
        theirs, ours = f"{at}encoder.layer.{i}", f"encoder/blocks/{i}"
        for part in ("query", "key", "value"):
            rules += dense(f"{theirs}.attention.self.{part}", f"{ours}/attention/{part}")
        rules += dense(f"{theirs}.attention.output.dense", f"{ours}/attention/output")
        rules += norm(f"{theirs}.attention.output.LayerNorm", f"{ours}/attention_norm")
        rules += dense(f"{theirs}.intermediate.dense", f"{ours}/mlp/up")
        rules += dense(f"{theirs}.output.dense", f"{ours}/mlp/down")
        rules += norm(f"{theirs}.output.LayerNorm", f"{ours}/mlp_norm")
    return rules


def distilbert_encoder(config: ModelConfig, at: str) -> RuleList:
    tables = f"{at}embeddings"
    rules = [
        Rule(f"{tables}.word_embeddings.weight", ("encoder/embeddings/tokens",), rows=True),
        Rule(f"{tables}.position_embeddings.weight", ("encoder/embeddings/positions",)),
        *norm(f"{tables}.LayerNorm", "encoder/embeddings/norm"),
    ]
    for i in range(config.depth):
        theirs, ours = f"{at}transformer.layer.{i}", f"encoder/blocks/{i}"
        for part, name in (("q", "query"), ("k", "key"), ("v", "value"), ("out", "output")):
            rules += dense(f"{theirs}.attention.{part}_lin", f"{ours}/attention/{name}")
        rules += norm(f"{theirs}.sa_layer_norm", f"{ours}/attention_norm")
        rules += dense(f"{theirs}.ffn.lin1", f"{ours}/mlp/up")
        rules += dense(f"{theirs}.ffn.lin2", f"{ours}/mlp/down")
        rules += norm(f"{theirs}.output_layer_norm", f"{ours}/mlp_norm")
    return rules


def modernbert_encoder(config: ModelConfig, at: str) -> RuleList:
    rules = [
        Rule(f"{at}embeddings.tok_embeddings.weight", ("encoder/embeddings/tokens",), rows=True),
        *norm(f"{at}embeddings.norm", "encoder/embeddings/norm", bias=False),
    ]
    for i in range(config.depth):
        theirs, ours = f"{at}layers.{i}", f"encoder/blocks/{i}"
        if i:
            rules += norm(f"{theirs}.attn_norm", f"{ours}/attention_norm", bias=False)
        together = (f"{ours}/attention/{part}" for part in ("query", "key", "value"))
        rules += dense(f"{theirs}.attn.Wqkv", *together, bias=False)
        rules += dense(f"{theirs}.attn.Wo", f"{ours}/attention/output", bias=False)
        rules += norm(f"{theirs}.mlp_norm", f"{ours}/mlp_norm", bias=False)
        rules += dense(f"{theirs}.mlp.Wi", f"{ours}/mlp/up", f"{ours}/mlp/gate", bias=False)
        rules += dense(f"{theirs}.mlp.Wo", f"{ours}/mlp/down", bias=False)
    return rules + norm(f"{at}final_norm", "encoder/final_norm", bias=False)


def masked_lm(transform: str, norm_name: str, bias_name: str, *, bias: bool = True) -> RuleList:
    return [
        *dense(transform, "masked_lm/transform", bias=bias),
        *norm(norm_name, "masked_lm/norm", bias=bias),
        Rule(bias_name, ("masked_lm/bias",), rows=True),
    ]


POOLER = "encoder/pooler/dense"
PREDICTION_HEAD = [*dense("head.dense", POOLER, bias=False), *norm("head.norm", "encoder/pooler/norm", bias=False)]
CLASSIFIER = dense("classifier", "classifier")
SPAN = dense("qa_outputs", "classifier")

# What each kind of model has beside the encoder; the argument is the prefix of the encoder's names. "pooler" is that
# of the bare encoder.
Heads = dict[str, Callable[[str], RuleList]]
BERT_HEADS: Heads = {
    "pooler": lambda at: dense(f"{at}pooler.dense", POOLER),
    "masked_lm": lambda at: masked_lm(
        "cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.bias"
    ),
    "next_sentence": lambda at: dense("cls.seq_relationship", "next_sentence"),
    "sequence": lambda at: [*dense(f"{at}pooler.dense", POOLER), *CLASSIFIER],
    "choice": lambda at: [*dense(f"{at}pooler.dense", POOLER), *CLASSIFIER],
    "token": lambda at: CLASSIFIER,
    "span": lambda at: SPAN,
}
ROBERTA_HEADS: Heads = {
    "pooler": lambda at: dense(f"{at}pooler.dense", POOLER),
    "masked_lm": lambda at: masked_lm("lm_head.dense", "lm_head.layer_norm", "lm_head.bias"),
    "sequence": lambda at: [*dense("classifier.dense", POOLER), *dense("classifier.out_proj", "classifier")],
    "choice": lambda at: [*dense(f"{at}pooler.dense", POOLER), *CLASSIFIER],
    "token": lambda at: CLASSIFIER,
    "span": lambda at: SPAN,
}
DISTILBERT_HEADS: Heads = {
    "masked_lm": lambda at: masked_lm("vocab_transform", "vocab_layer_norm", "vocab_projector.bias"),
    "sequence": lambda at: [*dense("pre_classifier", POOLER), *CLASSIFIER],
    "choice": lambda at: [*dense("pre_classifier", POOLER), *CLASSIFIER],
    "token": lambda at: CLASSIFIER,
    "span": lambda at: SPAN,
}
ELECTRA_HEADS: Heads = {
    "masked_lm": lambda at: masked_lm(
        "generator_predictions.dense", "generator_predictions.LayerNorm", "generator_lm_head.bias"
    ),
    "discriminator": lambda at: [
        *dense("discriminator_predictions.dense", "dense"),
        *dense("discriminator_predictions.dense_prediction", "score"),
    ],
    "sequence": lambda at: [*dense("classifier.dense", POOLER), *dense("classifier.out_proj", "classifier")],
    "choice": lambda at: [*dense("sequence_summary.summary", POOLER), *CLASSIFIER],
    "token": lambda at: CLASSIFIER,
    "span": lambda at: SPAN,
}
MODERNBERT_HEADS: Heads = {
    "masked_lm": lambda at: masked_lm("head.dense", "head.norm", "decoder.bias", bias=False),
    **dict.fromkeys(("sequence", "choice", "token", "span"), lambda at: [*PREDICTION_HEAD, *CLASSIFIER]),
}

# Names that repeat another tensor, {at} the prefix again. Both have to be equal: an untied output layer would be lost.
BERT_TIED = {
    "cls.predictions.decoder.weight": "{at}embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}
ROBERTA_TIED = {
    "lm_head.decoder.weight": "{at}embeddings.word_embeddings.weight",
    "lm_head.decoder.bias": "lm_head.bias",
}
DISTILBERT_TIED = {"vocab_projector.weight": "{at}embeddings.word_embeddings.weight"}
ELECTRA_TIED = {"generator_lm_head.weight": "{at}embeddings.word_embeddings.weight"}
MODERNBERT_TIED = {"decoder.weight": "{at}embeddings.tok_embeddings.weight"}
