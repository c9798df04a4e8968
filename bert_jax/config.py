"""Settings: frozen dataclasses, read from and written to TOML. Standard library only."""

import contextlib
import dataclasses
import json
import keyword
import math
import types
import typing
from pathlib import Path
from typing import Any, Literal, TypeVar

from bert_jax.errors import UserError, did_you_mean
from bert_jax.files import read_toml_table
from bert_jax.foreign_flags import key_for

T = TypeVar("T")


SEED_RANGE = (0, 2**32 - 1)
LARGEST_LENGTH = 1 << 20
MOST_ANSWER_TOKENS = 1 << 20  # limit of a setting; longer than any row
LongTexts = Literal["cut", "head-tail", "mean", "max"]  # ways to read long texts: bert_jax.data.long_texts
OptimizerName = Literal["adamw", "lamb", "stable-adamw", "lion", "muon"]  # bert_jax.train.optimizer
Schedule = Literal["linear", "cosine", "constant", "wsd", "one-minus-sqrt"]  # bert_jax.train.learning_rate
# Far beyond any encoder. A file that asks for more is damaged, or would fill the memory before any check of it.
LARGEST_SIZES = {
    "vocab_size": 10_000_000,
    "width": 1 << 16,
    "depth": 1000,
    "heads": 1 << 12,
    "mlp_width": 1 << 18,
    "max_length": LARGEST_LENGTH,
    "embedding_width": 1 << 16,
    "global_every": 1000,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The shape of an encoder. The sizes are named as in Devlin et al. 2018, 3.

    The fields after `initializer_range` tell the families apart. Their defaults are BERT's.
    """

    vocab_size: int
    width: int
    depth: int
    heads: int
    mlp_width: int
    max_length: int = 512
    segments: int = 2  # 0: no segment table (DistilBERT, ModernBERT)
    dropout: float = 0.1  # of hidden states
    attention_dropout: float | None = None  # of attention weights; None: as `dropout`
    norm_epsilon: float = 1e-12
    initializer_range: float = 0.02
    embedding_width: int | None = None  # narrower tables, projected to the width (small ELECTRA)
    first_position: int = 0  # row of the position table for the first token (2 in RoBERTa)
    positions: Literal["table", "rotary"] = "table"
    rotary_base: float = 10_000.0  # Su et al. 2021, 3.4.3
    local_rotary_base: float = 10_000.0  # in blocks that attend locally
    local_window: int = 0  # tokens to either side that local attention sees; 0: no block attends locally
    global_every: int = 1  # blocks 0, global_every, ... attend to all tokens, the others locally
    block: Literal["post", "pre"] = "post"  # norm after or before attention and MLP
    mlp: Literal["plain", "gated"] = "plain"
    activation: Literal["gelu", "gelu_tanh", "relu", "silu"] = "gelu"
    masked_lm_activation: Literal["gelu", "gelu_tanh", "relu", "silu"] | None = (
        None  # in the masked LM head; None: `activation`
    )
    bias: bool = True  # in the dense layers and norms of the encoder
    pooler: Literal["tanh", "relu", "gelu", "gelu_norm"] = "tanh"  # after its dense layer
    pool_from: Literal["first", "mean"] = "first"

    def __post_init__(self) -> None:
        check_ranges(self, **{name: (1, most) for name, most in LARGEST_SIZES.items()})
        check_ranges(self, **dict.fromkeys(("segments", "first_position", "local_window"), (0, LARGEST_LENGTH)))
        check_ranges(self, **dict.fromkeys(("dropout", "attention_dropout"), (0.0, 0.99)))
        if self.attention_dropout == self.dropout:
            object.__setattr__(self, "attention_dropout", None)  # so that equal models compare equal
        check_ranges(self, norm_epsilon=(0.0, 1.0), initializer_range=(0.0, 100.0))
        check_ranges(self, **dict.fromkeys(("rotary_base", "local_rotary_base"), (1.0, 1e12)))
        if self.width % self.heads:
            raise UserError(f"width {self.width} does not divide into {self.heads} heads")
        if self.positions == "rotary" and self.head_size % 2:
            raise UserError(f"heads of {self.head_size}: rotary positions need an even size")

    @property
    def head_size(self) -> int:
        return self.width // self.heads

    @property
    def attention_rate(self) -> float:
        """Dropout rate of attention weights."""
        return self.dropout if self.attention_dropout is None else self.attention_dropout

    @property
    def table_width(self) -> int:
        """Columns of the token, position and segment tables."""
        return self.embedding_width or self.width

    @property
    def position_rows(self) -> int:
        """Rows of the position table."""
        return self.first_position + self.max_length if self.positions == "table" else 0

    @property
    def padded_vocab_size(self) -> int:
        """Rows of the token table: a multiple of 128, which divides over any mesh and fills whole tiles."""
        return -(-self.vocab_size // 128) * 128

    def is_local(self, block: int) -> bool:
        """Return whether block `block`, counted from 0, attends locally."""
        return self.local_window > 0 and block % self.global_every != 0


def with_dropout(model: ModelConfig, dropout: float | None, attention_dropout: float | None = None) -> ModelConfig:
    """Return the model with other dropout rates.

    `dropout` is that of hidden states, and of attention weights unless they have a rate of their own. None leaves a
    rate as it is.
    """
    if dropout is not None:
        model = dataclasses.replace(model, dropout=dropout, attention_dropout=None)
    return model if attention_dropout is None else dataclasses.replace(model, attention_dropout=attention_dropout)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """The optimizer and its learning rate. The defaults are those of Devlin et al. 2018, A.2."""

    name: OptimizerName = "adamw"
    """adamw; lamb for batches of thousands of rows; stable-adamw limits each update in place of the gradients; lion
    keeps half of the state, and needs a rate 3 to 10 times smaller; muon for the matrices of the blocks, with adamw for
    all else."""
    peak_lr: float = 1e-4
    warmup: float = 0.01
    """Share of the steps over which the learning rate rises from 0 to its peak."""
    schedule: Schedule = "linear"
    """Learning rate after the warm-up: falls to 0 in a line or a half cosine, or stays constant. wsd
    (warm-up-stable-decay) and one-minus-sqrt stay constant and fall to 0 over the last steps."""
    cooldown: float = 0.1
    """For wsd and one-minus-sqrt: share of the steps over which the learning rate falls."""
    weight_decay: float = 0.01
    clip_norm: float | None = None
    """Largest global norm of the gradients; inf: no limit. Default: 1, for stable-adamw no limit."""
    b1: float = 0.9
    b2: float | None = None
    """Default: 0.999, for lion 0.99."""
    epsilon: float = 1e-6
    ema_decay: float | None = None
    """Average the weights over the steps with this decay, such as 0.9999, and score, save and export the average. The
    training loss is that of the weights that learn. Default: no average."""

    def __post_init__(self) -> None:
        check_ranges(
            self,
            peak_lr=(0.0, 10.0),
            warmup=(0.0, 1.0),
            cooldown=(0.0, 1.0),
            weight_decay=(0.0, 10.0),
            clip_norm=(1e-9, None),
            b1=(0.0, 0.999999),
            b2=(0.0, 0.999999),
            epsilon=(0.0, 1.0),
            ema_decay=(0.0, 0.999999),
        )


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Sizes of the three mesh axes. `data` -1 takes the devices that the others leave."""

    data: int = -1
    fsdp: int = 1
    tensor: int = 1
    shard_optimizer: bool = False
    """Divide the optimizer state over the axis data, too (ZeRO-1): less memory and a shorter update."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GuardConfig:
    """Reaction to a bad step: one whose loss or gradient norm is not finite, or whose loss is a spike."""

    action: Literal["stop", "skip", "rewind"] = "stop"
    """stop: end the run without saving the step; skip: go on, and leave parameters and moments as they were; rewind: go
    back to the last checkpoint, and make the steps up to the bad one again with other batches. A run that stopped can
    go on with skip or rewind."""
    spike: float | None = None
    """Smallest loss that is a spike, as a multiple of the median of the last 20 logged losses, such as 1.5. Default: no
    finite loss is."""
    most_skipped: int = 10
    """For skip: stop at this many skipped steps in a row."""
    most_rewinds: int = 5
    """For rewind: stop at the next bad step after this many rewinds."""
    dump_batch: bool = False
    """Write the batch of such a step into the run folder, as a file of NumPy arrays."""

    def __post_init__(self) -> None:
        check_ranges(self, most_skipped=(1, None), most_rewinds=(0, None), spike=(1.0, 1e6))


@dataclasses.dataclass(frozen=True, kw_only=True)
class HostsConfig:
    """Job of several processes. Slurm, Open MPI and TPU pods are recognised; elsewhere each process gets all three."""

    coordinator: str | None = None
    """Address host:port at which the first process answers. Default: JAX_COORDINATOR_ADDRESS, or as the launcher says.
    """
    count: int | None = None
    """Number of processes. Default: JAX_NUM_PROCESSES, or as the launcher says."""
    index: int | None = None
    """Number of this process, from 0. Default: JAX_PROCESS_ID, or as the launcher says."""
    timeout: int = 300
    """Seconds to wait for the other processes at the start."""

    def __post_init__(self) -> None:
        check_ranges(self, count=(1, None), index=(0, None), timeout=(1, None))


def check_ranges(config: Any, **ranges: tuple[float, float | None]) -> None:
    """Raise UserError for the first field that is not within its two bounds. An upper bound may be None.

    A value of None is always in range.
    """
    for name, (low, high) in ranges.items():
        value = getattr(config, name)
        if value is not None and not low <= value <= (math.inf if high is None else high):
            limits = f"be at least {low}" if high is None else f"lie between {low} and {high}"
            raise UserError(f"{name} is {value}; it must {limits}")


def read_toml(cls: type[T], path: Path, **overrides: Any) -> T:
    """Read `cls` from a TOML file. Raises UserError, as `from_table` does."""
    return from_table(cls, {**read_toml_table(path), **overrides}, str(path))


def from_table(cls: type[T], table: dict[str, Any], where: str, *, stand_in: Any = None) -> T:
    """Make `cls` from nested dicts.

    A class with `implied` fills in settings that follow from others. Raises UserError, with `where` for the source, for
    an unknown key, a value of the wrong type or out of range, and a missing field without default; the last becomes
    `stand_in` where that is given.
    """
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    values = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        name = f"{name}_" if keyword.iskeyword(name) else name
        if name not in fields:
            hint = did_you_mean(key_for(key, fields) or name, fields, f"known keys: {', '.join(fields)}")
            raise UserError(f"{where}: unknown key {key!r}; {hint}")
        values[name] = _coerce(hints[name], value, f"{where}: {key}")
    if implied := getattr(cls, "implied", None):
        values = {**implied(values), **values}
    missing = [
        name
        for name, field in fields.items()
        if name not in values and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing and stand_in is None:
        raise UserError(f"{where}: missing {', '.join(name.rstrip('_') for name in missing)}")
    try:
        return cls(**values, **dict.fromkeys(missing, stand_in))
    except UserError as error:  # from __post_init__
        raise UserError(f"{where}: {error}") from None


def holds_tables(hint: Any) -> bool:
    """Return whether a type is a tuple of dataclasses: a list of tables in TOML."""
    return typing.get_origin(hint) is tuple and dataclasses.is_dataclass(typing.get_args(hint)[0])


def check_types(table: dict[str, Any], hints: dict[str, Any], where: str) -> None:
    """Raise UserError for the first field of a JSON object whose value does not match its type hint.

    Fields without a hint are not checked.
    """
    for name, hint in hints.items():
        if name in table:
            _coerce(hint, table[name], f"{where}: {name}")


def _coerce(hint: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise UserError(f"{where} is {value!r}, a table is expected")
        return from_table(typing.cast(type, hint), value, where)
    if origin in (typing.Union, types.UnionType):
        options = [option for option in typing.get_args(hint) if option is not type(None)]
        if value is None and len(options) < len(typing.get_args(hint)):
            return None
        for option in options[:-1]:
            with contextlib.suppress(UserError):
                return _coerce(option, value, where)
        return _coerce(options[-1], value, where)
    if origin is typing.Literal:
        if value not in typing.get_args(hint):
            raise UserError(f"{where} is {value!r}, not one of {', '.join(map(repr, typing.get_args(hint)))}")
        return value
    if holds_tables(hint):
        name = where.rpartition(": ")[2]
        if not isinstance(value, list):
            raise UserError(f"{where} is {value!r}, a list of tables is expected: [[{name}]]")
        numbered = f"{where.removesuffix(name)}{singular(name)}"
        return tuple(_coerce(typing.get_args(hint)[0], item, f"{numbered} {i}") for i, item in enumerate(value, 1))
    if origin is tuple and isinstance(value, list):
        return tuple(_coerce(typing.get_args(hint)[0], item, where) for item in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    expected = origin or hint
    if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
        raise UserError(f"{where} is {value!r}, {getattr(expected, '__name__', expected)} is expected")
    return value


def singular(name: str) -> str:
    """Return the name of one table of a list of tables: "phase" of "phases"."""
    return name.removesuffix("s")


def to_toml(config: Any, prefix: str = "") -> str:
    """Write a dataclass as TOML: plain keys first, then a table for each nested dataclass. None is left out.

    `prefix` is that of the names of its tables.
    """
    plain, tables = [], []
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            tables.append(f"\n[{name}]\n{to_toml(value, f'{name}.')}")
        elif holds_tables(hints[field.name]):
            tables += [f"\n[[{name}]]\n{to_toml(item, f'{name}.')}" for item in value]
        elif value is not None:
            plain.append(f"{field.name.rstrip('_')} = {_literal(value)}\n")
    return "".join(plain + tables)


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return json.dumps(str(value), ensure_ascii=False)  # a JSON string is a TOML basic string
