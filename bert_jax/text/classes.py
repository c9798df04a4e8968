"""Which tokenizer classes of Hugging Face are read rightly, and from which files."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bert_jax.errors import UserError
from bert_jax.files import read_json_if_there
from bert_jax.text.folder_files import SETTINGS, TOKENIZER
from bert_jax.text.recipes import ROBERTA, XLM_ROBERTA

CONFIG = "config.json"
VOCAB, VOCAB_JSON, MERGES, PIECES = "vocab.txt", "vocab.json", "merges.txt", "sentencepiece.bpe.model"
OTHER_PIECES = ("spm.model", "spiece.model", "sentencepiece.model", "tokenizer.model")  # names that other classes use
# By classes that take their vocabulary from tokenizer.json, or from any file, and nothing else from their name.
GENERAL_CLASSES = ("PreTrainedTokenizer", "TokenizersBackend")
BERT_CLASSES = (
    *("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer", "ConvBertTokenizer"),
    *("LayoutLMTokenizer", "LxmertTokenizer", "RetriBertTokenizer", "SqueezeBertTokenizer"),
    *("DPRContextEncoderTokenizer", "DPRQuestionEncoderTokenizer"),
)
ROBERTA_CLASSES = (ROBERTA, "LongformerTokenizer")
# The files that a class is read from where there is no tokenizer.json, and the classes that they are read for.
OLD_FILES = (
    ((VOCAB,), BERT_CLASSES),
    ((VOCAB_JSON, MERGES), (*ROBERTA_CLASSES, "BartTokenizer", "LEDTokenizer")),
    ((PIECES, *OTHER_PIECES), (XLM_ROBERTA,)),
)
# Classes that cut texts in Python, by dictionaries or rules of their own, and pass a tokenizer.json over or change it.
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
    """Return the class that a folder names for its tokenizer, or its model for it, without "Fast"; None without one."""
    config = read_json_if_there(folder / CONFIG)
    named = settings.get("tokenizer_class") or config.get("tokenizer_class")
    if not named and "word_tokenizer_type" in settings:
        return "BertJapaneseTokenizer"
    return str(named).removesuffix("Fast") if named else CLASS_OF_MODEL.get(str(config.get("model_type")))


def has_tokenizer(folder: Path) -> bool:
    """Return whether any file of a tokenizer lies in the folder."""
    names = (TOKENIZER, VOCAB, VOCAB_JSON, MERGES, PIECES, *OTHER_PIECES)
    return any(os.path.lexists(folder / name) for name in names)


def check_described(path: Path, named: str | None) -> None:
    """Raise UserError where the class that is named makes other ids than the tokenizer.json at `path` describes."""
    if named in WRITTEN_IN_PYTHON:
        raise UserError(
            f"{path}: {named} cuts texts by rules of its own, which no {TOKENIZER} describes. It is not read"
        )


def old_file(folder: Path, named: str | None) -> Path:
    """Return the file, older than tokenizer.json, that holds the vocabulary of the class that the folder names.

    Raises UserError where there is none, or where the class makes something else of its files than is made here.
    """
    there = list(_old_files(folder))
    if not there:
        raise UserError(
            f"{folder}: no {TOKENIZER} and no {VOCAB}, {VOCAB_JSON} with {MERGES} or {PIECES}; not a tokenizer folder"
        )
    if named is None or named in GENERAL_CLASSES:
        usual = [path for path, _ in there if path.name not in OTHER_PIECES]
        if not usual:
            raise UserError(
                f"{there[0][0]}: nothing says whose file that is. Where it is XLM-RoBERTa's, write "
                f'"tokenizer_class": "{XLM_ROBERTA}" into {SETTINGS}'
            )
        if named is None and usual[0].name == VOCAB and os.path.lexists(folder / "bpe.codes"):
            raise UserError(
                f"{usual[0]}: bpe.codes beside it are of a tokenizer that is not read (PhoBERT's, BERTweet's)"
            )
        return usual[0]
    fitting = [path for path, classes in there if named in classes]
    if not fitting:
        known = any(named in classes for _, classes in OLD_FILES)
        problem = f"none of {named}'s own files" if known else f"the older files of {named}, which are not read"
        own = "It cuts texts by rules of its own" if named in WRITTEN_IN_PYTHON else ""
        raise UserError(f"{folder}: {problem}. {own or f'Save it with its {TOKENIZER}, if it has one'}")
    return fitting[0]


def _old_files(folder: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    for names, classes in OLD_FILES:
        for name in names:
            if os.path.lexists(folder / name):  # what is no file is refused when it is read
                yield folder / name, classes
