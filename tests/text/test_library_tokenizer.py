"""Byte-level BPE and unigram: ids as Hugging Face gives them from the same folder, round trips, what is refused."""

import gzip
import io
import itertools
import json
import pickle
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors, trainers

from bert_jax.errors import UserError
from bert_jax.text import load_tokenizer
from bert_jax.text.library import LibraryTokenizer
from bert_jax.text.wordpiece import WordPieceTokenizer

ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
BERT = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
CORPUS = [
    "The quick brown fox jumps over the lazy dog, and the dog doesn't mind; it's 2024.",
    "    def f(x):\n        return x * 2  # twice\n\n\tprint(f(21))",
    "Der Fluß über die Brücke, naïve café, déjà vu, l'été où",
    "Съешь же ещё этих мягких французских булок, да выпей чаю",
    "今天天气很好，我们去公园散步吧。東京は日本の首都です。",
    "مرحبا بالعالم كيف حالك اليوم",
    "สวัสดีชาวโลก วันนี้อากาศดี",
    "नमस्ते दुनिया आप कैसे हैं",
    "😀👩🏽‍🚀 e\u0301 o\u0308 \u200d ½ ﬁ Ⅷ ① ㎏ aaaa aaaaaaaa -------- ========",
] * 4
KINDS = ["roberta", "roberta-old", "roberta-prefixed", "modernbert", "xlm-roberta", "xlm-roberta-old", "e5", "mpnet"]
FRAGMENTS = [
    *" aeéßıİ\t\n\r\x00\x0b\x1c\x7f\x85\xa0\xad\u0301\u0308\u200b\u200d\u2028\u3000\ufeff\ufffd½ﬁⅧ①㎏▁Ġ今日م ก漢"
]
FRAGMENTS += [
    *"😀🏽\u20e3",
    "👩🏽‍🚀",
    "  ",
    "   ",
    " " * 17,
    "the dog",
    " dog",
    "doesn't",
    "2024",
    "aaaaaaa",
    "====",
    "|||IP|||",
]
FRAGMENTS += ["[unused0]", "\ud83d", "\udfff", "مرحبا", "สวัสดี", "天气", "ﷺ", "\u0958", "\U0001d400", "\r\n"]
TEXT = st.lists(st.sampled_from(FRAGMENTS) | st.characters(), max_size=12).map("".join)


def byte_level(size: int, control: list[str], added: list[AddedToken] = []) -> tokenizers.Tokenizer:  # noqa: B006
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=control, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(CORPUS, trainer)
    backend.add_tokens(added)
    return backend


def trained_pieces(**options) -> bytes:
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=written,
        vocab_size=320,
        hard_vocab_limit=False,
        character_coverage=1.0,
        num_threads=1,
        minloglevel=2,
        **options,
    )
    return written.getvalue()


def write(folder: Path, **files) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        name = {"model": "sentencepiece.bpe.model", "merges": "merges.txt"}.get(name, f"{name}.json")
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            (folder / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> dict[str, Path]:
    """One folder of each kind, as they lie about in the world."""
    transformers = pytest.importorskip("transformers")
    root = tmp_path_factory.mktemp("tokenizers")
    found = {}

    backend = byte_level(420, ROBERTA)
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), True, False)
    plain = {"tokenizer_class": "RobertaTokenizer", "model_max_length": 512}
    found["roberta"] = write(root / "roberta", tokenizer=backend.to_str(), tokenizer_config=plain)
    model = json.loads(backend.to_str())["model"]
    merges = "#version: 0.2\n" + "".join(" ".join(pair) + "\n" for pair in model["merges"])
    names = dict(zip(["cls_token", "pad_token", "sep_token", "unk_token", "mask_token"], ROBERTA, strict=True))
    names["mask_token"] = {
        "content": "<mask>",
        "lstrip": True,
        "rstrip": False,
        "normalized": False,
        "single_word": False,
    }
    found["roberta-old"] = write(
        root / "roberta-old",
        vocab=model["vocab"],
        merges=merges,
        special_tokens_map=names,
        config={"model_type": "roberta"},
    )
    prefixed = {**plain, "tokenizer_class": "RobertaTokenizerFast", "add_prefix_space": True}
    found["roberta-prefixed"] = write(
        root / "roberta-prefixed",
        vocab=model["vocab"],
        merges=merges,
        added_tokens={"<url>": 420, "a b": 421},
        tokenizer_config=prefixed,
    )

    runs = [AddedToken(" " * n, normalized=True) for n in range(24, 1, -1)]
    later = [AddedToken("|||EMAIL|||"), *(AddedToken(name, special=True, normalized=False) for name in BERT)]
    unused = [AddedToken(f"[unused{i}]") for i in range(3)]
    backend = byte_level(420, ["|||IP|||", "<|padding|>"], runs + later + unused)
    backend = tokenizers.Tokenizer.from_str(backend.to_str().replace('"special":true', '"special":false', 1))
    backend.normalizer = normalizers.NFC()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(name, backend.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    backend.enable_truncation(7)  # as sentence-transformers leaves it
    backend.enable_padding(length=20)
    named = {f"{name[1:-1].lower()}_token": name for name in BERT}
    general = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 8192}
    found["modernbert"] = write(
        root / "modernbert",
        tokenizer=backend.to_str(),
        tokenizer_config={**general, **named, "clean_up_tokenization_spaces": True},
    )

    pieces = trained_pieces()
    class_name = {"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": 512}
    found["xlm-roberta-old"] = write(root / "xlm-roberta-old", model=pieces, tokenizer_config=class_name)
    found["xlm-roberta"] = root / "xlm-roberta"
    transformers.XLMRobertaTokenizer.from_pretrained(found["xlm-roberta-old"]).save_pretrained(found["xlm-roberta"])
    table = json.loads((found["xlm-roberta"] / "tokenizer.json").read_text(encoding="utf-8"))
    replace = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
    table["normalizer"] = {"type": "Sequence", "normalizers": [table["normalizer"], replace]}
    table["pre_tokenizer"] = {
        "type": "Metaspace",
        "replacement": "▁",
        "add_prefix_space": True,
        "prepend_scheme": "always",
    }
    special = {
        f"{field}_token": name for field, name in zip(["cls", "pad", "sep", "unk", "mask"], ROBERTA, strict=True)
    }
    found["e5"] = write(root / "e5", tokenizer=table, tokenizer_config={**general, **special})

    words = sorted({c for line in CORPUS for c in line.lower() if not c.isspace()})
    wordpiece = tokenizers.Tokenizer(
        models.WordPiece(
            {text: i for i, text in enumerate([*ROBERTA, *words, *(f"##{c}" for c in words)])}, unk_token="<unk>"
        )
    )
    wordpiece.normalizer, wordpiece.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    wordpiece.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), True, False)
    wordpiece.decoder = decoders.WordPiece()
    wordpiece.add_special_tokens(ROBERTA)
    found["mpnet"] = write(root / "mpnet", tokenizer=wordpiece.to_str(), tokenizer_config={**general, **special})
    return found


@pytest.fixture(scope="session")
def loaded(folders):
    transformers = pytest.importorskip("transformers")
    return {
        kind: (load_tokenizer(folder), transformers.AutoTokenizer.from_pretrained(folder))
        for kind, folder in folders.items()
    }


def assert_same(ours, theirs, texts: list[str], pairs: list[str], max_length: int) -> None:
    """Ids, offsets and truncation; texts and pairs are of one length and do not spell control tokens out."""
    whole, other = ([replaced(text) for text in side] for side in (texts, pairs))
    options = {"split_special_tokens": True, "padding": False}
    expected = theirs(whole, add_special_tokens=False, **options)["input_ids"]
    assert [ids.tolist() for ids in ours.ids(texts)] == expected
    flat, offsets = ours.ids_flat(texts)
    assert flat.dtype == np.int32 and flat.tolist() == list(itertools.chain.from_iterable(expected))
    assert offsets.dtype == np.int64 and np.diff(offsets).tolist() == [len(ids) for ids in expected]
    cut = {"truncation": "longest_first", "max_length": max_length, "return_offsets_mapping": True, **options}
    single, pair = theirs(whole, **cut), theirs(whole, other, **cut)
    for i, encoding in enumerate(ours.encode(texts, max_length=max_length)):
        assert encoding.ids == single["input_ids"][i]
        assert encoding.offsets == single["offset_mapping"][i]
    lengths = [len(ids) for ids in theirs(other, add_special_tokens=False, **options)["input_ids"]]
    for i, encoding in enumerate(ours.encode(texts, pairs, max_length=max_length)):
        room = max_length - 2 - ours.separators
        if room % 2 == 0 or min(len(expected[i]), lengths[i]) <= room // 2:  # who loses a tie differs
            assert encoding.ids == pair["input_ids"][i]
            assert encoding.offsets == pair["offset_mapping"][i]
        assert len(encoding.ids) == len(encoding.segments) <= max_length
        assert encoding.dropped == len(expected[i]) + lengths[i] - len(encoding.ids) + 2 + ours.separators


def replaced(text: str) -> str:
    return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)


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
    """Lines of books and manuals, but for those that spell a control token out."""
    found = []
    for file in sorted((shared_data / "corpus").rglob("*.gz")):
        text = gzip.decompress(file.read_bytes()).decode().split("\n")
        if ".jsonl" in file.name:
            text = [part for line in text if line for part in json.loads(line)["text"].split("\n")]
        found += random.Random(2).sample(text, min(len(text), 30))
    found = random.Random(3).sample(found, 600)
    return [line for line in found if not any(name in line for name in ROBERTA + BERT)]


@pytest.mark.parametrize("kind", KINDS)
def test_ids_equal_hugging_face_on_the_corpus(lines, loaded, kind):
    assert_same(*loaded[kind], lines, lines[1:] + lines[:1], 64)


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_folder_says_is_known(loaded, kind):
    ours, theirs = loaded[kind]
    special = ours.special
    assert isinstance(ours, LibraryTokenizer)
    assert ours.vocab_size == len(theirs) == max(theirs.get_vocab().values()) + 1
    assert special.all() == tuple(getattr(theirs, f"{name}_token_id") for name in ("pad", "unk", "cls", "sep", "mask"))
    assert ours.separators == (1 if kind == "modernbert" else 2)
    assert ours.tokens(range(ours.vocab_size)) == theirs.convert_ids_to_tokens(range(ours.vocab_size))
    for line in CORPUS[:9]:
        encoding = ours.encode([line], ["a b"], max_length=200)[0]
        known = [i for i in encoding.ids if i != special.unk]
        assert ours.decode(known) == theirs.decode(known, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert ours.tokens([special.unk])[0] in ours.decode([special.cls, special.unk, special.sep])
    second = encoding.segments.index(1)
    assert encoding.ids[second - ours.separators : second] == [special.sep] * ours.separators


@pytest.mark.parametrize("kind", KINDS)
def test_saved_folder_opens_here_and_there_to_the_same_ids(tmp_path, loaded, kind):
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
        if kind not in ("xlm-roberta", "xlm-roberta-old", "e5", "mpnet"):  # which have not every character
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


def test_settings_turn_the_prefixed_blank_on_in_a_file_that_has_it_off(tmp_path, folders):
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


def test_file_without_post_processor_takes_that_of_the_named_class(tmp_path, folders):
    transformers = pytest.importorskip("transformers")
    for kind, model_type in (("roberta", "roberta"), ("xlm-roberta", "xlm-roberta")):
        table = json.loads((folders[kind] / "tokenizer.json").read_text(encoding="utf-8"))
        table["post_processor"] = None
        del table["model"]["type"]  # early files do not say
        folder = write(tmp_path / kind, tokenizer=table, config={"model_type": model_type})
        ours, theirs = load_tokenizer(folder), transformers.AutoTokenizer.from_pretrained(folder)
        assert ours.separators == 2
        assert_same(ours, theirs, CORPUS[:9], CORPUS[1:10], 50)


def test_files_in_the_spelling_of_early_versions_give_the_same_ids(tmp_path, folders, loaded):
    table = json.loads((folders["roberta"] / "tokenizer.json").read_text())
    model = {key: table["model"][key] for key in ("dropout", "unk_token", "fuse_unk", "vocab")}
    model["merges"] = [" ".join(pair) for pair in table["model"]["merges"]]
    cutter = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    early = {**table, "model": model, "pre_tokenizer": cutter, "decoder": cutter}
    roberta = load_tokenizer(write(tmp_path / "roberta", tokenizer=early, config={"model_type": "roberta"}))
    table = json.loads((folders["xlm-roberta"] / "tokenizer.json").read_text(encoding="utf-8"))
    metaspace = {"type": "Metaspace", "replacement": "▁", "str_rep": "▁", "add_prefix_space": True}
    cutter = {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]}
    model = {key: table["model"][key] for key in ("unk_id", "vocab")}
    early = {**table, "model": model, "pre_tokenizer": cutter, "decoder": metaspace}
    xlm = load_tokenizer(write(tmp_path / "xlm", tokenizer=early))
    for kind, ours in (("roberta", roberta), ("xlm-roberta", xlm)):
        expected = loaded[kind][0]
        assert ours.library_class == expected.library_class
        assert [e.ids for e in ours.encode(CORPUS, CORPUS, max_length=90)] == [
            e.ids for e in expected.encode(CORPUS, CORPUS, max_length=90)
        ]


def test_fingerprint_tells_what_decides_the_ids(tmp_path, folders, loaded):
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
    ours = loaded[kind][0]
    again = pickle.loads(pickle.dumps(ours))
    assert again.fingerprint == ours.fingerprint and again.library_class == ours.library_class
    assert [ids.tolist() for ids in again.ids(CORPUS)] == [ids.tolist() for ids in ours.ids(CORPUS)]


def test_loading_needs_no_framework(folders):
    script = (
        "import sys\nfrom pathlib import Path\nfrom bert_jax.text import load_tokenizer\n"
        "for folder in sys.argv[1:]: load_tokenizer(Path(folder)).ids(['a b'])\n"
        "print(sorted({'jax', 'torch', 'transformers', 'tensorflow'}.intersection(sys.modules)))"
    )
    command = [sys.executable, "-c", script, *map(str, folders.values())]
    assert subprocess.check_output(command, text=True).strip() == "[]"


@pytest.mark.parametrize("name", ["DistilBertTokenizer", "ElectraTokenizerFast", "BertTokenizer", None])
@pytest.mark.parametrize("lowercase", [True, False])
def test_wordpiece_of_other_classes_stays_ours(tmp_path, name, lowercase):
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


def refused(folder: Path, **files) -> str:
    with pytest.raises(UserError) as caught:
        load_tokenizer(write(folder, **files))
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
    return str(caught.value)


def test_what_is_no_tokenizer_is_refused_in_one_line(tmp_path, folders):
    table = json.loads((folders["roberta"] / "tokenizer.json").read_text())
    model, config = table["model"], {"tokenizer_class": "RobertaTokenizer"}
    merges = "".join(" ".join(pair) + "\n" for pair in model["merges"])
    kinds = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}

    def with_model(name: str, **changes) -> str:
        return refused(tmp_path / name, tokenizer={**table, "model": {**model, **changes}}, tokenizer_config=config)

    assert "no tokenizer.json and no vocab.txt" in refused(tmp_path / "none", config={})
    assert "WordLevel / None / ByteLevel, where BERT's WordPiece" in refused(
        tmp_path / "kind", tokenizer={**table, "model": kinds}
    )
    assert "not JSON" in refused(tmp_path / "broken", tokenizer=json.dumps(table)[:-20])
    assert "not JSON" in refused(tmp_path / "config", tokenizer=table, tokenizer_config="{")
    assert "not a JSON object" in refused(tmp_path / "parts", tokenizer={"model": [1]})
    assert "without merges" in with_model("no-merges", merges=[])
    assert "merge 0 is 'x yz', but 'yz'" in with_model("merge", merges=["x yz"])
    gap = {text: i + (i > 99) for text, i in model["vocab"].items()}
    assert "no entry has id 100" in with_model("gap", vocab=gap)
    doubled = {text: min(i, 418) for text, i in model["vocab"].items()}
    assert "id 418 stands for" in with_model("doubled", vocab=doubled)
    assert "has id '7'" in with_model("text", vocab={**model["vocab"], "zz": "7"})
    twice = [{**table["added_tokens"][4], "id": 420}]
    assert "'<mask>' has the ids 4 and 420" in refused(tmp_path / "twice", tokenizer={**table, "added_tokens": twice})
    assert "mask_token '<gone>' has no id" in refused(
        tmp_path / "special", tokenizer=table, tokenizer_config={**config, "mask_token": "<gone>"}
    )
    assert "puts no control tokens" in refused(tmp_path / "bare", tokenizer={**table, "post_processor": None})
    template = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 0)])
    made = json.loads(template.__getstate__())
    assert "'0 A' and '0 A B', which no BERT takes" in refused(
        tmp_path / "template", tokenizer={**table, "post_processor": made}
    )
    assert "no merges.txt beside vocab.json" in refused(tmp_path / "vocab", vocab=model["vocab"])
    assert "no vocab.json beside merges.txt" in refused(tmp_path / "merges", merges=merges)
    assert "merges.txt line 1: 'a b c'" in refused(tmp_path / "three", vocab=model["vocab"], merges="a b c\n")
    assert "no merges in it" in refused(tmp_path / "empty", vocab=model["vocab"], merges="#version: 0.2\n")
    without = {text: i for text, i in model["vocab"].items() if text != "<mask>"}
    assert "mask_token '' has no id among 419" in refused(tmp_path / "mask", vocab=without, merges=merges)
    assert "added token 'x y' cannot have id" not in refused(
        tmp_path / "far", vocab=model["vocab"], merges=merges, added_tokens={"x y": 500}
    )
    assert "its added tokens cannot be read" in refused(
        tmp_path / "odd", vocab=model["vocab"], merges=merges, added_tokens={"x y": [1], "y": "b"}
    )
    with pytest.raises(UserError, match="only a WordPiece tokenizer"):
        load_tokenizer(folders["roberta"], lowercase=True)
    with pytest.raises(UserError, match="give the folder"):
        load_tokenizer(folders["roberta"] / "tokenizer.json")


@pytest.mark.parametrize("part", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_cut_short_sentencepiece_model_is_refused(tmp_path, folders, part):
    content = (folders["xlm-roberta-old"] / "sentencepiece.bpe.model").read_bytes()
    message = refused(tmp_path / "t", model=content[: int(part * len(content))])
    assert "SentencePiece model" in message


def test_sentencepiece_models_of_another_kind_are_refused(tmp_path):
    assert "model kind 2, where 1 (unigram)" in refused(tmp_path / "bpe", model=trained_pieces(model_type="bpe"))
    moved = trained_pieces(bos_id=3, pad_id=1)
    assert "its first pieces are <unk>, <pad>, </s>" in refused(tmp_path / "moved", model=moved)
    assert "SentencePiece model" in refused(tmp_path / "prose", model=b"version https://git-lfs.github.com/spec/v1\n")


def test_damaged_unigram_file_is_refused(tmp_path, folders):
    table = json.loads((folders["xlm-roberta"] / "tokenizer.json").read_text(encoding="utf-8"))
    charsmap = table["normalizer"]["precompiled_charsmap"]
    short = {"type": "Precompiled", "precompiled_charsmap": charsmap[: len(charsmap) // 8 * 4]}
    assert "precompiled_charsmap is damaged" in refused(tmp_path / "short", tokenizer={**table, "normalizer": short})
    lost = {**table["model"], "unk_id": None}
    assert "without unk_id" in refused(tmp_path / "unk", tokenizer={**table, "model": lost})
    scoreless = {**table["model"], "vocab": [entry[:1] for entry in table["model"]["vocab"]]}
    assert "damaged" in refused(tmp_path / "scores", tokenizer={**table, "model": scoreless})


@pytest.mark.parametrize("kind", ["roberta", "modernbert", "xlm-roberta"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_damage_to_a_file_ends_in_a_traceback(folders, tmp_path_factory, kind, data):
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
