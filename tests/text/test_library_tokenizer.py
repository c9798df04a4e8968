"""Byte-level BPE and unigram tokenizers give Hugging Face's ids for the same folder, also after a round trip."""

import copy
import gzip
import json
import pickle
import random
import subprocess
import sys

import pytest
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from library_folders import (
    BERT,
    CORPUS,
    KINDS,
    ROBERTA,
    TEXT,
    assert_same,
    trained_pieces,
    write,
)
from tokenizers import models, normalizers, pre_tokenizers, processors

from bert_jax.text import load_tokenizer
from bert_jax.text.library_tokenizer import LibraryTokenizer
from bert_jax.text.wordpiece import WordPieceTokenizer


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None)
@given(rows=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4), max_length=st.integers(8, 40))
@example(rows=[(" ", "  "), ("", ""), ("a", " the dog  \n\n dog "), ("\x00", "\ud800 \ufffd")], max_length=10)
@example(
    rows=[("a b<url>a  b", "|||EMAIL||||||IP|||    [unused2] x"), ("aaaaaaaaaaaaaaa" * 3, "=" * 50)], max_length=40
)
def test_ids_equal_hugging_face_on_awkward_unicode(loaded, kind, rows, max_length):
    texts, pairs = [a for a, _ in rows], [b for _, b in rows]
    assert_same(*loaded[kind], texts, pairs, max_length)


@pytest.fixture(scope="module")
def lines(shared_data) -> list[str]:
    """Return lines of books and manuals that contain no control token."""
    lines = []
    for file in sorted((shared_data / "corpus").rglob("*.gz")):
        text = gzip.decompress(file.read_bytes()).decode().split("\n")
        if ".jsonl" in file.name:
            text = [part for line in text if line for part in json.loads(line)["text"].split("\n")]
        lines += random.Random(2).sample(text, min(len(text), 30))
    sampled = random.Random(3).sample(lines, 600)
    return [line for line in sampled if not any(name in line for name in ROBERTA + BERT)]


@pytest.mark.parametrize("kind", KINDS)
def test_ids_equal_hugging_face_on_the_corpus(lines, loaded, kind):
    assert_same(*loaded[kind], lines, lines[1:] + lines[:1], 64)


@pytest.mark.parametrize("kind", KINDS)
def test_special_ids_and_entries_equal_hugging_face(loaded, kind):
    ours, theirs = loaded[kind]
    special = ours.special
    assert isinstance(ours, LibraryTokenizer)
    assert ours.vocab_size == len(theirs) == max(theirs.get_vocab().values()) + 1
    assert special.all() == tuple(getattr(theirs, f"{name}_token_id") for name in ("pad", "unk", "cls", "sep", "mask"))
    assert ours.separators == (1 if kind == "modernbert" else 2)
    assert ours.tokens(range(ours.vocab_size)) == theirs.convert_ids_to_tokens(range(ours.vocab_size))
    for line in CORPUS[:9]:
        encoding = ours.encode([line], ["a b"], max_length=200)[0]
        known_ids = [i for i in encoding.ids if i != special.unk]
        assert ours.decode(known_ids) == theirs.decode(
            known_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
    assert ours.tokens([special.unk])[0] in ours.decode([special.cls, special.unk, special.sep])
    assert encoding.segments == [0] * len(encoding.ids)
    assert encoding.ids == theirs(CORPUS[8], "a b")["input_ids"]


@pytest.mark.parametrize("kind", KINDS)
def test_saved_folder_gives_the_same_ids_here_and_in_hugging_face(tmp_path, loaded, kind):
    transformers = pytest.importorskip("transformers")
    ours, theirs = loaded[kind]
    ours.save(tmp_path / "new" / "saved")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["saved"]
    again = load_tokenizer(tmp_path / "new" / "saved")
    assert again.fingerprint == ours.fingerprint and again.special == ours.special
    classes = {"rob": "RobertaTokenizer", "xlm": "XLMRobertaTokenizer"}
    assert again.library_class == classes.get(kind[:3], "PreTrainedTokenizerFast")
    texts = [*CORPUS[:9], "  a  b ", "aaaaaaa  |||IP||| <url>a b", ""]
    for name in ("AutoTokenizer", again.library_class, "PreTrainedTokenizerFast"):
        opened = getattr(transformers, name).from_pretrained(tmp_path / "new" / "saved")
        assert_same(again, opened, texts, texts[::-1], 60)
        assert opened.mask_token_id == ours.special.mask and opened.pad_token_id == ours.special.pad
        assert opened.model_max_length == theirs.model_max_length
    model_type = {"rob": "roberta", "mod": "modernbert", "xlm": "xlm-roberta", "e5": "xlm-roberta"}.get(
        kind[:3], "bert"
    )
    (tmp_path / "new" / "saved" / "config.json").write_text(json.dumps({"model_type": model_type}))
    opened = transformers.AutoTokenizer.from_pretrained(tmp_path / "new" / "saved")
    assert_same(again, opened, texts, texts[::-1], 60)


@pytest.mark.parametrize("kind", KINDS)
def test_control_tokens_spelled_out_stay_text(loaded, kind):
    ours = loaded[kind][0]
    names = [*ROBERTA, *BERT, "<|padding|>"]
    texts = [*names, *(f"a {name}b" for name in names), "".join(names), "＜s＞", "<s><s> </s>"]
    control = set(ours.special.all()) - {ours.special.unk}
    control.update(loaded[kind][1].all_special_ids)
    for text, ids in zip(texts, ours.ids(texts), strict=True):
        assert not (control - {ours.special.unk}).intersection(ids.tolist()), text
        if kind not in ("xlm-roberta", "xlm-roberta-old", "e5", "mpnet"):  # whose vocabularies lack some characters
            assert ours.decode(ids).strip() == text
            assert ours.special.unk not in ids
    for encoding in ours.encode(texts, texts, max_length=500):
        assert encoding.ids.count(ours.special.sep) == 1 + ours.separators


def test_space_runs_are_single_tokens(loaded):
    ours = loaded["modernbert"][0]
    assert ours.tokens(ours.ids(["a     b"])[0])[1] == " " * 5
    assert ours.tokens(ours.ids(["|||IP||| [unused1]"])[0]) == ["|||IP|||", "Ġ", "[unused1]"]


def test_user_defined_pieces_are_found_in_text(tmp_path):
    transformers = pytest.importorskip("transformers")
    settings_ = {"tokenizer_class": "XLMRobertaTokenizer"}
    pieces = trained_pieces(user_defined_symbols=["<url>", "@@"], control_symbols=["<ctl>"])
    folder = write(tmp_path / "t", model=pieces, tokenizer_config=settings_)
    ours, theirs = load_tokenizer(folder), transformers.AutoTokenizer.from_pretrained(folder)
    assert_same(ours, theirs, ["a <url>b @@@ c", "x<url>"], ["<url>", " @@ "], 30)
    assert ours.tokens(ours.ids(["x<url>"])[0])[-1] == "<url>"
    ids = {text: i for i, text in enumerate(ours.tokens(range(ours.vocab_size)))}
    assert ids["<ctl>"] not in ours.ids(["a <ctl> b"])[0]


def test_settings_override_add_prefix_space_of_the_file(tmp_path, folders):
    transformers = pytest.importorskip("transformers")
    table = json.loads((folders["roberta"] / "tokenizer.json").read_text())
    config = {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": True, "trim_offsets": False}
    folder = write(tmp_path / "t", tokenizer=table, tokenizer_config=config)
    ours, theirs = load_tokenizer(folder), transformers.AutoTokenizer.from_pretrained(folder)
    assert_same(ours, theirs, CORPUS[:9], CORPUS[1:10], 50)
    assert ours.ids(["dog"])[0].tolist() == ours.ids([" dog"])[0].tolist()
    ours.save(tmp_path / "again")
    assert_same(
        load_tokenizer(tmp_path / "again"),
        transformers.AutoTokenizer.from_pretrained(tmp_path / "again"),
        CORPUS[:9],
        CORPUS[1:10],
        50,
    )


def test_file_without_post_processor_takes_that_of_its_class(tmp_path, folders):
    transformers = pytest.importorskip("transformers")
    for kind, model_type in (("roberta", "roberta"), ("xlm-roberta", "xlm-roberta")):
        table = json.loads((folders[kind] / "tokenizer.json").read_text(encoding="utf-8"))
        table["post_processor"] = None
        del table["model"]["type"]  # early files lack the type
        folder = write(tmp_path / kind, tokenizer=table, config={"model_type": model_type})
        ours, theirs = load_tokenizer(folder), transformers.AutoTokenizer.from_pretrained(folder)
        assert ours.separators == 2
        assert_same(ours, theirs, CORPUS[:9], CORPUS[1:10], 50)


def test_files_of_early_versions_give_the_same_ids(tmp_path, folders, loaded):
    table = json.loads((folders["roberta"] / "tokenizer.json").read_text())
    model = {key: table["model"][key] for key in ("dropout", "unk_token", "fuse_unk", "vocab")}
    model["merges"] = [" ".join(pair) for pair in table["model"]["merges"]]
    pre_tokenizer = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    early = {**table, "model": model, "pre_tokenizer": pre_tokenizer, "decoder": pre_tokenizer}
    roberta = load_tokenizer(write(tmp_path / "roberta", tokenizer=early, config={"model_type": "roberta"}))
    table = json.loads((folders["xlm-roberta"] / "tokenizer.json").read_text(encoding="utf-8"))
    metaspace = {"type": "Metaspace", "replacement": "▁", "str_rep": "▁", "add_prefix_space": True}
    pre_tokenizer = {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]}
    model = {key: table["model"][key] for key in ("unk_id", "vocab")}
    early = {**table, "model": model, "pre_tokenizer": pre_tokenizer, "decoder": metaspace}
    xlm = load_tokenizer(write(tmp_path / "xlm", tokenizer=early))
    for kind, ours in (("roberta", roberta), ("xlm-roberta", xlm)):
        expected = loaded[kind][0]
        assert ours.library_class == expected.library_class
        assert [e.ids for e in ours.encode(CORPUS, CORPUS, max_length=90)] == [
            e.ids for e in expected.encode(CORPUS, CORPUS, max_length=90)
        ]


def test_fingerprint_depends_on_what_decides_the_ids(tmp_path, folders, loaded):
    prints = {kind: tokenizer.fingerprint for kind, (tokenizer, _) in loaded.items()}
    assert prints["xlm-roberta"] == prints["xlm-roberta-old"] and prints["roberta"] == prints["roberta-old"]
    assert len(set(prints.values())) == len(KINDS) - 2
    table = json.loads((folders["modernbert"] / "tokenizer.json").read_text())

    def changed(name, **parts):
        config = json.loads((folders["modernbert"] / "tokenizer_config.json").read_text())
        return load_tokenizer(write(tmp_path / name, tokenizer={**table, **parts}, tokenizer_config=config)).fingerprint

    assert changed("cut", truncation=None, padding=None) == prints["modernbert"]
    assert changed("normalizer", normalizer=None) != prints["modernbert"]
    fewer = [token for token in table["added_tokens"] if token["content"] != "|||IP|||"]
    assert changed("added", added_tokens=fewer) != prints["modernbert"]


@pytest.mark.parametrize("kind", KINDS)
def test_pickled_tokenizer_gives_the_same_ids(loaded, kind):
    ours = copy.copy(loaded[kind][0])
    ours.truncation_side = "left"
    again = pickle.loads(pickle.dumps(ours))
    assert again.truncation_side == "left"
    assert again.fingerprint == ours.fingerprint and again.library_class == ours.library_class
    assert [ids.tolist() for ids in again.ids(CORPUS)] == [ids.tolist() for ids in ours.ids(CORPUS)]


def test_loading_imports_no_framework(folders):
    script = (
        "import sys\nfrom pathlib import Path\nfrom bert_jax.text import load_tokenizer\n"
        "for folder in sys.argv[1:]: load_tokenizer(Path(folder)).ids(['a b'])\n"
        "print(sorted({'jax', 'torch', 'transformers', 'tensorflow'}.intersection(sys.modules)))"
    )
    command = [sys.executable, "-c", script, *map(str, folders.values())]
    assert subprocess.check_output(command, text=True).strip() == "[]"


@pytest.mark.parametrize("name", ["DistilBertTokenizer", "ElectraTokenizerFast", "BertTokenizer", None])
@pytest.mark.parametrize("lowercase", [True, False])
def test_wordpiece_of_other_classes_is_read_as_wordpiece(tmp_path, name, lowercase):
    transformers = pytest.importorskip("transformers")
    vocab = [*BERT, "a", "b", "##b", "##c", "é", "e", "A", ".", "日"]
    backend = tokenizers.Tokenizer(models.WordPiece({text: i for i, text in enumerate(vocab)}, unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    backend.add_special_tokens(BERT)
    config = {"tokenizer_class": name, "do_lower_case": lowercase}
    folder = write(tmp_path / "t", tokenizer=backend.to_str(), tokenizer_config=config, config={"model_type": "bert"})
    ours, theirs = load_tokenizer(folder), transformers.AutoTokenizer.from_pretrained(folder)
    assert isinstance(ours, WordPieceTokenizer) and ours.separators == 1
    assert ours.encode(["Abc é. 日"], ["b A"], max_length=30)[0].ids == theirs("Abc é. 日", "b A")["input_ids"]


@pytest.mark.parametrize("kind", ["xlm-roberta", "e5", "mpnet"])
@pytest.mark.parametrize("start", ["\x1c", "\x01\x1f\x7f"])
def test_control_characters_at_the_start_do_not_shift_spans(loaded, kind, start):
    ours, text = loaded[kind][0], CORPUS[0]
    ids, spans, _ = ours.spans_flat([text])
    shifted_ids, shifted, _ = ours.spans_flat([start + text])
    assert shifted_ids.tolist() == ids.tolist() == ours.ids([start + text])[0].tolist()
    assert shifted.tolist() == (spans + len(start)).tolist()
