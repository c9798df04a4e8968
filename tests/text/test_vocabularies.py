"""Unusual WordPiece vocabularies: case, repeated and blank entries, steps of transformers 5, other classes."""

import json
from pathlib import Path

import numpy as np
import pytest

from bert_jax.errors import UserError
from bert_jax.text import load_tokenizer
from bert_jax.text.library_tokenizer import LibraryTokenizer
from bert_jax.text.wordpiece import WordPieceTokenizer
from bert_jax.text.wordpiece_rules import WordPieceRules

CONTROL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
UNCASED = [*CONTROL, *(f"{a}{b}" for a in "abcde" for b in "fghijklmno"), "é", "e", "##e", "电", "apple", "a", "##b"]
TEXT = "Apple é É ABE aee 电a"


def write(folder: Path, vocab: list[str] | None = None, **files) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if vocab is not None:
        (folder / "vocab.txt").write_text("\n".join(vocab) + "\n")
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("vocab", "lowercase"),
    [
        ([*UNCASED, "<S>", "<T>", "[UNUSED7]"], True),
        ([*UNCASED, "Apple"], True),  # 1 of 56
        ([*UNCASED, "Apple", "A"], False),
        ([*CONTROL, "电", "が"], True),
    ],
)
def test_case_is_guessed_from_the_vocabulary_with_a_note(tmp_path, capsys, vocab, lowercase):
    folder = write(tmp_path / "t", vocab)
    for path in (folder, folder / "vocab.txt"):
        tokenizer = load_tokenizer(path)
        assert isinstance(tokenizer, WordPieceTokenizer) and tokenizer.rules.lowercase == lowercase
        notes = capsys.readouterr().err
        assert f"taken as {'uncased' if lowercase else 'cased'}" in notes and notes.count("\n") == 1
        assert load_tokenizer(path, lowercase=not lowercase).rules.lowercase != lowercase
        assert capsys.readouterr().err == ""


@pytest.mark.parametrize("lower", [True, False])
def test_settings_decide_the_case_before_the_vocabulary_does(tmp_path, capsys, lower):
    folder = write(tmp_path / "t", [*UNCASED, "Apple", "A"], tokenizer_config={"do_lower_case": lower})
    for path in (folder, folder / "vocab.txt"):
        assert load_tokenizer(path).rules.lowercase == lower
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("added", [[], ["[E1]"]])
def test_repeated_and_blank_entries_are_read_as_in_hugging_face(tmp_path, capsys, added):
    transformers = pytest.importorskip("transformers")
    vocab = [*UNCASED, "apple ", "", "a", "é", "", "z"]
    files = {"added_tokens": {text: i for i, text in enumerate(added, len(vocab))}} if added else {}
    folder = write(tmp_path / "t", vocab, tokenizer_config={"do_lower_case": True}, **files)
    ours = load_tokenizer(folder)
    notes = capsys.readouterr().err
    assert "3 entries are repeated" in notes and "2 blank entries" in notes and notes.count("\n") == 2
    theirs = transformers.BertTokenizer.from_pretrained(folder)
    assert ours.ids([TEXT])[0].tolist() == theirs(TEXT, add_special_tokens=False)["input_ids"]
    assert ours.vocab_size == len(vocab) + len(added)
    if added:  # transformers gives it the id of "z", because it counts entries
        assert ours.ids(["[E1]z"])[0].tolist() == [len(vocab), len(vocab) - 1]
    ours.save(tmp_path / "saved")
    again, opened = load_tokenizer(tmp_path / "saved"), transformers.BertTokenizer.from_pretrained(tmp_path / "saved")
    assert again.fingerprint == ours.fingerprint and again.vocab_size == ours.vocab_size
    for text in (TEXT, *(f"{name}z" for name in added)):
        assert again.ids([text])[0].tolist() == ours.ids([text])[0].tolist()
        assert opened(text, add_special_tokens=False)["input_ids"] == ours.ids([text])[0].tolist()


def described(normalizer, **files):
    tokenizer = json.loads(
        json.dumps(
            {
                "version": "1.0",
                "added_tokens": [
                    {"id": i, "content": name, "special": True, **dict.fromkeys(FLAGS, False)}
                    for i, name in enumerate(CONTROL)
                ],
                "normalizer": normalizer,
                "pre_tokenizer": {"type": "BertPreTokenizer"},
                "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
                "decoder": None,
                "model": {
                    "type": "WordPiece",
                    "unk_token": "[UNK]",
                    "continuing_subword_prefix": "##",
                    "max_input_chars_per_word": 100,
                    "vocab": {entry: i for i, entry in enumerate([*UNCASED, "A", "fi", "##fi", "ﬁ"])},
                },
            }
        )
    )
    return {"tokenizer": tokenizer, **files}


FLAGS = ("single_word", "lstrip", "rstrip", "normalized")
BERT_NORMALIZER = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None}
NORMALIZERS = {
    "lowercase-uncased": [{"type": "Lowercase"}, {**BERT_NORMALIZER, "lowercase": True}],
    "lowercase-cased": [{"type": "Lowercase"}, {**BERT_NORMALIZER, "lowercase": False}],
    "bert": [{**BERT_NORMALIZER, "lowercase": False}],
    "nfkc": [{"type": "NFKC"}],
    "nfkc-lowercase": [{"type": "NFKC"}, {"type": "Lowercase"}],
    "none": None,
}


@pytest.mark.parametrize("class_name", ["PreTrainedTokenizerFast", "TokenizersBackend", "BertTokenizer"])
@pytest.mark.parametrize("steps", NORMALIZERS)
def test_normalizers_of_transformers_5_give_its_ids(tmp_path, steps, class_name):
    transformers = pytest.importorskip("transformers")
    parts = NORMALIZERS[steps]
    normalizer = parts if parts is None or len(parts) == 1 else {"type": "Sequence", "normalizers": parts}
    normalizer = normalizer[0] if isinstance(normalizer, list) else normalizer
    settings = {"tokenizer_class": class_name, "do_lower_case": steps == "lowercase-uncased"}
    settings |= {f"{name[1:-1].lower()}_token": name for name in CONTROL}
    files = described(normalizer, tokenizer_config=settings, config={"model_type": "bert"})
    folder = write(tmp_path / "t", **files)
    ours, theirs = load_tokenizer(folder), transformers.AutoTokenizer.from_pretrained(folder)
    texts = [TEXT, "ﬁAB ＡPPLE", "A e\u0301 apple", "ﬁ"]
    assert [ids.tolist() for ids in ours.ids(texts)] == theirs(texts, add_special_tokens=False)["input_ids"]
    assert isinstance(ours, LibraryTokenizer) == (
        class_name != "BertTokenizer" and ("nfkc" in steps or steps == "none")
    )
    ours.save(tmp_path / "saved")
    again, opened = load_tokenizer(tmp_path / "saved"), transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert again.fingerprint == ours.fingerprint
    assert opened(texts, add_special_tokens=False)["input_ids"] == [ids.tolist() for ids in ours.ids(texts)]


def test_note_says_when_the_tokenizer_class_ignores_the_file(tmp_path, capsys):
    files = described({"type": "Sequence", "normalizers": NORMALIZERS["lowercase-cased"]})
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": False}
    assert load_tokenizer(write(tmp_path / "t", tokenizer_config=settings, **files)).rules.lowercase is False
    assert "not lower-cased, as do_lower_case of tokenizer_config.json says" in capsys.readouterr().err


def test_lowercase_before_bert_normalizer_equals_one_bert_normalizer():
    from tokenizers import normalizers

    for lowercase in (True, False):
        both = normalizers.Sequence([normalizers.Lowercase(), normalizers.BertNormalizer(lowercase=lowercase)])
        one = normalizers.BertNormalizer(lowercase=True, strip_accents=lowercase)
        for start in range(0, 0x11000, 0x800):
            text = "x".join(chr(i) for i in range(start, start + 0x800) if not 0xD800 <= i < 0xE000)
            assert both.normalize_str(text) == one.normalize_str(text)


@pytest.mark.parametrize(
    ("settings", "config", "says"),
    [
        ({"tokenizer_class": "BertJapaneseTokenizer"}, {}, "older files of BertJapaneseTokenizer"),
        ({"word_tokenizer_type": "mecab"}, {"model_type": "bert"}, "older files of BertJapaneseTokenizer"),
        ({}, {"tokenizer_class": "HerbertTokenizerFast"}, "older files of HerbertTokenizer"),
        ({}, {"model_type": "roformer"}, "older files of RoFormerTokenizer"),
        ({"tokenizer_class": "RobertaTokenizer"}, {}, "no file of RobertaTokenizer"),
    ],
)
def test_files_of_other_classes_are_refused_by_every_verb(tmp_path, settings, config, says):
    from bert_jax import cli

    folder = write(tmp_path / "t", UNCASED, tokenizer_config=settings, config=config)
    (tmp_path / "corpus.txt").write_text("a b\n")
    for path in (folder, folder / "vocab.txt"):
        with pytest.raises(UserError, match=says):
            load_tokenizer(path)
    corpus = ["--input", str(tmp_path / "corpus.txt"), "--output", str(tmp_path / "out")]
    for words in (
        ["prep", "shards", *corpus, "--tokenizer", str(folder)],
        ["prep", "vocab", *corpus, "--extend", str(folder / "vocab.txt")],
        ["prep", "report", *corpus, "--tokenizer", str(folder)],
    ):
        assert cli.main(words) == 1
    assert not (tmp_path / "out").exists()


def test_class_written_in_python_is_refused_even_with_a_tokenizer_json(tmp_path):
    for class_name in ("BertJapaneseTokenizer", "RoFormerTokenizerFast", "BertweetTokenizer"):
        files = described({**BERT_NORMALIZER, "lowercase": True}, tokenizer_config={"tokenizer_class": class_name})
        with pytest.raises(UserError, match="cuts texts by rules of its own"):
            load_tokenizer(write(tmp_path / class_name, **files))


def test_vocabulary_beside_bpe_codes_is_refused(tmp_path):
    folder = write(tmp_path / "t", UNCASED)
    (folder / "bpe.codes").write_text("a b 1\n")
    with pytest.raises(UserError, match=r"bpe\.codes beside it"):
        load_tokenizer(folder)


def test_sentencepiece_file_of_another_name_is_read_for_its_class_only(tmp_path, folders):
    transformers = pytest.importorskip("transformers")
    pieces = (folders["xlm-roberta-old"] / "sentencepiece.bpe.model").read_bytes()
    expected = transformers.XLMRobertaTokenizer.from_pretrained(folders["xlm-roberta-old"])(TEXT)["input_ids"]
    for name in ("spm.model", "spiece.model"):
        folder = write(tmp_path / name, config={"model_type": "xlm-roberta"})
        (folder / name).write_bytes(pieces)
        assert load_tokenizer(folder).encode([TEXT], max_length=200)[0].ids == expected
        (folder / "config.json").write_text("{}")
        with pytest.raises(UserError, match="no file names the class of this tokenizer"):
            load_tokenizer(folder)
        (folder / "config.json").write_text('{"model_type": "deberta-v2"}')
        with pytest.raises(UserError, match="older files of DebertaV2Tokenizer"):
            load_tokenizer(folder)


def test_control_tokens_outside_the_vocabulary_have_ids_and_stay_text(tmp_path):
    transformers = pytest.importorskip("transformers")
    without = [entry for entry in UNCASED if entry not in ("[MASK]", "[PAD]")]
    added = {"[E1]": len(without), "<mask>": len(without) + 1, "[PAD]": len(without) + 2, "[E2]": len(without) + 3}
    folder = write(
        tmp_path / "t",
        without,
        tokenizer_config={"do_lower_case": True},
        added_tokens=added,
        special_tokens_map={"mask_token": "<mask>", "pad_token": "[PAD]"},
    )
    ours, theirs = load_tokenizer(folder), transformers.BertTokenizer.from_pretrained(folder)
    assert (ours.special.mask, ours.special.pad) == (theirs.mask_token_id, theirs.pad_token_id)
    assert ours.vocab_size == len(theirs)
    text = "a[E1] apple [E2]"
    assert ours.ids([text])[0].tolist() == theirs(text, add_special_tokens=False)["input_ids"]
    assert not {ours.special.mask, ours.special.pad} & set(np.concatenate(ours.ids(["<mask> [PAD]"])).tolist())
    ours.save(tmp_path / "saved")
    again, opened = load_tokenizer(tmp_path / "saved"), transformers.BertTokenizer.from_pretrained(tmp_path / "saved")
    assert again.fingerprint == ours.fingerprint and len(opened) == ours.vocab_size
    assert opened(text, add_special_tokens=False)["input_ids"] == ours.ids([text])[0].tolist()


def test_pickled_vocabulary_with_repeated_entries_is_the_same():
    import pickle

    tokenizer = WordPieceTokenizer([*UNCASED, "apple", "", "b"], WordPieceRules(lowercase=True))
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again.fingerprint == tokenizer.fingerprint
    assert again.ids([TEXT])[0].tolist() == tokenizer.ids([TEXT])[0].tolist()
    assert tokenizer.ids(["apple"])[0].tolist() == [len(UNCASED)]
