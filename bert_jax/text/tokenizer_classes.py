"""The tokenizer classes of Hugging Face: which are read, and from which files."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bert_jax.errors import UserError
from bert_jax.files import read_json_if_there
from bert_jax.text.folder_files import TOKENIZER, TOKENIZER_SETTINGS
from bert_jax.text.tokenizer_json import ROBERTA, XLM_ROBERTA

MODEL_CONFIG = "config.json"
VOCAB, VOCAB_JSON, MERGES, PIECES = "vocab.txt", "vocab.json", "merges.txt", "sentencepiece.bpe.model"
OTHER_PIECES = ("spm.model", "spiece.model", "sentencepiece.model", "tokenizer.model")  # names that other classes use
# Classes whose name says nothing: the tokenizer.json decides everything.
GENERAL_CLASSES = ("PreTrainedTokenizer", "TokenizersBackend")
BERT_CLASSES = (
    *("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer", "ConvBertTokenizer"),
    *("LayoutLMTokenizer", "LxmertTokenizer", "RetriBertTokenizer", "SqueezeBertTokenizer"),
    *("DPRContextEncoderTokenizer", "DPRQuestionEncoderTokenizer"),
)
ROBERTA_CLASSES = (ROBERTA, "LongformerTokenizer")
# Files that hold a vocabulary in folders without tokenizer.json, and the classes that they are read for.
VOCABULARY_FILES = (
    ((VOCAB,), BERT_CLASSES),
    ((VOCAB_JSON, MERGES), (*ROBERTA_CLASSES, "BartTokenizer", "LEDTokenizer")),
    ((PIECES, *OTHER_PIECES), (XLM_ROBERTA,)),
)
# Classes that split texts in Python, with dictionaries or special rules, and ignore or change a tokenizer.json.
WRITTEN_IN_PYTHON = frozenset(
    f"{name}Tokenizer"
    for name in (
        *("BertJapanese", "Bertweet", "Phobert", "RoFormer", "RoCBert", "Cpm", "CpmAnt", "Bartpho", "BioGpt", "Canine"),
        *("BlenderbotSmall", "CTRL", "Esm", "Flaubert", "FSMT", "GPTNeoXJapanese", "Luke", "MLuke", "ProphetNet"),
        *("Tapas", "XLM", "ByT5", "MyT5", "Perceiver", "CharacterBert"),
    )
)
CLASS_OF_MODEL = {
    **dict.fromkeys(("bert", "distilbert", "electra", "mobilebert", "convbert", "layoutlm"), "BertTokenizer"),
    **dict.fromkeys(("megatron-bert", "nomic_bert", "ernie", "nezha", "squeezebert"), "BertTokenizer"),
    **dict.fromkeys(("roberta-prelayernorm", "data2vec-text"), ROBERTA),
    "roberta": ROBERTA,
    "longformer": ROBERTA,
    "xlm-roberta": XLM_ROBERTA,
    "camembert": "CamembertTokenizer",
    "bertweet": "BertweetTokenizer",
    "phobert": "PhobertTokenizer",
    "bert-japanese": "BertJapaneseTokenizer",
    "roformer": "RoFormerTokenizer",
    "roc_bert": "RoCBertTokenizer",
    "esm": "EsmTokenizer",
    "xlm": "XLMTokenizer",
    "luke": "LukeTokenizer",
    "flaubert": "FlaubertTokenizer",
    "prophetnet": "ProphetNetTokenizer",
    "mpnet": "MPNetTokenizer",
    "funnel": "FunnelTokenizer",
    "splinter": "SplinterTokenizer",
    "deberta": "DebertaTokenizer",
    "deberta-v2": "DebertaV2Tokenizer",
    "albert": "AlbertTokenizer",
    "big_bird": "BigBirdTokenizer",
    "rembert": "RemBertTokenizer",
    "fnet": "FNetTokenizer",
    "bert-generation": "BertGenerationTokenizer",
    "xlnet": "XLNetTokenizer",
    "mbart": "MBartTokenizer",
    "gpt2": "GPT2Tokenizer",
    "t5": "T5Tokenizer",
    "canine": "CanineTokenizer",
    "tapas": "TapasTokenizer",
}


def named_class(folder: Path, settings: dict[str, Any]) -> str | None:
    """Return the tokenizer class that a folder names, without "Fast", or else that of its model; None if unknown."""
    config = read_json_if_there(folder / MODEL_CONFIG)
    name = settings.get("tokenizer_class") or config.get("tokenizer_class")
    if not name and "word_tokenizer_type" in settings:
        return "BertJapaneseTokenizer"
    return str(name).removesuffix("Fast") if name else CLASS_OF_MODEL.get(str(config.get("model_type")))


def has_tokenizer(folder: Path) -> bool:
    """Return whether the folder holds any tokenizer file."""
    names = (TOKENIZER, VOCAB, VOCAB_JSON, MERGES, PIECES, *OTHER_PIECES)
    return any(os.path.lexists(folder / name) for name in names)


def check_class(path: Path, class_name: str | None) -> None:
    """Raise UserError if the tokenizer class makes other ids than the tokenizer.json at `path` describes."""
    if class_name in WRITTEN_IN_PYTHON:
        raise UserError(
            f"{path}: {class_name} cuts texts by rules of its own, which no {TOKENIZER} describes. It is not read"
        )


def vocabulary_file(folder: Path, class_name: str | None) -> Path:
    """Return the vocabulary file of a folder without tokenizer.json, for its tokenizer class.

    Raises UserError if there is none, or if the class is not read from such files.
    """
    files = list(_vocabulary_files(folder))
    if not files:
        raise UserError(
            f"{folder}: no {TOKENIZER} and no {VOCAB}, {VOCAB_JSON} with {MERGES} or {PIECES}; not a tokenizer folder"
        )
    if class_name is None or class_name in GENERAL_CLASSES:
        usual = [path for path, _ in files if path.name not in OTHER_PIECES]
        if not usual:
            raise UserError(
                f"{files[0][0]}: no file names the class of this tokenizer. If it is XLM-RoBERTa's, write "
                f'"tokenizer_class": "{XLM_ROBERTA}" into {TOKENIZER_SETTINGS}'
            )
        if class_name is None and usual[0].name == VOCAB and os.path.lexists(folder / "bpe.codes"):
            raise UserError(
                f"{usual[0]}: bpe.codes beside it belongs to a tokenizer that is not read (PhoBERT's, BERTweet's)"
            )
        return usual[0]
    fitting = [path for path, classes in files if class_name in classes]
    if not fitting:
        is_read = any(class_name in classes for _, classes in VOCABULARY_FILES)
        problem = f"no file of {class_name}" if is_read else f"the older files of {class_name}, which are not read"
        advice = (
            "It cuts texts by rules of its own"
            if class_name in WRITTEN_IN_PYTHON
            else f"Save it with its {TOKENIZER}, if it has one"
        )
        raise UserError(f"{folder}: {problem}. {advice}")
    return fitting[0]


def _vocabulary_files(folder: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Yield each vocabulary file of the folder and the classes that it is read for."""
    for names, classes in VOCABULARY_FILES:
        for name in names:
            if os.path.lexists(folder / name):  # a pipe, device or broken link is refused when it is read
                yield folder / name, classes
