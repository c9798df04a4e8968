"""Hugging Face's configurations, family by family: what their config.json says of our ModelConfig, and back."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bert_jax.config import ModelConfig
from bert_jax.convert import names
from bert_jax.convert.rules import Rule
from bert_jax.errors import UserError

Table = dict[str, Any]
MOST_BLOCKS = 512  # a config.json that says more is not believed

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
ARCHITECTURES = {
    "Model": "encoder",
    "ForMaskedLM": "masked_lm",
    "ForPreTraining": "pretrain",
    "ForSequenceClassification": "sequence",
    "ForTokenClassification": "token",
    "ForQuestionAnswering": "span",
    "ForMultipleChoice": "choice",
}


@dataclasses.dataclass(frozen=True)
class Family:
    """How one `model_type` writes a model down.

    prefix    of the encoder's tensors in a model with a head
    classes   what its classes' names begin with
    fields    our field: (their key, its value where config.json does not say)
    fixed     their key: the one value that our encoder computes
    shape     our fields that the family always has
    """

    name: str
    prefix: str
    classes: str
    encoder: Callable[[ModelConfig, str], list[Rule]]
    heads: names.Heads
    tied: Mapping[str, str]
    fields: Mapping[str, tuple[str, Any]]
    fixed: Mapping[str, Any]
    shape: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    finish: Callable[[Table, Table], None] = lambda fields, table: None
    start: Callable[[ModelConfig, Table], None] = lambda config, table: None

    def read(self, table: Table, where: str) -> ModelConfig:
        """The model that config.json describes. Raises UserError that lists all it asks for that we do not compute."""
        problems = [
            f"{key} is {table[key]!r}, only {value!r} is supported"
            for key, value in self.fixed.items()
            if table.get(key, value) != value
        ]
        fields: Table = dict(self.shape)
        for ours, (theirs, default) in self.fields.items():
            value = table.get(theirs, default)
            kind = type(default)
            if kind is float and isinstance(value, int) and not isinstance(value, bool):
                value = float(value)
            if type(value) is not kind:
                problems.append(f"{theirs} is {value!r}, {kind.__name__} is expected")
            fields[ours] = value
        activation = fields["activation"]
        if isinstance(activation, str) and activation not in ACTIVATIONS:
            problems.append(f"activation {activation!r} is not among {', '.join(ACTIVATIONS)}")
        if not problems:
            if fields["depth"] > MOST_BLOCKS:
                problems.append(f"{fields['depth']} layers, more than {MOST_BLOCKS}")
            fields["activation"] = ACTIVATIONS[activation]
            try:
                self.finish(fields, table)
                if not problems:
                    return ModelConfig(**fields)
            except UserError as error:
                problems.append(str(error))
        raise UserError(f"{where}: {'; '.join(problems)}")

    def write(self, config: ModelConfig) -> Table:
        """The part of config.json that describes the model."""
        table: Table = {"model_type": self.name}
        for ours, (theirs, _) in self.fields.items():
            table[theirs] = getattr(config, ours)
        key = self.fields["activation"][0]
        table[key] = "gelu_new" if config.activation == "gelu_tanh" else config.activation
        self.start(config, table)
        return table

    def holds(self, config: ModelConfig) -> bool:
        """Whether the family can say all that `config` says."""
        try:
            return self.read(self.write(config), self.name) == config
        except UserError:
            return False

    def rules(self, config: ModelConfig, kind: str, *, pooler: bool, at: str) -> list[Rule]:
        """Every tensor of a model of this kind; `pooler` is whether the bare encoder's own is there."""
        heads = {"encoder": [], "pretrain": ["masked_lm", "next_sentence"]}.get(kind, [kind])
        if missing := [head for head in heads if head not in self.heads]:
            raise UserError(f"{self.name} models have no {' nor '.join(missing)} head at Hugging Face")
        rules = [rule for head in heads for rule in self.heads[head](at)]
        if pooler and not any(name.startswith(names.POOLER) for rule in rules for name in rule.ours):
            if "pooler" not in self.heads:
                raise UserError(f"{self.name} models have no pooler beside the encoder at Hugging Face")
            rules = [*self.heads["pooler"](at), *rules]
        return self.encoder(config, at) + rules

    def architecture(self, kind: str) -> str:
        """The name of their class for a kind of model."""
        kind = {"discriminator": "pretrain"}.get(kind, kind)
        return self.classes + next(suffix for suffix, known in ARCHITECTURES.items() if known == kind)

    def kind(self, architecture: str, where: str) -> str:
        """The kind of model that one of their classes is."""
        kinds = {self.classes + suffix: kind for suffix, kind in ARCHITECTURES.items()}
        if architecture not in kinds:
            raise UserError(f"{where}: unknown architecture {architecture!r}; known are {', '.join(kinds)}")
        kind = kinds[architecture]
        return "discriminator" if kind == "pretrain" and "discriminator" in self.heads else kind


NOT_AN_ENCODER = {"is_decoder": False, "add_cross_attention": False}
BERT_FIELDS = {
    "vocab_size": ("vocab_size", 30522),
    "width": ("hidden_size", 768),
    "depth": ("num_hidden_layers", 12),
    "heads": ("num_attention_heads", 12),
    "mlp_width": ("intermediate_size", 3072),
    "max_length": ("max_position_embeddings", 512),
    "segments": ("type_vocab_size", 2),
    "dropout": ("hidden_dropout_prob", 0.1),
    "norm_epsilon": ("layer_norm_eps", 1e-12),
    "initializer_range": ("initializer_range", 0.02),
    "activation": ("hidden_act", "gelu"),
}


def _roberta_positions(fields: Table, table: Table) -> None:
    """Positions are counted from the id of the padding, plus one. Hugging Face's create_position_ids_from_input_ids."""
    pad = table.get("pad_token_id", 1)
    if type(pad) is not int or not 0 <= pad < fields["max_length"]:
        raise UserError(f"pad_token_id is {pad!r}, where positions are counted from it")
    fields["first_position"] = pad + 1
    fields["max_length"] -= fields["first_position"]


def _roberta_table(config: ModelConfig, table: Table) -> None:
    table["max_position_embeddings"] = config.position_rows
    table["pad_token_id"] = config.first_position - 1


def _electra_tables(fields: Table, table: Table) -> None:
    width = table.get("embedding_size", 128)
    if type(width) is not int:
        raise UserError(f"embedding_size is {width!r}, int is expected")
    fields["embedding_width"] = None if width == fields["width"] else width


def _electra_table(config: ModelConfig, table: Table) -> None:
    table["embedding_size"] = config.table_width


def _modernbert_attention(fields: Table, table: Table) -> None:
    every = table.get("global_attn_every_n_layers", 3)
    window = table.get("local_attention", 128)
    pooling = table.get("classifier_pooling", "cls")
    if type(every) is not int or every < 1 or type(window) is not int or pooling not in ("cls", "mean"):
        raise UserError(f"global_attn_every_n_layers {every!r}, local_attention {window!r}, pooling {pooling!r}")
    kinds = table.get("layer_types")
    rotary = _table(table, "rope_parameters")
    full, local = _table(rotary, "full_attention"), _table(rotary, "sliding_attention")
    scaled = [part["rope_type"] for part in (full, local) if part.get("rope_type", "default") != "default"]
    if scaled or table.get("rope_scaling"):
        raise UserError(f"rotary positions of type {scaled or table['rope_scaling']!r}; only plain ones are supported")
    if kinds is not None:
        globally = [i for i, kind in enumerate(kinds) if kind == "full_attention"]
        every = globally[1] - globally[0] if len(globally) > 1 else max(len(kinds), 1)
        if globally != list(range(0, fields["depth"], every)) or len(kinds) != fields["depth"]:
            raise UserError(f"layer_types {kinds}: full attention in every n-th layer from the first is supported")
    fields |= {
        "global_every": every,
        "local_window": window // 2,
        "rotary_base": _number(full.get("rope_theta", table.get("global_rope_theta", 160_000.0))),
        "local_rotary_base": _number(local.get("rope_theta", table.get("local_rope_theta") or 10_000.0)),
        "pool_from": {"cls": "first", "mean": "mean"}[pooling],
    }


def _table(table: Table, key: str) -> Table:
    value = table.get(key) or {}
    if not isinstance(value, dict):
        raise UserError(f"{key} is {value!r}, an object is expected")
    return value


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise UserError(f"a rotary base is {value!r}, a number is expected")
    return float(value)


def _modernbert_table(config: ModelConfig, table: Table) -> None:
    bases = {"full_attention": config.rotary_base, "sliding_attention": config.local_rotary_base}
    table |= {
        "embedding_dropout": config.dropout,
        "attention_dropout": config.dropout,
        "global_attn_every_n_layers": config.global_every,
        "layer_types": ["sliding_attention" if config.is_local(i) else "full_attention" for i in range(config.depth)],
        "local_attention": 2 * config.local_window,
        "global_rope_theta": config.rotary_base,
        "local_rope_theta": config.local_rotary_base,
        "rope_parameters": {name: {"rope_type": "default", "rope_theta": base} for name, base in bases.items()},
        "classifier_pooling": "cls" if config.pool_from == "first" else "mean",
    }


BERT = Family(
    name="bert",
    prefix="bert.",
    classes="Bert",
    encoder=names.bert_encoder,
    heads=names.BERT_HEADS,
    tied=names.BERT_TIED,
    fields=BERT_FIELDS,
    fixed={**NOT_AN_ENCODER, "position_embedding_type": "absolute"},
)
ROBERTA = dataclasses.replace(
    BERT,
    name="roberta",
    prefix="roberta.",
    classes="Roberta",
    heads=names.ROBERTA_HEADS,
    tied=names.ROBERTA_TIED,
    fields={**BERT_FIELDS, "vocab_size": ("vocab_size", 50265)},
    finish=_roberta_positions,
    start=_roberta_table,
)
DISTILBERT = Family(
    name="distilbert",
    prefix="distilbert.",
    classes="DistilBert",
    encoder=names.distilbert_encoder,
    heads=names.DISTILBERT_HEADS,
    tied=names.DISTILBERT_TIED,
    fields={
        "vocab_size": ("vocab_size", 30522),
        "width": ("dim", 768),
        "depth": ("n_layers", 6),
        "heads": ("n_heads", 12),
        "mlp_width": ("hidden_dim", 3072),
        "max_length": ("max_position_embeddings", 512),
        "dropout": ("dropout", 0.1),
        "initializer_range": ("initializer_range", 0.02),
        "activation": ("activation", "gelu"),
    },
    fixed={},
    shape={"segments": 0, "pooler": "relu"},
)
ELECTRA = dataclasses.replace(
    BERT,
    name="electra",
    prefix="electra.",
    classes="Electra",
    heads=names.ELECTRA_HEADS,
    tied=names.ELECTRA_TIED,
    fields={**BERT_FIELDS, "width": ("hidden_size", 256), "heads": ("num_attention_heads", 4)}
    | {"mlp_width": ("intermediate_size", 1024)},
    fixed={
        **BERT.fixed,
        "hidden_act": "gelu",  # the generator's head has it whatever the encoder has
        "summary_type": "first",
        "summary_use_proj": True,
        "summary_activation": "gelu",
    },
    shape={"pooler": "gelu"},
    finish=_electra_tables,
    start=_electra_table,
)
MODERNBERT = Family(
    name="modernbert",
    prefix="model.",
    classes="ModernBert",
    encoder=names.modernbert_encoder,
    heads=names.MODERNBERT_HEADS,
    tied=names.MODERNBERT_TIED,
    fields={
        "vocab_size": ("vocab_size", 50368),
        "width": ("hidden_size", 768),
        "depth": ("num_hidden_layers", 22),
        "heads": ("num_attention_heads", 12),
        "mlp_width": ("intermediate_size", 1152),
        "max_length": ("max_position_embeddings", 8192),
        "dropout": ("mlp_dropout", 0.0),
        "norm_epsilon": ("norm_eps", 1e-5),
        "initializer_range": ("initializer_range", 0.02),
        "activation": ("hidden_activation", "gelu"),
    },
    fixed={
        "attention_bias": False,
        "mlp_bias": False,
        "norm_bias": False,
        "classifier_bias": False,
        "decoder_bias": True,
        "classifier_activation": "gelu",
    },
    shape={
        "segments": 0,
        "positions": "rotary",
        "block": "pre",
        "mlp": "gated",
        "bias": False,
        "pooler": "gelu_norm",
    },
    finish=_modernbert_attention,
    start=_modernbert_table,
)
FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        BERT,
        ROBERTA,
        DISTILBERT,
        ELECTRA,
        MODERNBERT,
        dataclasses.replace(ROBERTA, name="xlm-roberta", classes="XLMRoberta"),
        dataclasses.replace(ROBERTA, name="camembert", classes="Camembert"),
    )
}


def family_named(model_type: Any, where: str) -> Family:
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise UserError(f"{where}: unknown model_type {model_type!r}; known are {', '.join(FAMILIES)}")
    return FAMILIES[model_type]


def family_without_name(architectures: Any, tensors: Iterable[str]) -> Family | None:
    """The family of an early folder whose config.json has no `model_type` (SciBERT): by its class, else its tensors."""
    named = str(architectures[0]) if isinstance(architectures, list) and architectures else ""
    for family in FAMILIES.values():
        if named in (f"{family.classes}{suffix}" for suffix in ARCHITECTURES):
            return family
    if named:
        return None
    parts = {name.partition(".")[0] for name in tensors}
    told_apart = (BERT, ROBERTA, DISTILBERT, ELECTRA)  # "model." is anyone's
    return next((family for family in told_apart if family.prefix.removesuffix(".") in parts), None)


def family_of(config: ModelConfig) -> Family:
    """The first family that can write this model down. Raises UserError where none can."""
    for family in FAMILIES.values():
        if family.holds(config):
            return family
    raise UserError(f"no family at Hugging Face computes what this model does: {config}")
