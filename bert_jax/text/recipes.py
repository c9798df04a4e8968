"""The tokenizer.json of RoBERTa and of XLM-RoBERTa: written for folders without one, known again in a file."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

ROBERTA, XLM_ROBERTA, GENERAL = "RobertaTokenizer", "XLMRobertaTokenizer", "PreTrainedTokenizerFast"
Described = dict[str, Any]  # the content of a tokenizer.json
SEQUENCES = ("normalizers", "pretokenizers", "processors", "decoders")
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
OTHER_KINDS_OF_BPE = (
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
    """Byte-level BPE as RoBERTa has it. `control` names pad, unk, cls, sep and mask, all of the vocabulary."""
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
    """SentencePiece's unigram as XLM-RoBERTa numbers it: fairseq's four first, the pieces from 4 on, <mask> last.

    `pieces` are those of the .model without its first three; `control` and `user_defined` are among them.
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
    """The entry of a control token among a tokenizer.json's added tokens."""
    flags = {"single_word": False, "lstrip": lstrip, "rstrip": False, "normalized": False, "special": True}
    return {"id": i, "content": content, **flags}


def user_token(i: int, content: str, *, single_word: bool, lstrip: bool = False) -> dict[str, Any]:
    """The entry of a token that is found in a text, seen as the vocabulary sees it, before the text is cut."""
    flags = {"single_word": single_word, "normalized": True, "special": False}
    return {**control_token(i, content, lstrip=lstrip), **flags}


def roberta_processor(
    cls: tuple[str, int], sep: tuple[str, int], *, add_prefix_space: bool, trim_offsets: bool
) -> dict[str, Any]:
    """`<s> a </s>` and `<s> a </s></s> b </s>`, for offsets without the blank before a word."""
    flags = {"trim_offsets": trim_offsets, "add_prefix_space": add_prefix_space}
    return {"type": "RobertaProcessing", "sep": list(sep), "cls": list(cls), **flags}


def template_processor(cls: tuple[str, int], sep: tuple[str, int], *, separators: int) -> dict[str, Any]:
    """`cls a sep`, and `cls a sep b sep` with so many separators between the two."""

    def token(name: str) -> dict[str, Any]:
        return {"SpecialToken": {"id": name, "type_id": 0}}

    def text(name: str) -> dict[str, Any]:
        return {"Sequence": {"id": name, "type_id": 0}}

    single = [token(cls[0]), text("A"), token(sep[0])]
    known = {name: {"id": name, "ids": [i], "tokens": [name]} for name, i in (cls, sep)}
    pair = [*single, *[token(sep[0])] * (separators - 1), text("B"), token(sep[0])]
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": known}


def flattened(part: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Return the steps of a normalizer, pre-tokenizer, post-processor or decoder, in order, out of their sequences."""
    if not part:
        return []
    if part.get("type") != "Sequence":
        return [part]
    return [step for key in SEQUENCES for each in part.get(key) or () for step in flattened(each)]


def library_class(described: Described, separators: int) -> str:
    """The class of Hugging Face that builds just this tokenizer from its vocabulary; the general one for others."""
    model, normalizer = described["model"], described.get("normalizer")
    cutters, processor = flattened(described.get("pre_tokenizer")), described.get("post_processor") or {}
    kinds = [cutter.get("type") for cutter in cutters]
    if model["type"] == "BPE":
        plain = not any(model.get(key) for key in OTHER_KINDS_OF_BPE)
        known = kinds == ["ByteLevel"] and cutters[0].get("use_regex", True)
        if plain and known and normalizer is None and processor.get("type") == "RobertaProcessing":
            return ROBERTA
    elif model["type"] == "Unigram":
        plain = model.get("unk_id") == 3 and not model.get("byte_fallback")
        known = kinds == ["WhitespaceSplit", "Metaspace"] and cutters[1].get("replacement") == "▁"
        scheme = cutters[1].get("prepend_scheme", "always") if known else None
        always = scheme == "always" and cutters[1].get("add_prefix_space", True) and cutters[1].get("split", True)
        charsmap = normalizer is None or normalizer.get("type") == "Precompiled"
        if plain and known and always and charsmap and separators == 2:
            return XLM_ROBERTA
    return GENERAL
