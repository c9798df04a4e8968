"""WordPiece folders: round trips, exchange with Hugging Face, refusals."""

import json

import pytest

from bert_jax.errors import UserError
from bert_jax.text import load_tokenizer
from bert_jax.text.wordpiece import WordPieceTokenizer
from bert_jax.text.wordpiece_rules import AddedToken, WordPieceRules

CONTROL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCAB = [*CONTROL, "a", "b", "ab", "##b", "##c", "é", ".", ",", "[unused1]", "Ab"]
TEXT = "ab AB é É abc. [SEP] b,日"


@pytest.mark.parametrize(
    "rules",
    [WordPieceRules(lowercase=True), WordPieceRules(lowercase=False), WordPieceRules(True, strip_accents=False)],
)
def test_folder_round_trip_keeps_the_fingerprint(tmp_path, rules):
    tokenizer = WordPieceTokenizer(VOCAB, rules)
    tokenizer.save(tmp_path / "new" / "tokenizer")
    assert load_tokenizer(tmp_path / "new" / "tokenizer").fingerprint == tokenizer.fingerprint
    (tmp_path / "new" / "tokenizer" / "tokenizer.json").unlink()
    assert load_tokenizer(tmp_path / "new" / "tokenizer").fingerprint == tokenizer.fingerprint


def test_added_tokens_survive_the_round_trip(tmp_path):
    tokenizer = WordPieceTokenizer(
        VOCAB, WordPieceRules(True, added=(AddedToken("[URL]", 15), AddedToken("[unused1]", 13)))
    )
    tokenizer.save(tmp_path / "t")
    again = load_tokenizer(tmp_path / "t")
    assert set(again.rules.added) == set(tokenizer.rules.added)
    assert again.ids(["a[URL]"])[0].tolist() == [5, 15]


@pytest.mark.parametrize("name", ["AutoTokenizer", "BertTokenizer", "BertTokenizerFast"])
@pytest.mark.parametrize("lowercase", [True, False])
def test_hugging_face_opens_what_we_save(tmp_path, name, lowercase):
    transformers = pytest.importorskip("transformers")
    tokenizer = WordPieceTokenizer(VOCAB, WordPieceRules(lowercase=lowercase))
    tokenizer.save(tmp_path / "t")
    theirs = getattr(transformers, name).from_pretrained(tmp_path / "t")
    text = TEXT.replace("[SEP]", "")
    ours = tokenizer.encode([text], ["b a"], max_length=64)[0]
    assert theirs(text, "b a")["input_ids"] == ours.ids
    assert theirs(text, "b a")["token_type_ids"] == ours.segments
    assert theirs.mask_token_id == tokenizer.special.mask and theirs.pad_token_id == tokenizer.special.pad


@pytest.mark.parametrize("lowercase", [True, False])
def test_we_open_what_hugging_face_saves(tmp_path, lowercase):
    transformers = pytest.importorskip("transformers")
    (tmp_path / "vocab.txt").write_text("\n".join(VOCAB) + "\n")
    theirs = transformers.BertTokenizer(str(tmp_path / "vocab.txt"), do_lower_case=lowercase)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load_tokenizer(tmp_path / "theirs")
    assert ours.fingerprint == WordPieceTokenizer(VOCAB, WordPieceRules(lowercase=lowercase)).fingerprint


def test_save_into_a_folder_keeps_other_files_and_leaves_no_temporary_files(tmp_path):
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "config.json").write_text("{}")
    WordPieceTokenizer(VOCAB, WordPieceRules(lowercase=True)).save(tmp_path / "t")
    names = {path.name for path in (tmp_path / "t").iterdir()}
    assert names == {"config.json", "vocab.txt", "tokenizer.json", "tokenizer_config.json"}
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_case_is_guessed_from_a_bare_vocabulary(tmp_path, ending):
    path = tmp_path / "vocab.txt"
    path.write_text("﻿" + ending.join(VOCAB) + ending, newline="")
    assert load_tokenizer(path).rules.lowercase is False
    assert load_tokenizer(path, lowercase=True).rules.lowercase is True
    path.write_text(ending.join(VOCAB[:-1]), newline="")
    assert load_tokenizer(path).rules.lowercase is True
    assert load_tokenizer(path).vocab == tuple(VOCAB[:-1])


def test_unreadable_files_are_refused_in_one_line(tmp_path):
    def error_message(path, content):
        if content is not None:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        with pytest.raises(UserError) as caught:
            load_tokenizer(path if path.suffix == ".txt" else path.parent)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "no such file" in error_message(tmp_path / "absent.txt", None)
    assert "empty vocabulary" in error_message(tmp_path / "empty.txt", b"")
    assert "no [PAD]" in error_message(tmp_path / "prose.txt", b"hello\nworld\n")
    assert "not UTF-8 at byte 2" in error_message(tmp_path / "latin.txt", b"a\n\xe9\n")
    assert "no tokenizer.json and no vocab.txt" in error_message(tmp_path / "a" / "other.json", b"{}")
    assert "not JSON" in error_message(tmp_path / "b" / "tokenizer.json", b"{")
    assert "where BERT's WordPiece is expected" in error_message(
        tmp_path / "c" / "tokenizer.json", b'{"model":{"type":"BPE"}}'
    )
    assert "object is expected" in error_message(tmp_path / "d" / "tokenizer.json", b"[]")


def test_stale_vocabulary_beside_tokenizer_json_is_refused(tmp_path):
    WordPieceTokenizer(VOCAB, WordPieceRules(lowercase=True)).save(tmp_path / "t")
    (tmp_path / "t" / "vocab.txt").write_text("\n".join([*VOCAB[:-1], "other"]))
    with pytest.raises(UserError, match="hold different vocabularies"):
        load_tokenizer(tmp_path / "t")


@pytest.mark.parametrize("part", ["model", "normalizer"])
def test_damaged_tokenizer_json_is_refused(tmp_path, part):
    WordPieceTokenizer(VOCAB, WordPieceRules(lowercase=True)).save(tmp_path / "t")
    path = tmp_path / "t" / "tokenizer.json"
    content = json.loads(path.read_text())
    content[part].popitem()
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"tokenizer\.json"):
        load_tokenizer(tmp_path / "t")


@pytest.mark.parametrize("key", ["do_lower_case", "strip_accents", "tokenize_chinese_chars"])
@pytest.mark.parametrize("kept", ["vocab.txt", "tokenizer.json"])
def test_setting_that_is_neither_true_nor_false_is_refused(tmp_path, key, kept):
    WordPieceTokenizer(VOCAB, WordPieceRules(lowercase=False)).save(tmp_path / "t")
    (tmp_path / "t" / ({"vocab.txt", "tokenizer.json"} - {kept}).pop()).unlink()
    settings = json.loads((tmp_path / "t" / "tokenizer_config.json").read_text())
    for value in ("false", 0):
        (tmp_path / "t" / "tokenizer_config.json").write_text(json.dumps({**settings, key: value}))
        with pytest.raises(UserError, match=rf"tokenizer_config\.json: {key} is {value!r}; true, false or null"):
            load_tokenizer(tmp_path / "t")
    (tmp_path / "t" / "tokenizer_config.json").write_text(json.dumps({**settings, key: None}))
    assert load_tokenizer(tmp_path / "t").rules.split_chinese


def test_string_for_a_flag_of_tokenizer_json_is_refused(tmp_path):
    WordPieceTokenizer(VOCAB, WordPieceRules(lowercase=False)).save(tmp_path / "t")
    path = tmp_path / "t" / "tokenizer.json"
    path.write_text(path.read_text().replace('"lowercase": false', '"lowercase": "false"'))
    with pytest.raises(UserError, match=r"tokenizer\.json: lowercase is 'false'; true, false or null"):
        load_tokenizer(tmp_path / "t")
