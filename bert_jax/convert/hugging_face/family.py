"""How one `model_type` of Hugging Face writes a model down: its keys in config.json, its tensors, its classes."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from bert_jax.config import ModelConfig
from bert_jax.convert.hugging_face import tensor_names
from bert_jax.convert.rules import Rule
from bert_jax.errors import UserError, shown

ConfigTable = dict[str, Any]
MOST_BLOCKS = 512  # a config.json that says more is not believed

HF_ACTIVATIONS = {
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
OTHER_ARCHITECTURES = {  # a causal LM that is no decoder computes what a masked LM does
    "LMHeadModel": "masked_lm",
    "ForCausalLM": "masked_lm",
    "ForNextSentencePrediction": "encoder",
}


def heads_of(kind: str) -> list[str]:
    """Return the heads, as the keys of a family's, that a model of a kind has beside its encoder."""
    return {"encoder": [], "pretrain": ["masked_lm", "next_sentence"]}.get(kind, [kind])


@dataclasses.dataclass(frozen=True)
class Family:
    """The layout in which one `model_type` stores a model.

    prefix    of the encoder's tensors in a model with a head
    classes   what its classes' names begin with
    token_table  its name in the bare encoder
    fields    our field: (their key, its value where config.json does not say)
    fixed     their key: the one value that our encoder computes
    shape     our fields that the family always has
    masked_lm_activation  what the masked LM head computes, whatever the encoder does; None: what the encoder does
    """

    name: str
    prefix: str
    classes: str
    encoder: Callable[[ModelConfig, str], list[Rule]]
    heads: tensor_names.Heads
    tied: Mapping[str, str]
    token_table: str
    fields: Mapping[str, tuple[str, Any]]
    fixed: Mapping[str, Any]
    shape: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    masked_lm_activation: str | None = None
    finish: Callable[[ConfigTable, ConfigTable], None] = lambda fields, table: None
    start: Callable[[ModelConfig, ConfigTable], None] = lambda config, table: None

    def read(self, table: ConfigTable, where: str) -> ModelConfig:
        """The model that config.json describes. Raises UserError that lists all it asks for that we do not compute."""
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
        activation = fields["activation"]
        if isinstance(activation, str) and activation not in HF_ACTIVATIONS:
            problems.append(f"activation {shown(activation)} is not among {', '.join(HF_ACTIVATIONS)}")
        if not problems:
            if fields["depth"] > MOST_BLOCKS:
                problems.append(f"{fields['depth']} layers, more than {MOST_BLOCKS}")
            fields["activation"] = HF_ACTIVATIONS[activation]
            if self.masked_lm_activation not in (None, fields["activation"]):
                fields["masked_lm_activation"] = self.masked_lm_activation
            try:
                self.finish(fields, table)
                if not problems:
                    return ModelConfig(**fields)
            except UserError as error:
                problems.append(str(error))
        raise UserError(f"{where}: {'; '.join(problems)}")

    def write(self, config: ModelConfig) -> ConfigTable:
        """The part of config.json that describes the model."""
        table: ConfigTable = {"model_type": self.name}
        for ours, (theirs, _) in self.fields.items():
            table[theirs] = getattr(config, ours)
        key = self.fields["activation"][0]
        table[key] = "gelu_new" if config.activation == "gelu_tanh" else config.activation
        self.start(config, table)
        return table

    def holds(self, config: ModelConfig) -> bool:
        """Return whether the family can express every field of `config`."""
        try:
            return self.read(self.write(config), self.name) == config
        except UserError:
            return False

    def rules(self, config: ModelConfig, kind: str, *, pooler: bool, at: str) -> list[Rule]:
        """Every tensor of a model of this kind; `pooler` is whether the bare encoder's own is there."""
        heads = heads_of(kind)
        if missing := [head for head in heads if head not in self.heads]:
            raise UserError(f"{self.name} models have no {' nor '.join(missing)} head at Hugging Face")
        rules = [rule for head in heads for rule in self.heads[head](at)]
        if pooler and not any(name.startswith(tensor_names.POOLER) for rule in rules for name in rule.ours):
            if "pooler" not in self.heads:
                raise UserError(f"{self.name} models have no pooler beside the encoder at Hugging Face")
            rules = [*self.heads["pooler"](at), *rules]
        return self.encoder(config, at) + rules

    def head_tensors(self, at: str) -> list[str]:
        """Return the names of the tensors of all heads, tied ones included."""
        rules = [rule.theirs for head in self.heads.values() for rule in head(at)]
        return list(dict.fromkeys([*rules, *self.tied]))

    def architecture(self, kind: str) -> str:
        """The name of their class for a kind of model."""
        kind = {"discriminator": "pretrain"}.get(kind, kind)
        return self.classes + next(suffix for suffix, known in ARCHITECTURES.items() if known == kind)
