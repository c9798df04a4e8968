"""The layout of one `model_type` of Hugging Face: keys in config.json, names of tensors and classes."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from bert_jax.config import ModelConfig
from bert_jax.convert.hugging_face import tensor_names
from bert_jax.convert.rules import Rule
from bert_jax.errors import UserError, shown
from bert_jax.registry import HEADS

ConfigTable = dict[str, Any]
MAX_BLOCKS = 512  # more layers in a config.json are an error

HF_ACTIVATIONS = {  # their names and ours
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
# The end of a class name, and the kind of model it is: the first of several with this end.
ARCHITECTURES = {head.class_suffix: kind for kind, head in reversed(HEADS.items()) if head.class_suffix}
OTHER_ARCHITECTURES = {  # read, never written; a causal LM that is no decoder computes what a masked LM does
    "LMHeadModel": "masked_lm",
    "ForCausalLM": "masked_lm",
    "ForNextSentencePrediction": "encoder",
}


def heads_of(kind: str) -> list[str]:
    """Return the heads of a kind of model, as keys of `Family.heads`."""
    return {"encoder": [], "pretrain": ["masked_lm", "next_sentence"]}.get(kind, [kind])


@dataclasses.dataclass(frozen=True)
class Family:
    """The layout in which one `model_type` stores a model.

    prefix       prefix of the encoder's tensors in a model with a head
    classes      prefix of the names of its classes
    encoder      the rules of the encoder
    heads        the rules of each head
    tied         tensors that repeat another tensor
    token_table  name of the token table in the bare encoder
    fields       our field: (their key, default where config.json lacks it)
    attention_dropout  their key of it, and the value that Hugging Face assumes where config.json lacks it
    fixed        their key: the only value that our encoder computes
    shape        our fields that are the same in all models of the family
    masked_lm_activation  activation of the masked LM head; None: that of the encoder
    after_read   sets further fields of ours from config.json, given as (fields, table)
    after_write  sets further keys of config.json from our fields, given as (config, table)
    """

    name: str
    prefix: str
    classes: str
    encoder: Callable[[ModelConfig, str], list[Rule]]
    heads: tensor_names.Heads
    tied: Mapping[str, str]
    token_table: str
    fields: Mapping[str, tuple[str, Any]]
    attention_dropout: tuple[str, float]
    fixed: Mapping[str, Any]
    shape: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    masked_lm_activation: str | None = None
    after_read: Callable[[ConfigTable, ConfigTable], None] = lambda fields, table: None
    after_write: Callable[[ModelConfig, ConfigTable], None] = lambda config, table: None

    def read(self, table: ConfigTable, where: str) -> ModelConfig:
        """Return the model that config.json describes. Raises one UserError that lists all that is not supported."""
        problems = [
            f"{key} is {shown(table[key])}, only {value!r} is supported"
            for key, value in self.fixed.items()
            if table.get(key, value) != value
        ]
        fields: ConfigTable = dict(self.shape)
        for ours, (theirs, default) in self.fields.items():
            value = table.get(theirs, default)
            kind = type(default)
            if kind is float and isinstance(value, int) and not isinstance(value, bool):
                value = float(value)
            if type(value) is not kind:
                problems.append(f"{theirs} is {shown(value)}, {kind.__name__} is expected")
            fields[ours] = value
        rate = table.get(self.attention_dropout[0])
        if rate is not None and (isinstance(rate, bool) or not isinstance(rate, int | float)):
            problems.append(f"{self.attention_dropout[0]} is {shown(rate)}, float is expected")
        fields["attention_dropout"] = float(rate) if isinstance(rate, int) else rate
        activation = fields["activation"]
        if isinstance(activation, str) and activation not in HF_ACTIVATIONS:
            problems.append(f"activation {shown(activation)} is not among {', '.join(HF_ACTIVATIONS)}")
        if not problems:
            if fields["depth"] > MAX_BLOCKS:
                problems.append(f"{fields['depth']} layers, more than {MAX_BLOCKS}")
            fields["activation"] = HF_ACTIVATIONS[activation]
            if self.masked_lm_activation not in (None, fields["activation"]):
                fields["masked_lm_activation"] = self.masked_lm_activation
            try:
                self.after_read(fields, table)
                if not problems:
                    return ModelConfig(**fields)
            except UserError as error:
                problems.append(str(error))
        raise UserError(f"{where}: {'; '.join(problems)}")

    def write(self, config: ModelConfig) -> ConfigTable:
        """Return the part of config.json that describes the model."""
        table: ConfigTable = {"model_type": self.name}
        for ours, (theirs, _) in self.fields.items():
            table[theirs] = getattr(config, ours)
        key, assumed = self.attention_dropout
        if config.attention_dropout is not None or config.attention_rate != assumed:
            table[key] = config.attention_rate
        key = self.fields["activation"][0]
        table[key] = "gelu_new" if config.activation == "gelu_tanh" else config.activation
        self.after_write(config, table)
        return table

    def holds(self, config: ModelConfig) -> bool:
        """Return whether the family can express every field of `config`."""
        try:
            return self.read(self.write(config), self.name) == config
        except UserError:
            return False

    def rules(self, config: ModelConfig, kind: str, *, pooler: bool, prefix: str) -> list[Rule]:
        """Return the rules for all tensors of a kind of model.

        `pooler` is True where the tensors include the pooler of the bare encoder. `prefix` begins the encoder's names.
        """
        heads = heads_of(kind)
        if missing := [head for head in heads if head not in self.heads]:
            raise UserError(
                f"{self.name} models have no {' nor '.join(missing)} head at Hugging Face. "
                "`bert-jax convert --to stablehlo` exports any head"
            )
        rules = [rule for head in heads for rule in self.heads[head](prefix)]
        if pooler and not any(name.startswith(tensor_names.POOLER) for rule in rules for name in rule.ours):
            if "pooler" not in self.heads:
                raise UserError(f"{self.name} models have no pooler beside the encoder at Hugging Face")
            rules = [*self.heads["pooler"](prefix), *rules]
        return self.encoder(config, prefix) + rules

    def head_tensors(self, prefix: str) -> list[str]:
        """Return the names of the tensors of all heads, including tied ones."""
        names = [rule.theirs for head in self.heads.values() for rule in head(prefix)]
        return list(dict.fromkeys([*names, *self.tied]))

    def architecture(self, kind: str) -> str:
        """Return the name of their class for a kind of model."""
        suffix = HEADS["pretrain" if kind == "discriminator" else kind].class_suffix
        if not suffix:
            raise UserError(
                f"{self.name} models have no class with a {kind} head at Hugging Face. "
                "`bert-jax convert --to stablehlo` exports any head"
            )
        return self.classes + suffix
