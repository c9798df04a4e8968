"""Build the tokenizer.json of RoBERTa and XLM-RoBERTa for folders without one, and recognize it in a file."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

ROBERTA, XLM_ROBERTA, GENERAL = "RobertaTokenizer", "XLMRobertaTokenizer", "PreTrainedTokenizerFast"
Described = dict[str, Any]  # the content of a tokenizer.json
SEQUENCES = ("normalizers", "pretokenizers", "processors", "decoders")
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
BPE_OPTIONS = (
    "dropout",
    "unk_token",
    "continuing_subword_prefix",
    "end_of_word_suffix",
    "fuse_unk",
    "byte_fallback",
    "ignore_merges",
)


def roberta(
    vocab: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    control: Mapping[str, str],
    *,
    add_prefix_space: bool,
    trim_offsets: bool,
) -> Described:
    """Return the tokenizer.json of RoBERTa's byte-level BPE.

    `control` names pad, unk, cls, sep and mask, all entries of `vocab`.
    """
    pre_tokenizer = {"type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": True, "use_regex": True}
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": "",
        "end_of_word_suffix": "",
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": dict(vocab),
        "merges": [list(pair) for pair in merges],
    }
    return _described(
        added=[control_token(vocab[name], name, lstrip=name == control["mask"]) for name in set(control.values())],
        normalizer=None,
        pre_tokenizer=pre_tokenizer,
        post_processor=roberta_processor(
            (control["cls"], vocab[control["cls"]]),
            (control["sep"], vocab[control["sep"]]),
            add_prefix_space=add_prefix_space,
            trim_offsets=trim_offsets,
        ),
        decoder={**pre_tokenizer, "add_prefix_space": True},
        model=model,
    )


def xlm_roberta(
    pieces: Sequence[tuple[str, float]], charsmap: bytes, *, control: Sequence[str], user_defined: Sequence[str]
) -> Described:
    """Return the tokenizer.json of XLM-RoBERTa's SentencePiece unigram model.

    The ids are those of fairseq: its four control tokens, the pieces from 4 on, <mask> last. `pieces` are those of the
    .model file without its first three; `control` and `user_defined` are among them.
    """
    vocab = [*((name, 0.0) for name in ("<s>", "<pad>", "</s>", "<unk>")), *pieces, ("<mask>", 0.0)]
    ids = {piece: i for i, (piece, _) in enumerate(vocab)}
    names = ["<s>", "<pad>", "</s>", "<unk>", *control]
    added = [control_token(ids[name], name) for name in names]
    added += [{**control_token(ids[name], name), "special": False} for name in user_defined]
    added.append(control_token(len(vocab) - 1, "<mask>", lstrip=True))
    return _described(
        added=added,
        normalizer=(
            {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode()} if charsmap else None
        ),
        pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, METASPACE]},
        post_processor=template_processor(("<s>", 0), ("</s>", 2), separators=2),
        decoder=METASPACE,
        model={"type": "Unigram", "unk_id": 3, "vocab": [list(entry) for entry in vocab], "byte_fallback": False},
    )


def _described(*, added: list[dict[str, Any]], **parts: Any) -> Described:
    added = sorted(added, key=lambda token: token["id"])
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, **parts}


def control_token(i: int, content: str, *, lstrip: bool = False) -> dict[str, Any]:
    """Return the entry of a control token in the added tokens of a tokenizer.json."""
    flags = {"single_word": False, "lstrip": lstrip, "rstrip": False, "normalized": False, "special": True}
    return {"id": i, "content": content, **flags}


def user_token(i: int, content: str, *, single_word: bool, lstrip: bool = False) -> dict[str, Any]:
    """Return the entry of a user token, which is found in the normalized text before the text is split."""
    flags = {"single_word": single_word, "normalized": True, "special": False}
    return {**control_token(i, content, lstrip=lstrip), **flags}


def roberta_processor(
    cls: tuple[str, int], sep: tuple[str, int], *, add_prefix_space: bool, trim_offsets: bool
) -> dict[str, Any]:
    """Return the post-processor for `<s> a </s>` and `<s> a </s></s> b </s>`.

    `trim_offsets` leaves the blank before a word out of its offsets.
    """
    flags = {"trim_offsets": trim_offsets, "add_prefix_space": add_prefix_space}
    return {"type": "RobertaProcessing", "sep": list(sep), "cls": list(cls), **flags}


def template_processor(cls: tuple[str, int], sep: tuple[str, int], *, separators: int) -> dict[str, Any]:
    """Return the post-processor for `cls a sep` and `cls a sep b sep`, with `separators` sep tokens between a and b."""

    def token(name: str) -> dict[str, Any]:
        return {"SpecialToken": {"id": name, "type_id": 0}}

    def text(name: str) -> dict[str, Any]:
        return {"Sequence": {"id": name, "type_id": 0}}

    single = [token(cls[0]), text("A"), token(sep[0])]
    special = {name: {"id": name, "ids": [i], "tokens": [name]} for name, i in (cls, sep)}
    pair = [*single, *[token(sep[0])] * (separators - 1), text("B"), token(sep[0])]
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special}


def pipeline_steps(part: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Return the steps of a normalizer, pre-tokenizer, post-processor or decoder in order, with sequences flattened."""
    if not part:
        return []
    if part.get("type") != "Sequence":
        return [part]
    return [step for key in SEQUENCES for inner in part.get(key) or () for step in pipeline_steps(inner)]


def library_class(described: Described, separators: int) -> str:
    """Return the Hugging Face class that builds the same tokenizer from its vocabulary, or else the general class."""
    model, normalizer = described["model"], described.get("normalizer")
    splits, processor = pipeline_steps(described.get("pre_tokenizer")), described.get("post_processor") or {}
    split_types = [step.get("type") for step in splits]
    if model["type"] == "BPE":
        plain_model = not any(model.get(key) for key in BPE_OPTIONS)
        usual_split = split_types == ["ByteLevel"] and splits[0].get("use_regex", True)
        if plain_model and usual_split and normalizer is None and processor.get("type") == "RobertaProcessing":
            return ROBERTA
    elif model["type"] == "Unigram":
        plain_model = model.get("unk_id") == 3 and not model.get("byte_fallback")
        usual_split = split_types == ["WhitespaceSplit", "Metaspace"] and splits[1].get("replacement") == "▁"
        scheme = splits[1].get("prepend_scheme", "always") if usual_split else None
        prefixed = scheme == "always" and splits[1].get("add_prefix_space", True) and splits[1].get("split", True)
        usual_normalizer = normalizer is None or normalizer.get("type") == "Precompiled"
        if plain_model and usual_split and prefixed and usual_normalizer and separators == 2:
            return XLM_ROBERTA

    return GENERAL
