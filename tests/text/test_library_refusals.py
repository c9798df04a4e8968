"""Damaged tokenizer folders and folders of other kinds are refused in one line, never with a traceback."""

import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from library_folders import trained_pieces, write
from tokenizers import processors

from bert_jax.errors import UserError
from bert_jax.text import load_tokenizer


def error_message(folder: Path, **files) -> str:
    """Write a tokenizer folder and return the error that loading it raises."""
    with pytest.raises(UserError) as caught:
        load_tokenizer(write(folder, **files))
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
    return str(caught.value)


def test_unreadable_folders_are_refused_in_one_line(tmp_path, folders):
    table = json.loads((folders["roberta"] / "tokenizer.json").read_text())
    model, config = table["model"], {"tokenizer_class": "RobertaTokenizer"}
    merges = "".join(" ".join(pair) + "\n" for pair in model["merges"])
    kinds = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}

    def with_model(name: str, **changes) -> str:
        return error_message(
            tmp_path / name, tokenizer={**table, "model": {**model, **changes}}, tokenizer_config=config
        )

    assert "no tokenizer.json and no vocab.txt" in error_message(tmp_path / "none", config={})
    assert "WordLevel / None / ByteLevel, where BERT's WordPiece" in error_message(
        tmp_path / "kind", tokenizer={**table, "model": kinds}
    )
    assert "not JSON" in error_message(tmp_path / "broken", tokenizer=json.dumps(table)[:-20])
    assert "not JSON" in error_message(tmp_path / "config", tokenizer=table, tokenizer_config="{")
    assert "not a JSON object" in error_message(tmp_path / "parts", tokenizer={"model": [1]})
    assert "without merges" in with_model("no-merges", merges=[])
    assert "merge 0 is 'x yz', but 'yz'" in with_model("merge", merges=["x yz"])
    gap = {text: i + (i > 99) for text, i in model["vocab"].items()}
    assert "no entry has id 100" in with_model("gap", vocab=gap)
    doubled = {text: min(i, 418) for text, i in model["vocab"].items()}
    assert "id 418 stands for" in with_model("doubled", vocab=doubled)
    assert "has id '7'" in with_model("text", vocab={**model["vocab"], "zz": "7"})
    twice = [{**table["added_tokens"][4], "id": 420}]
    assert "'<mask>' has the ids 4 and 420" in error_message(
        tmp_path / "twice", tokenizer={**table, "added_tokens": twice}
    )
    assert "mask_token '<gone>' has no id" in error_message(
        tmp_path / "special", tokenizer=table, tokenizer_config={**config, "mask_token": "<gone>"}
    )
    assert "puts no control tokens" in error_message(tmp_path / "bare", tokenizer={**table, "post_processor": None})
    template = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 0)])
    post_processor = json.loads(template.__getstate__())
    assert "'0 A' and '0 A B', which no BERT takes" in error_message(
        tmp_path / "template", tokenizer={**table, "post_processor": post_processor}
    )
    assert "no merges.txt beside vocab.json" in error_message(tmp_path / "vocab", vocab=model["vocab"])
    assert "no vocab.json beside merges.txt" in error_message(tmp_path / "merges", merges=merges)
    assert "merges.txt line 1: 'a b c'" in error_message(tmp_path / "three", vocab=model["vocab"], merges="a b c\n")
    assert "no merges in it" in error_message(tmp_path / "empty", vocab=model["vocab"], merges="#version: 0.2\n")
    without = {text: i for text, i in model["vocab"].items() if text != "<mask>"}
    assert "mask_token '' has no id among 419" in error_message(tmp_path / "mask", vocab=without, merges=merges)
    assert "added token 'x y' cannot have id" not in error_message(
        tmp_path / "far", vocab=model["vocab"], merges=merges, added_tokens={"x y": 500}
    )
    assert "its added tokens cannot be read" in error_message(
        tmp_path / "odd", vocab=model["vocab"], merges=merges, added_tokens={"x y": [1], "y": "b"}
    )
    with pytest.raises(UserError, match="only a WordPiece tokenizer"):
        load_tokenizer(folders["roberta"], lowercase=True)
    with pytest.raises(UserError, match="give the folder"):
        load_tokenizer(folders["roberta"] / "tokenizer.json")


@pytest.mark.parametrize("part", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_truncated_sentencepiece_model_is_refused(tmp_path, folders, part):
    content = (folders["xlm-roberta-old"] / "sentencepiece.bpe.model").read_bytes()
    message = error_message(tmp_path / "t", model=content[: int(part * len(content))])
    assert "SentencePiece model" in message


def test_sentencepiece_models_of_another_kind_are_refused(tmp_path):
    assert "model kind 2, where 1 (unigram)" in error_message(tmp_path / "bpe", model=trained_pieces(model_type="bpe"))
    moved = trained_pieces(bos_id=3, pad_id=1)
    assert "its first pieces are <unk>, <pad>, </s>" in error_message(tmp_path / "moved", model=moved)
    assert "SentencePiece model" in error_message(
        tmp_path / "prose", model=b"version https://git-lfs.github.com/spec/v1\n"
    )


def test_damaged_unigram_file_is_refused(tmp_path, folders):
    table = json.loads((folders["xlm-roberta"] / "tokenizer.json").read_text(encoding="utf-8"))
    charsmap = table["normalizer"]["precompiled_charsmap"]
    short = {"type": "Precompiled", "precompiled_charsmap": charsmap[: len(charsmap) // 8 * 4]}
    assert "precompiled_charsmap is damaged" in error_message(
        tmp_path / "short", tokenizer={**table, "normalizer": short}
    )
    lost = {**table["model"], "unk_id": None}
    assert "without unk_id" in error_message(tmp_path / "unk", tokenizer={**table, "model": lost})
    scoreless = {**table["model"], "vocab": [entry[:1] for entry in table["model"]["vocab"]]}
    assert "damaged" in error_message(tmp_path / "scores", tokenizer={**table, "model": scoreless})


@pytest.mark.parametrize("kind", ["roberta", "modernbert", "xlm-roberta"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damage_to_a_file_never_ends_in_a_traceback(folders, tmp_path_factory, kind, data):
    table = json.loads((folders[kind] / "tokenizer.json").read_text(encoding="utf-8"))
    part = table
    for _ in range(data.draw(st.integers(1, 4))):
        keys = sorted(part) if isinstance(part, dict) else range(len(part))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(part[key], dict | list) or not part[key]:
            break
        parent, part = part, part[key]
    else:
        part = parent
    change = data.draw(st.sampled_from(["drop", None, -1, "x", [], {}, 10**9]))
    if change == "drop":
        del part[key]
    else:
        part[key] = change
    config = json.loads((folders[kind] / "tokenizer_config.json").read_text())
    folder = write(tmp_path_factory.mktemp("damaged") / "t", tokenizer=table, tokenizer_config=config)
    try:
        load_tokenizer(folder).ids(["a b"])
    except UserError as error:
        assert "\n" not in str(error)


NAMES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt", "sentencepiece.bpe.model")
NAMES += ("added_tokens.json", "special_tokens_map.json", "config.json")


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(8 << 30)


def make_dangling(path: Path) -> None:
    path.symlink_to("gone")


@pytest.mark.parametrize("make", [make_pipe, make_device, make_sparse, make_dangling, Path.mkdir])
@pytest.mark.parametrize("name", NAMES)
def test_pipes_devices_and_broken_links_are_refused_at_once(tmp_path, folders, name, make):
    """The loader neither waits for them, nor reads without end, nor falls back to another file."""
    kind = {
        "vocab.txt": None,
        "tokenizer.json": "roberta",
        "config.json": "roberta",
        "sentencepiece.bpe.model": "xlm-roberta-old",
    }
    source = kind.get(name, "roberta-old")
    folder = tmp_path / "t"
    if source is None:
        folder.mkdir()
    else:
        shutil.copytree(folders[source], folder)
    if name == "tokenizer.json":
        (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"]) + "\n")
    (folder / name).unlink(missing_ok=True)
    make(folder / name)
    with pytest.raises(UserError) as caught:
        load_tokenizer(folder)
    assert "\n" not in str(caught.value) and name in str(caught.value)
