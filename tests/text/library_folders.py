"""Small tokenizer folders in the layout of each family, and the comparison with Hugging Face."""

import io
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import tokenizers
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors, trainers

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
    model_file = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=model_file,
        vocab_size=320,
        hard_vocab_limit=False,
        character_coverage=1.0,
        num_threads=1,
        minloglevel=2,
        **options,
    )
    return model_file.getvalue()


def write(folder: Path, **files) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        name = {"model": "sentencepiece.bpe.model", "merges": "merges.txt"}.get(name, f"{name}.json")
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            (folder / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return folder


def make_folders(tmp_path_factory) -> dict[str, Path]:
    """Write one folder of each kind, as published models have them."""
    transformers = pytest.importorskip("transformers")
    root = tmp_path_factory.mktemp("tokenizers")
    folders = {}

    backend = byte_level(420, ROBERTA)
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), True, False)
    plain = {"tokenizer_class": "RobertaTokenizer", "model_max_length": 512}
    folders["roberta"] = write(root / "roberta", tokenizer=backend.to_str(), tokenizer_config=plain)
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
    folders["roberta-old"] = write(
        root / "roberta-old",
        vocab=model["vocab"],
        merges=merges,
        special_tokens_map=names,
        config={"model_type": "roberta"},
    )
    prefixed = {**plain, "tokenizer_class": "RobertaTokenizerFast", "add_prefix_space": True}
    folders["roberta-prefixed"] = write(
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
    backend.enable_truncation(7)  # as sentence-transformers saves it
    backend.enable_padding(length=20)
    control_settings = {f"{name[1:-1].lower()}_token": name for name in BERT}
    general = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 8192}
    folders["modernbert"] = write(
        root / "modernbert",
        tokenizer=backend.to_str(),
        tokenizer_config={**general, **control_settings, "clean_up_tokenization_spaces": True},
    )

    pieces = trained_pieces()
    class_name = {"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": 512}
    folders["xlm-roberta-old"] = write(root / "xlm-roberta-old", model=pieces, tokenizer_config=class_name)
    folders["xlm-roberta"] = root / "xlm-roberta"
    transformers.XLMRobertaTokenizer.from_pretrained(folders["xlm-roberta-old"]).save_pretrained(folders["xlm-roberta"])
    table = json.loads((folders["xlm-roberta"] / "tokenizer.json").read_text(encoding="utf-8"))
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
    folders["e5"] = write(root / "e5", tokenizer=table, tokenizer_config={**general, **special})

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
    folders["mpnet"] = write(root / "mpnet", tokenizer=wordpiece.to_str(), tokenizer_config={**general, **special})
    return folders


def assert_same(ours, theirs, texts: list[str], pairs: list[str], max_length: int) -> None:
    """Check ids, offsets and truncation against Hugging Face.

    `texts` and `pairs` have the same length and contain no control tokens.
    """
    clean_texts, clean_pairs = ([without_surrogates(text) for text in side] for side in (texts, pairs))
    options = {"split_special_tokens": True, "padding": False}
    expected = theirs(clean_texts, add_special_tokens=False, **options)["input_ids"]
    assert [ids.tolist() for ids in ours.ids(texts)] == expected
    flat, offsets = ours.ids_flat(texts)
    assert flat.dtype == np.int32 and flat.tolist() == list(itertools.chain.from_iterable(expected))
    assert offsets.dtype == np.int64 and np.diff(offsets).tolist() == [len(ids) for ids in expected]
    cut = {"truncation": "longest_first", "max_length": max_length, "return_offsets_mapping": True, **options}
    single, pair = theirs(clean_texts, **cut), theirs(clean_texts, clean_pairs, **cut)
    for i, encoding in enumerate(ours.encode(texts, max_length=max_length)):
        assert encoding.ids == single["input_ids"][i]
        assert encoding.offsets == single["offset_mapping"][i]
    lengths = [len(ids) for ids in theirs(clean_pairs, add_special_tokens=False, **options)["input_ids"]]
    for i, encoding in enumerate(ours.encode(texts, pairs, max_length=max_length)):
        room = max_length - 2 - ours.separators
        if (
            room % 2 == 0 or min(len(expected[i]), lengths[i]) <= room // 2
        ):  # for a tie, Hugging Face cuts the other text
            assert encoding.ids == pair["input_ids"][i]
            assert encoding.offsets == pair["offset_mapping"][i]
        assert len(encoding.ids) == len(encoding.segments) <= max_length
        assert encoding.dropped == len(expected[i]) + lengths[i] - len(encoding.ids) + 2 + ours.separators


def without_surrogates(text: str) -> str:
    return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
