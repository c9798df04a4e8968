"""Folders of sentence-transformers: a Hugging Face encoder with how its tokens become one vector."""

import json
from pathlib import Path
from typing import Any

from bert_jax.convert.huggingface import read_huggingface, read_table, write_huggingface
from bert_jax.convert.pretrained import Pretrained, as_encoder, lowercases
from bert_jax.errors import UserError

MODULES, POOLING, LENGTH, ABOUT = (
    "modules.json",
    "1_Pooling",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
)
MODES = {  # their flag by our name
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "max": "pooling_mode_max_tokens",
    "mean_sqrt_len": "pooling_mode_mean_sqrt_len_tokens",
}
OTHER_MODES = ("pooling_mode_weightedmean_tokens", "pooling_mode_lasttoken")
TYPES = ("Transformer", "Pooling", "Normalize")
IMPORTS = "sentence_transformers.models."


def is_sentence_transformers(folder: Path) -> bool:
    return (folder / MODULES).is_file()


def encoder_folder(folder: Path) -> Path:
    """Where the encoder's own files lie: in the folder, or in early layouts in one inside it."""
    return folder / _read_modules(folder / MODULES)[0][1] if is_sentence_transformers(folder) else folder


def read_sentence_transformers(folder: Path, *, lowercase: bool | None = None) -> Pretrained:
    """The encoder, with pooling, normalisation and longest text in its `origin["embedding"]`.

    Raises UserError for modules other than Transformer, Pooling and Normalize in this order.
    """
    modules = _read_modules(folder / MODULES)
    kinds = [kind for kind, _ in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise UserError(f"{folder / MODULES}: modules {', '.join(kinds)}; {', '.join(TYPES)} are supported")
    inner, pooling = (folder / path for _, path in modules[:2])
    embedding: dict[str, Any] = {
        "pooling": _read_pooling(pooling / "config.json"),
        "normalize": "Normalize" in kinds,
    }
    if (folder / ABOUT).is_file():
        embedding["about"] = read_table(folder / ABOUT)
        embedding["prompt"] = _default_prompt(embedding["about"], folder / ABOUT)
    length = read_table(inner / LENGTH) if (inner / LENGTH).is_file() else {}
    model = as_encoder(read_huggingface(inner, lowercase=lowercase))
    if length.get("do_lower_case") and not lowercases(model.tokenizer):
        raise UserError(f"{inner / LENGTH}: do_lower_case, and the tokenizer itself does not; that is not supported")
    most = length.get("max_seq_length")
    if most is not None and (type(most) is not int or not 2 < most <= model.model.max_length):
        raise UserError(f"{inner / LENGTH}: max_seq_length {most!r}; the model takes up to {model.model.max_length}")
    return model.changed(
        where=str(folder), max_length=most or model.max_length, origin={**model.origin, "embedding": embedding}
    )


def write_sentence_transformers(
    pretrained: Pretrained, folder: Path, *, pooling: str | None = None, normalize: bool = False
) -> None:
    """Leaves a folder that SentenceTransformer opens, in `folder`, which is there and empty; a head is left out.

    Pooling is the model's own where it is not given, else the mean; normalised where asked or where the model does.
    """
    if pretrained.tokenizer is None:
        raise UserError(f"{pretrained.where}: no tokenizer, and such a folder needs one. Put its files there")
    said = pretrained.origin.get("embedding", {})
    pooling = pooling or said.get("pooling", "mean")
    normalize = normalize or said.get("normalize", False)
    encoder = as_encoder(pretrained)
    write_huggingface(encoder, folder)
    modules = [("Transformer", ""), ("Pooling", POOLING)] + [("Normalize", "2_Normalize")] * normalize
    _write(
        folder / MODULES,
        [{"idx": i, "name": str(i), "path": path, "type": IMPORTS + kind} for i, (kind, path) in enumerate(modules)],
    )
    for _, path in modules:
        (folder / path).mkdir(exist_ok=True)
    flags = {flag: mode == pooling for mode, flag in MODES.items()} | dict.fromkeys(OTHER_MODES, False)
    _write(folder / POOLING / "config.json", {"word_embedding_dimension": encoder.model.width, **flags})
    _write(folder / LENGTH, {"max_seq_length": pretrained.max_length, "do_lower_case": False})
    about: dict[str, Any] = {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "cosine"}
    _write(folder / ABOUT, said.get("about", about))


def _read_modules(path: Path) -> list[tuple[str, str]]:
    """Kind and folder of each module; none of them may lead outside."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"))
        modules = [(str(entry["type"]).rpartition(".")[2], str(entry["path"])) for entry in entries]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError(f"{path}: not a list of modules with type and path: {error!r}") from None
    for kind, inner in modules:
        if inner in (".", "..") or "/" in inner or "\\" in inner:
            raise UserError(f"{path}: the path {inner!r} of {kind} is not the name of a folder beside it")
    return modules


def _read_pooling(path: Path) -> str:
    table = read_table(path)
    on = [mode for mode, flag in MODES.items() if table.get(flag)] + [flag for flag in OTHER_MODES if table.get(flag)]
    if "pooling_mode" in table:  # newer files name it
        named = table["pooling_mode"]
        on = list(map(str, named)) if isinstance(named, list) else [str(named)]
    if len(on) != 1 or on[0] not in MODES:
        raise UserError(f"{path}: pooling by {', '.join(on) or 'nothing'}; one of {', '.join(MODES)} is read")
    return on[0]


def _default_prompt(about: dict[str, Any], path: Path) -> str:
    """What stands before every text where nothing else is asked for."""
    name, prompts = about.get("default_prompt_name"), about.get("prompts") or {}
    if name is None:
        return ""
    if not isinstance(prompts, dict) or not isinstance(name, str) or not isinstance(prompts.get(name), str):
        raise UserError(f"{path}: default_prompt_name {name!r} is not among its prompts")
    return prompts[name]


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
