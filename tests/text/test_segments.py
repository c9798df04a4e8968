"""Segments follow the tokenizer's files and equal the token types that Hugging Face gives to a model."""

import itertools
import json
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from library_folders import write
from tokenizers import models, normalizers, pre_tokenizers, processors

from bert_jax.data.encoded import encode_rows
from bert_jax.data.labelled.rows import rows_of
from bert_jax.data.windows import windows_of_pairs
from bert_jax.errors import UserError
from bert_jax.text import load_tokenizer
from bert_jax.text.token_layout import Layout
from bert_jax.text.wordpiece import WordPieceTokenizer
from bert_jax.text.wordpiece_rules import WordPieceRules

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "##d"]
CLS, SEP = ("[CLS]", 2), ("[SEP]", 3)


def template(pair: str) -> processors.PostProcessor:
    return processors.TemplateProcessing(single="[CLS] $A [SEP]", pair=pair, special_tokens=[CLS, SEP])


PROCESSORS = {
    "bert": processors.BertProcessing(SEP, CLS),
    "roberta": processors.RobertaProcessing(SEP, CLS),
    "two": template("[CLS] $A [SEP] $B:1 [SEP]:1"),
    "one": template("[CLS] $A [SEP] $B [SEP]"),
    "two-apart": template("[CLS] $A [SEP] [SEP] $B:1 [SEP]:1"),
    "odd": template("[CLS] $A [SEP] $B:1 [SEP]"),
    "early": template("[CLS] $A [SEP]:1 $B:1 [SEP]:1"),
    "none": None,
}
CLASSES = ["BertTokenizerFast", "ElectraTokenizer", "DistilBertTokenizer", "PreTrainedTokenizerFast", "MPNetTokenizer"]
WITHOUT, WITH = ["input_ids", "attention_mask"], ["input_ids", "token_type_ids", "attention_mask"]


def make(folder: Path, processor: str, named: str | None, names: list[str] | None = None, model: str = "bert") -> Path:
    backend = tokenizers.Tokenizer(models.WordPiece({text: i for i, text in enumerate(VOCAB)}, unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    if PROCESSORS[processor] is not None:
        backend.post_processor = PROCESSORS[processor]
    backend.add_special_tokens(VOCAB[:5])
    settings_table = {f"{name[1:-1].lower()}_token": name for name in VOCAB[:5]}
    settings_table |= {"tokenizer_class": named} if named else {}
    settings_table |= {"model_input_names": names} if names else {}
    return write(folder, tokenizer=backend.to_str(), tokenizer_config=settings_table, config={"model_type": model})


def types(theirs, ids: list[int]) -> list[int]:
    """Return the token types that the model gets: zeros if the tokenizer gives none."""
    return theirs.get("token_type_ids") or [0] * len(ids)


@pytest.mark.parametrize(("named", "processor"), itertools.product([*CLASSES, None], PROCESSORS))
def test_segments_equal_hugging_face_or_are_refused(tmp_path, named, processor):
    transformers = pytest.importorskip("transformers")
    loaded = 0
    for names in (None, WITHOUT, WITH):
        folder = make(tmp_path / str(names), processor, named, names)
        try:
            ours = load_tokenizer(folder)
        except UserError as error:
            assert "\n" not in str(error) and "post_processor" in str(error)
            continue
        loaded += 1
        ours.save(tmp_path / "saved" / str(names))
        again = load_tokenizer(tmp_path / "saved" / str(names))
        assert again.fingerprint == ours.fingerprint
        for tokenizer, path in ((ours, folder), (again, tmp_path / "saved" / str(names))):
            expected = transformers.AutoTokenizer.from_pretrained(path)("a cd", "b a c")
            encoding = tokenizer.encode(["a cd"], ["b a c"], max_length=20)[0]
            assert encoding.ids == expected["input_ids"]
            assert encoding.segments == types(expected, encoding.ids)
    published = {"bert": [*CLASSES[:4], None], "two": [*CLASSES[:4], None], "roberta": CLASSES[3:], "one": CLASSES[3:4]}
    assert loaded == 3 or named not in published.get(processor, [])


def test_folders_that_two_versions_of_transformers_read_differently_are_refused(tmp_path):
    def error_message(processor, named, names=None):
        with pytest.raises(UserError) as caught:
            load_tokenizer(make(tmp_path / f"{processor}{named}{names}", processor, named, names))
        return str(caught.value)

    assert (
        "1 control tokens between two texts and gives a pair 2 segments; its post_processor puts 1, of types 0 0 0 0 0"
        in (error_message("one", "BertTokenizer"))
    )
    assert "its post_processor puts 2" in error_message("roberta", "BertTokenizer", WITHOUT)
    assert "the types 0 0 0 1 0; 0 before the second text" in error_message("odd", "PreTrainedTokenizerFast", WITH)
    assert "the types 0 0 1 1 1" in error_message("early", "PreTrainedTokenizerFast", WITH)
    assert "no post_processor, so no control tokens are put around a text" in error_message("none", "TokenizersBackend")


@pytest.mark.parametrize(
    ("single", "pair", "reason"),
    [
        ("$A [SEP]", "$A [SEP] $B [SEP]", "'A 3' and 'A 3 B 3', which no BERT takes"),
        ("[CLS] $A", "[CLS] $A $B", "'2 A' and '2 A B', which no BERT takes"),
        ("[CLS] $B [SEP]", "[CLS] $B [SEP] $A [SEP]", "which no BERT takes"),
        ("[CLS]:1 $A:1 [SEP]:1", "[CLS] $A [SEP] $B:1 [SEP]:1", "a single text the types 1 1 1; 0 is expected"),
    ],
)
def test_templates_that_no_bert_uses_are_refused(tmp_path, single, pair, reason):
    folder = make(tmp_path / "t", "two", "PreTrainedTokenizerFast")
    table = json.loads((folder / "tokenizer.json").read_text())
    template = processors.TemplateProcessing(single=single.replace("$B", "$A"), pair=pair, special_tokens=[CLS, SEP])
    table["post_processor"] = json.loads(template.__getstate__())
    if "$B" in single:
        table["post_processor"]["single"][1]["Sequence"]["id"] = "B"
    (folder / "tokenizer.json").write_text(json.dumps(table))
    with pytest.raises(UserError, match=reason):
        load_tokenizer(folder)


def test_control_tokens_that_differ_between_file_and_settings_are_refused(tmp_path):
    folder = make(tmp_path / "t", "bert", "BertTokenizer")
    settings_table = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings_table | {"sep_token": "c"}))
    with pytest.raises(UserError, match=r"puts the ids 2 and 3 around a text, but \[CLS\] and c have the ids 2 and 7"):
        load_tokenizer(folder)


@pytest.mark.parametrize(
    ("named", "names", "segments"),
    [
        (None, None, 2),
        ("BertTokenizer", None, 2),
        ("BertTokenizer", WITHOUT, 1),
        ("DistilBertTokenizer", None, 1),
        ("DistilBertTokenizer", WITH, 2),
    ],
)
def test_folder_without_tokenizer_json_has_the_segments_of_its_class(tmp_path, named, names, segments):
    settings_table = {"tokenizer_class": named, "model_input_names": names}
    folder = write(tmp_path / "t", tokenizer_config={key: value for key, value in settings_table.items() if value})
    (folder / "vocab.txt").write_text("\n".join(VOCAB) + "\n")
    assert load_tokenizer(folder).segments == segments
    if named is not None and (transformers := pytest.importorskip("transformers")):
        (folder / "config.json").write_text('{"model_type": "bert"}')
        expected = transformers.AutoTokenizer.from_pretrained(folder)("a", "b")
        assert (
            types(expected, expected["input_ids"])
            == load_tokenizer(folder).encode(["a"], ["b"], max_length=9)[0].segments
        )


def test_folder_without_model_config_has_the_segments_of_its_template(tmp_path):
    for processor, segments in (("two", 2), ("one", 1), ("two-apart", 2), ("roberta", 1)):
        folder = make(tmp_path / processor, processor, None)
        (folder / "config.json").unlink()
        assert load_tokenizer(folder).segments == segments


def test_two_segments_keep_the_fingerprint_of_earlier_releases():
    two, one = (WordPieceTokenizer(VOCAB, WordPieceRules(lowercase=True, segments=segments)) for segments in (2, 1))
    assert two.fingerprint == "e0af7fd6e64aa97172f2b534326fbde1e737f75d324903b9ede5188431513b8b"
    assert one.fingerprint != two.fingerprint


TEXT = st.lists(st.sampled_from("abc"), max_size=9).map(" ".join)


@settings(deadline=None)
@given(a=TEXT, b=TEXT, segments=st.sampled_from([1, 2]), max_length=st.integers(7, 20))
def test_rows_and_windows_have_the_segments_of_the_tokenizer(a, b, segments, max_length):
    tokenizer = WordPieceTokenizer(VOCAB, WordPieceRules(lowercase=True, segments=segments))
    expected = tokenizer.encode([a], [b], max_length=max_length)[0].segments
    encoded = encode_rows(rows_of([a], [b]), tokenizer, max_length)
    assert expected == [int(i >= encoded.segment_b[0]) for i in range(len(expected))]
    windows = windows_of_pairs(tokenizer, [a], [b], max_length)
    starts = windows.before if segments == 2 else windows.encoded.lengths
    assert windows.encoded.segment_b.tolist() == starts.tolist()


def test_layout_counts_segments():
    assert Layout(1, 2, 1, (0, 0, 0, 1, 1)).segments == 2
    assert Layout(1, 2, 2, (0, 0, 0, 0, 0, 0)).segments == 1
    assert Layout(1, 2, 1, (0, 0, 0, 2, 2)).segments is None
