"""Shards of every kind follow its rules, and examples that break a rule are found."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from stories import read_rows
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from bert_jax.data.pretraining.record import Manifest, read_manifest
from bert_jax.text import load_tokenizer
from data_prep.checking.check import check_shards
from data_prep.checking.example_rules import find_problem
from data_prep.checking.shown_examples import show_examples
from data_prep.examples.builders import ROW_MAKERS
from data_prep.job.build import build_shards


@pytest.fixture
def pieces(tmp_path):
    """A vocabulary that cuts the words of `story` into up to three pieces."""
    letters = [*"bdfgklmnprst", *(f"##{letter}" for letter in "aeingous")]
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "ba", *letters]
    (tmp_path / "pieces.txt").write_text("\n".join(entries) + "\n")
    return str(tmp_path / "pieces.txt")


def build_rows(configure, **changes) -> tuple[np.ndarray, Manifest, tuple]:
    """Build shards. Return the training examples, the manifest, and (special ids, continuation of words)."""
    config = configure(**changes)
    manifest = build_shards(config)
    tokenizer = load_tokenizer(Path(config.output) / "tokenizer")
    return (
        read_rows(Path(config.output), manifest, "train").copy(),
        manifest,
        (tokenizer.special, tokenizer.continuations()),
    )


@pytest.mark.parametrize("unit", ["token", "word", "ngram"])
@pytest.mark.parametrize("kind", ROW_MAKERS)
def test_shards_of_every_kind_and_mask_unit_pass_the_check(tmp_path, configure, pieces, kind, unit):
    config = configure(examples=kind, mask_unit=unit, tokenizer=pieces, length=40, mask_rate=0.3)
    manifest = build_shards(config)
    assert check_shards(tmp_path / "shards") == manifest == read_manifest(tmp_path / "shards")
    assert (manifest.kind, manifest.masking.unit, manifest.masking.rate) == (kind, unit, 0.3)
    lowest = 0.2 if kind in ("pairs", "sentence-order") else 0.22
    assert lowest < manifest.statistics["share_masked"] < 0.31
    assert 0 <= manifest.statistics["share_padding"] < (0.1 if kind == "packed" else 0.5)


@pytest.mark.parametrize("kind", ROW_MAKERS)
def test_dynamic_shards_have_the_same_text_and_no_masks(tmp_path, configure, kind):
    static, manifest, _ = build_rows(configure, examples=kind, dupe_factor=None)
    build_shards(configure("dynamic", examples=kind, masking="dynamic", dupe_factor=None))
    dynamic = check_shards(tmp_path / "dynamic")
    rows = read_rows(tmp_path / "dynamic", dynamic, "train")
    passes = manifest.dupe_factor // dynamic.dupe_factor
    assert passes == (1 if kind in ("pairs", "sentence-order") else 10)
    if passes > 1:
        assert len(static) == passes * len(rows)
    assert not {"masked_count", "masked_labels", "masked_positions"} & set(rows.dtype.names)
    assert dynamic.fingerprint != manifest.fingerprint and "share_masked" not in dynamic.statistics


def test_fingerprint_depends_on_the_settings_of_dynamic_masks(configure):
    fingerprints = [
        build_shards(configure(name, masking="dynamic", **changes)).fingerprint
        for name, changes in (("a", {}), ("b", {}), ("c", {"mask_rate": 0.3}), ("d", {"mask_unit": "word"}))
    ]
    assert fingerprints[0] == fingerprints[1] and len(set(fingerprints)) == 3


@pytest.mark.parametrize(
    ("kind", "damage", "says"),
    [
        ("packed", lambda row, special: row["starts"].__setitem__(0, row["starts"][0] ^ 1), "outside of the text"),
        ("packed", lambda row, special: row["starts"].__setitem__(-1, 128), "beyond the row"),
        ("packed", lambda row, special: row["starts"].__setitem__(0, row["starts"][0] ^ 4), "not start with"),
        ("packed", lambda row, special: row["tokens"].__setitem__(2, special.sep), "not end with"),
        ("packed", lambda row, special: row["tokens"].__setitem__(2, special.cls), "not start with"),
        ("full-sentences", lambda row, special: row["tokens"].__setitem__(2, special.cls), "a [CLS]"),
        ("full-sentences", lambda row, special: row["tokens"].__setitem__(slice(2, 4), special.sep), "empty document"),
        ("document-sentences", lambda row, special: row["tokens"].__setitem__(2, special.sep), "a control token"),
        ("sentence-order", lambda row, special: row.__setitem__("next_label", 2), "pair label"),
        ("sentence-order", lambda row, special: row.__setitem__("segment_b", 2), "end of a segment"),
    ],
)
def test_example_that_breaks_a_rule_of_its_kind_is_reported(configure, kind, damage, says):
    rows, manifest, (special, continues) = build_rows(configure, examples=kind, masking="dynamic", dupe_factor=1)
    rows = rows[rows["length"] > 8]
    assert find_problem(rows, manifest, special, continues) is None
    damage(rows[1], special)
    assert says in (find_problem(rows, manifest, special, continues) or "nothing")


def test_partly_masked_word_is_reported(configure, pieces):
    rows, manifest, (special, continues) = build_rows(configure, mask_unit="word", tokenizer=pieces)
    assert find_problem(rows, manifest, special, continues) is None
    count = int(rows[1]["masked_count"])
    rows = rows[1:2]
    rows["masked_count"] = count - 1
    label, position = rows["masked_labels"][0, count - 1], rows["masked_positions"][0, count - 1]
    assert continues[label]  # the last piece of a word
    rows["tokens"][0, position] = label
    rows["masked_labels"][0, count - 1] = rows["masked_positions"][0, count - 1] = 0
    assert find_problem(rows, manifest, special, continues) == "a word that is masked in part"


@pytest.fixture
def two_separators(tmp_path, corpus) -> str:
    """A byte-level BPE folder with two separators between the texts of a pair, as RoBERTa has."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    control = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=control, initial_alphabet=alphabet, show_progress=False
    )
    backend.train([str(path) for path in sorted(corpus.glob("*.txt"))], trainer)
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), True, False)
    (tmp_path / "bpe").mkdir()
    backend.save(str(tmp_path / "bpe" / "tokenizer.json"))
    (tmp_path / "bpe" / "tokenizer_config.json").write_text('{"tokenizer_class": "RobertaTokenizer"}')
    return str(tmp_path / "bpe")


def test_pairs_have_the_separators_of_the_tokenizer(tmp_path, configure, two_separators):
    rows, manifest, (special, _) = build_rows(configure, tokenizer=two_separators, mask_unit="word", length=61)
    assert check_shards(tmp_path / "shards") == manifest and manifest.separators == 2
    assert manifest.segments == 1  # RoBERTa's
    row, b = np.arange(len(rows)), rows["segment_b"].astype(int)
    for place in (b - 1, b - 2, rows["length"].astype(int) - 1):
        assert (rows["tokens"][row, place] == special.sep).all()
    assert (rows["tokens"] == special.sep).sum() == 3 * len(rows)
    assert rows["length"].max() == 61 and 0.1 < manifest.statistics["share_masked"] < 0.16
    one_separator = dataclasses.replace(manifest, separators=1)
    rows["tokens"][0, b[0] - 2] = special.mask
    assert find_problem(rows, one_separator, special) is None
    assert "end of a segment" in find_problem(rows, manifest, special)


@pytest.mark.parametrize("kind", ROW_MAKERS)
def test_examples_of_each_kind_are_shown(tmp_path, configure, kind):
    manifest = build_shards(configure(examples=kind, masking="dynamic", dupe_factor=None, length=61))
    lines = [line.plain for line in show_examples(tmp_path / "shards", manifest, 4)]
    heads = [line for line in lines if line.startswith(("train", "held_out"))]
    assert len(heads) == 8 and all("masks to be drawn" in head for head in heads)
    texts = [line for line in lines if line.startswith("  ")]
    assert all(text.startswith("  [CLS] ") and text.endswith(" [SEP]") and text.count("[CLS]") == 1 for text in texts)
    assert kind != "packed" or len(texts) >= len(heads)
    assert kind != "sentence-order" or any("swapped" in head for head in heads)


def test_sentences_keep_the_blank_before_them_for_byte_level_bpe(tmp_path, configure, two_separators):
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("Bon bing. Don ding.\nGon ging. \u201cKon king.\u201d")
    config = configure(input=(str(tmp_path / "text"),), tokenizer=two_separators, examples="packed", length=120)
    config = dataclasses.replace(config, masking="dynamic", dupe_factor=None, held_out=0.0)
    manifest = build_shards(config)
    rows, tokenizer = read_rows(tmp_path / "shards", manifest, "train"), load_tokenizer(Path(two_separators))
    text = "Bon bing. Don ding. Gon ging. \u201cKon king.\u201d"
    assert rows["tokens"][0, 1 : rows["length"][0] - 1].tolist() == tokenizer.ids([text])[0].tolist()
    assert show_examples(tmp_path / "shards", manifest, 1)[1].plain == f"  <s> {text} </s>"


def test_masked_pieces_of_bytes_are_shown_as_text(tmp_path, configure, two_separators):
    build_rows(configure, tokenizer=two_separators, mask_unit="word", length=61)
    manifest = check_shards(tmp_path / "shards")
    shown = "".join(line.plain for line in show_examples(tmp_path / "shards", manifest, 5))
    unmasked = re.sub("{[^}]*}", "", shown)  # a masked piece that is no text by itself is shown as its entry
    assert "\u2192<mask>}" in shown and "\u0120" not in unmasked and "." in unmasked


def test_words_too_long_to_be_masked_give_a_warning(tmp_path, configure, two_separators):
    (tmp_path / "text.txt").write_text("\n\n".join(["\u6211\u559c\u6b22\u5317\u4eac" * 9 + "\u3002"] * 9))
    remarks: dict[str, list[str]] = {"token": [], "word": []}
    for unit, lines in remarks.items():
        config = configure(unit, input=(str(tmp_path / "text.txt"),), tokenizer=two_separators, mask_unit=unit)
        config = dataclasses.replace(config, documents="blank-line", examples="packed", held_out=0.0)
        build_shards(config, say=lines.append)
    assert [line.partition(" of the")[0] for line in remarks["word"]] == ["0.0%"] and not remarks["token"]
