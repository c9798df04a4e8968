"""The registry: one row for each task of `finetune`, each kind of head and each pre-training objective.

Rows name classes and functions as "module:name", which is imported on first use: the table itself needs neither NumPy
nor JAX, and each layer of the package can read it. docs/extending.md says how to add a row.
"""

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any, Literal

from bert_jax.data.labelled.glue_tasks import GLUE
from bert_jax.errors import UserError, did_you_mean

ANSWERING = ("predict", "evaluate", "finetune", "embed", "convert")
FILLING = ("fill-mask", "pretrain", "finetune", "embed", "convert")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskKind:
    """A task of `finetune --task`.

    about         for --help
    reader        function (FinetuneConfig, Tokenizer) -> TaskData that reads training and dev examples
    max_length    default tokens of a row
    inputs        what an example is: a single text or a pair, always a pair, or a text cut into windows
    own_settings  settings of FinetuneConfig that describe the files of the task; they are refused for other tasks
    """

    about: str
    reader: str
    max_length: int = 128
    inputs: Literal["texts", "pairs", "windows"] = "texts"
    own_settings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadKind:
    """A kind of head on the encoder.

    about          for `inspect`
    model          nnx.Module with an `encoder`, built as model(config, compute=..., rngs=...) and `arguments`
    arguments      further arguments of `model`, of "outputs" and "pooler"
    outputs        number of outputs; None: one for each label
    tasks          training task by problem, or under "" for any problem, built as task(config, compute), and with the
                   number of outputs as third argument unless it is fixed
    reads_summary  whether the head reads [CLS] or the mean alone, so that the last block may skip other tokens
    score_scale    the best possible score
    answerer       class with `columns`, `answer` and `predict`, built as answerer(pretrained, logit_function)
    scoring        function (ScoringRequest) -> Examples that reads labelled data to score a model on
    columns        column flags of `evaluate` that the head reads; none: its files have a fixed format
    example_file   file to score on, for messages
    named_outputs  function (pretrained, module, hidden, mask) that returns the outputs under their exported names
    onnx_outputs   function (graph, pretrained, hidden) that does so in ONNX
    class_suffix   ending of the class name at Hugging Face; empty: there is none. Such a class is read as the first
                   head with its suffix
    uses           verbs that `inspect` lists
    """

    about: str
    model: str
    arguments: tuple[str, ...] = ()
    outputs: int | None = None
    tasks: Mapping[str, str] = dataclasses.field(default_factory=dict)
    reads_summary: bool = False
    score_scale: float = 1.0
    answerer: str = ""
    scoring: str = ""
    columns: tuple[str, ...] = ()
    example_file: str = "dev.tsv"
    named_outputs: str = "bert_jax.convert.named_outputs:logits"
    onnx_outputs: str = ""
    class_suffix: str = ""
    uses: tuple[str, ...] = ("pretrain", "finetune", "embed", "convert")


SUITE = "glue"
_READERS = "bert_jax.finetuning.readers"
_TABLES = ("delimiter", "dialect")
_OWN_ROWS = ("text", "label", "group", *_TABLES)

TASKS: dict[str, TaskKind] = {
    "rows": TaskKind(
        about="your own texts",
        reader=f"{_READERS}.texts:read_texts",
        own_settings=("several", "score", "scores", "pair", *_OWN_ROWS),
    ),
    "squad": TaskKind(
        about="SQuAD 1.1 and 2.0",
        reader=f"{_READERS}.questions:read_questions",
        max_length=384,
        inputs="windows",
        own_settings=("max_answer_length",),
    ),
    "ner": TaskKind(about="entities", reader=f"{_READERS}.tagging:read_tagging", inputs="windows"),
    "choice": TaskKind(
        about="multiple choice",
        reader=f"{_READERS}.multiple_choice:read_choice",
        inputs="pairs",
        own_settings=("choices", *_OWN_ROWS),
    ),
    "swag": TaskKind(
        about="SWAG", reader=f"{_READERS}.multiple_choice:read_choice", inputs="pairs", own_settings=_TABLES
    ),
    SUITE: TaskKind(
        about="all GLUE tasks of a folder, one after the other, with a table, and answers to their test files for the "
        "leaderboard",
        reader="",
        inputs="pairs",
    ),
    **{name: TaskKind(about="GLUE", reader=f"{_READERS}.texts:read_texts") for name in GLUE},
}

_MODELS, _TASKS, _NAMED, _ONNX = (
    "bert_jax.model.heads",
    "bert_jax.tasks",
    "bert_jax.convert.named_outputs",
    "bert_jax.convert.export.onnx_graph",
)

HEADS: dict[str, HeadKind] = {
    "encoder": HeadKind(
        about="no head",
        model=f"{_MODELS}:EncoderModel",
        arguments=("pooler",),
        named_outputs=f"{_NAMED}:vectors",
        onnx_outputs=f"{_ONNX}:vectors",
        class_suffix="Model",
    ),
    "masked_lm": HeadKind(
        about="masked LM",
        model=f"{_MODELS}:MaskedLMModel",
        arguments=("pooler",),
        named_outputs=f"{_NAMED}:vocabulary_logits",
        onnx_outputs=f"{_ONNX}:vocabulary_logits",
        class_suffix="ForMaskedLM",
        uses=FILLING,
    ),
    "pretrain": HeadKind(
        about="masked LM and next sentence prediction",
        model=f"{_MODELS}:PretrainingModel",
        named_outputs=f"{_NAMED}:pretraining_logits",
        onnx_outputs=f"{_ONNX}:pretraining_logits",
        class_suffix="ForPreTraining",
        uses=FILLING,
    ),
    "discriminator": HeadKind(
        about="discriminator of replaced tokens",
        model=f"{_MODELS}:DiscriminatorModel",
        onnx_outputs=f"{_ONNX}:replaced_logits",
    ),
    "sequence": HeadKind(
        about="one answer for each text",
        model=f"{_MODELS}:SequenceModel",
        arguments=("outputs",),
        tasks={
            "single_label": f"{_TASKS}.sequence_tasks:ClassificationTask",
            "multi_label": f"{_TASKS}.sequence_tasks:MultiLabelTask",
            "regression": f"{_TASKS}.sequence_tasks:RegressionTask",
        },
        reads_summary=True,
        answerer="bert_jax.inference.predictor:Predictor",
        scoring=f"{_READERS}.texts:read_texts_dev",
        columns=("text", "pair", "label"),
        onnx_outputs=f"{_ONNX}:sequence_logits",
        class_suffix="ForSequenceClassification",
        uses=ANSWERING,
    ),
    "token": HeadKind(
        about="one class for each token",
        model=f"{_MODELS}:TokenModel",
        arguments=("outputs", "pooler"),
        tasks={"": f"{_TASKS}.token_tasks:TaggingTask"},
        answerer="bert_jax.inference.tagger:Tagger",
        scoring=f"{_READERS}.tagging:read_tagging_dev",
        example_file="dev.conll",
        onnx_outputs=f"{_ONNX}:token_logits",
        class_suffix="ForTokenClassification",
        uses=ANSWERING,
    ),
    "span": HeadKind(
        about="start and end of an answer",
        model=f"{_MODELS}:TokenModel",
        arguments=("outputs", "pooler"),
        outputs=2,
        tasks={"": f"{_TASKS}.token_tasks:SpanTask"},
        score_scale=100.0,
        answerer="bert_jax.inference.span_reader:Reader",
        scoring=f"{_READERS}.questions:read_questions_dev",
        example_file="SQuAD's dev.json",
        named_outputs=f"{_NAMED}:span_logits",
        onnx_outputs=f"{_ONNX}:span_logits",
        class_suffix="ForQuestionAnswering",
        uses=ANSWERING,
    ),
    "choice": HeadKind(
        about="one score for each choice",
        model=f"{_MODELS}:SequenceModel",
        arguments=("outputs",),
        outputs=1,
        tasks={"": f"{_TASKS}.choice_task:ChoiceTask"},
        reads_summary=True,
        answerer="bert_jax.inference.chooser:Chooser",
        scoring=f"{_READERS}.multiple_choice:read_choice_dev",
        columns=("text", "label", "choices"),
        onnx_outputs=f"{_ONNX}:sequence_logits",
        class_suffix="ForMultipleChoice",
        uses=ANSWERING,
    ),
}

# Pre-training tasks of `pretrain --objective`, built as task(config, compute, pair_loss).
OBJECTIVES = {"masked-lm": "bert_jax.tasks.pretraining_task:PretrainingTask"}


def load_object(path: str) -> Any:
    """Return the class or function called "module:name"."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def find_task(name: str) -> TaskKind:
    """Return the row of a task. Raises UserError with the closest name for an unknown one."""
    if name not in TASKS:
        hint = did_you_mean(name.lower().replace("-", ""), TASKS, f"known tasks: {', '.join(TASKS)}")
        raise UserError(f"unknown task {name!r}; {hint}")
    return TASKS[name]


def find_head(kind: str) -> HeadKind:
    """Return the row of a head kind. Raises UserError with the closest name for an unknown one."""
    if kind not in HEADS:
        hint = did_you_mean(kind, HEADS, f"known heads: {', '.join(HEADS)}")
        raise UserError(f"unknown head {kind!r}; {hint}")
    return HEADS[kind]


def find_objective(name: str | None) -> str:
    """Return the pre-training task of an objective, by default masked LM. Raises UserError for an unknown one."""
    name = name or "masked-lm"
    if name not in OBJECTIVES:
        raise UserError(f"unknown objective {name!r}; known objectives: {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name]


def tasks_with(setting: str) -> list[str]:
    """Return the names of the tasks whose own setting `setting` is."""
    return [name for name, task in TASKS.items() if setting in task.own_settings]


def own_settings() -> tuple[str, ...]:
    """Return the settings that belong to some tasks and not to others."""
    return tuple(dict.fromkeys(name for task in TASKS.values() for name in task.own_settings))
