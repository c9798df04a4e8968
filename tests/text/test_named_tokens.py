"""Added tokens have the ids of Hugging Face, in whichever file a folder names them."""

import json
from pathlib import Path

import pytest
from library_folders import BERT

from bert_jax.text import load_tokenizer

MARKERS = ["[E1]", "[/E1]", "<e2>"]
WORDS = ["a", "b", "dog", "the", "e", "##e", "##1", "1", "[", "]", "/", "<", ">", "##2", "2", "[unused1]", "x", "."]
TEXTS = [
    "[E1] the dog [/E1] <e2>a",
    "a[E1]dog[/E1].<e2>",
    "[e1] THE dog [unused1]x [unused1]",
    " [E1]  [E1]b the",
    "<E2> a",
    "the dog the",
]
FLAGS = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True}
KINDS = {"wordpiece": "BertTokenizer", "byte-level": "RobertaTokenizer", "unigram": "XLMRobertaTokenizer"}


@pytest.fixture(scope="module")
def vocabularies(folders, tmp_path_factory) -> dict[str, Path]:
    """Return a folder of each kind with older files and one with a tokenizer.json, none of which name tokens."""
    transformers = pytest.importorskip("transformers")
    root = tmp_path_factory.mktemp("vocabularies")
    folders_by_kind = {}
    for kind, name in KINDS.items():
        folders_by_kind[kind] = root / kind
        folders_by_kind[kind].mkdir()
        if kind == "wordpiece":
            (root / kind / "vocab.txt").write_text("\n".join([*BERT, *WORDS]) + "\n")
        for file in ("vocab.json", "merges.txt") if kind == "byte-level" else ():
            (root / kind / file).write_bytes((folders["roberta-old"] / file).read_bytes())
        if kind == "unigram":
            (root / kind / "sentencepiece.bpe.model").write_bytes(
                (folders["xlm-roberta-old"] / "sentencepiece.bpe.model").read_bytes()
            )
        saved = root / f"{kind}-saved"
        getattr(transformers, name).from_pretrained(folders_by_kind[kind]).save_pretrained(saved)
        (saved / "tokenizer_config.json").unlink()
        folders_by_kind[f"{kind}-json"] = saved
    return folders_by_kind


def decoder(first: int, **flags) -> dict[str, dict]:
    return {str(i): {"content": text, **FLAGS, **flags} for i, text in enumerate(MARKERS, first)}


def added_tokens(first: int) -> dict[str, int]:
    return {text: i for i, text in enumerate(MARKERS, first)}


LAYOUTS = {
    "decoder": lambda size: {"settings": {"added_tokens_decoder": decoder(size)}},
    "decoder-seen": lambda size: {"settings": {"added_tokens_decoder": decoder(size, normalized=True, special=False)}},
    "decoder-stripped": lambda size: {"settings": {"added_tokens_decoder": decoder(size, lstrip=True, rstrip=True)}},
    "decoder-word": lambda size: {"settings": {"added_tokens_decoder": decoder(size, single_word=True)}},
    "decoder-and-names": lambda size: {
        "settings": {"added_tokens_decoder": decoder(size), "additional_special_tokens": MARKERS}
    },
    "older": lambda size: {"added": added_tokens(size)},
    "older-and-map": lambda size: {"added": added_tokens(size), "map": {"additional_special_tokens": MARKERS}},
    "older-and-names": lambda size: {"added": added_tokens(size), "settings": {"additional_special_tokens": MARKERS}},
    "names": lambda size: {"settings": {"additional_special_tokens": MARKERS}},
    "new-names": lambda size: {"settings": {"extra_special_tokens": MARKERS}},
    "named-each": lambda size: {"settings": {"extra_special_tokens": {"first_token": "[E1]", "last_token": "[/E1]"}}},
    "own-key": lambda size: {"settings": {"entity_token": "[E1]", "additional_special_tokens": ["<e2>"]}},
    "own-key-and-start": lambda size: {"settings": {"entity_token": "[E1]", "bos_token": "[BOS]"}},
    "map": lambda size: {"map": {"additional_special_tokens": MARKERS}},
    "map-of-tables": lambda size: {
        "map": {"additional_special_tokens": ["<e2>"], "marker_token": {"content": "[E1]", **FLAGS, "lstrip": True}}
    },
    "entry": lambda size: {"settings": {"additional_special_tokens": ["the", "[unused1]"]}},
    "entry-in-map": lambda size: {"map": {"additional_special_tokens": ["dog", "[E1]"]}},
}


def make(folder: Path, vocabulary: Path, kind: str, size: int, layout: str, *, in_settings: bool) -> Path:
    folder.mkdir()
    for file in vocabulary.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    files = LAYOUTS[layout](size)
    settings = {"tokenizer_class": KINDS[kind], "do_lower_case": True, **files.get("settings", {})}
    if "map" in files and in_settings:
        settings |= files.pop("map")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    for name, key in (("added_tokens", "added"), ("special_tokens_map", "map")):
        if key in files:
            (folder / f"{name}.json").write_text(json.dumps(files[key]))
    return folder


WITH_JSON = ("decoder", "decoder-stripped", "older-and-map", "names", "own-key-and-start", "entry")


@pytest.mark.parametrize(
    ("file", "layout"), [*(("older", layout) for layout in LAYOUTS), *(("json", layout) for layout in WITH_JSON)]
)
@pytest.mark.parametrize("kind", KINDS)
def test_named_tokens_have_the_ids_of_hugging_face(tmp_path, vocabularies, kind, file, layout):
    transformers = pytest.importorskip("transformers")
    vocabulary = vocabularies[kind if file == "older" else f"{kind}-json"]
    size = load_tokenizer(vocabularies[kind]).vocab_size
    ours = load_tokenizer(make(tmp_path / "t", vocabulary, kind, size, layout, in_settings=False))
    # With a SentencePiece file, transformers ignores the names in special_tokens_map.json.
    ignores_map = kind == "unigram" and file == "older"
    if ignores_map and layout == "map-of-tables":
        pytest.skip("transformers reads no tables from the settings")
    folder = make(tmp_path / "u", vocabulary, kind, size, layout, in_settings=ignores_map)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)

    def assert_same_ids(ours, theirs):
        assert ours.vocab_size == len(theirs)
        expected = theirs(TEXTS, add_special_tokens=False)["input_ids"]
        assert [ids.tolist() for ids in ours.ids(TEXTS)] == expected
        assert [encoding.ids[1:-1] for encoding in ours.encode(TEXTS, max_length=99)] == expected

    assert_same_ids(ours, theirs)
    ours.save(tmp_path / "saved")
    again = load_tokenizer(tmp_path / "saved")
    assert again.fingerprint == ours.fingerprint and again.special == ours.special
    assert_same_ids(again, transformers.AutoTokenizer.from_pretrained(tmp_path / "saved"))
