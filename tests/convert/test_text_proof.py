"""Pairs are encoded as in transformers, and the comparison after a conversion detects where they are not."""

import dataclasses
import json

import numpy as np
import pytest
from costly import COSTLY
from foreign import WORDS
from tiny import TINY
from tokenizers import Tokenizer, processors

import bert_jax
from bert_jax import cli
from bert_jax.convert.hugging_face.model_folder import read_huggingface, write_huggingface
from bert_jax.convert.proof import against_transformers
from bert_jax.convert.proof_batches import encode_text_pairs, proof_rows, require_same_encodings
from bert_jax.errors import UserError
from bert_jax.pretrained import Pretrained, outputs_of, shapes_of
from bert_jax.text import load_tokenizer, tokenizer_json
from bert_jax.text.library_tokenizer import LibraryTokenizer
from bert_jax.text.wordpiece import WordPieceTokenizer
from bert_jax.text.wordpiece_rules import WordPieceRules

LABELS = ("calm", "mild", "urgent")
CONTROL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PAIRS = [("word1 word2", "word3"), ("word4", "word5 word6 word7"), ("word1", "word1")]
WITHOUT, WITH = ["input_ids", "attention_mask"], ["input_ids", "token_type_ids", "attention_mask"]


def write_model(folder, tokenizer, **shape):
    """Write a classifier of random weights with large segment embeddings."""
    model = dataclasses.replace(TINY, **shape)
    rng = np.random.default_rng(0)
    params = {
        name: (rng.normal(size=size) * (1.0 if name.endswith("segments") else 0.3) + name.endswith("scale")).astype(
            "f4"
        )
        for name, size in shapes_of("sequence", model, outputs=outputs_of("sequence", LABELS), pooler=False).items()
    }
    folder.mkdir()
    pretrained = Pretrained(
        where="here",
        kind="sequence",
        model=model,
        tokenizer=tokenizer,
        params=params,
        labels=LABELS,
        max_length=model.max_length,
    )
    write_huggingface(pretrained, folder)
    return folder


def bert(folder, **settings):
    write_model(folder, WordPieceTokenizer([*CONTROL, *WORDS], WordPieceRules(lowercase=True)))
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    return folder


def with_template(folder, pair):
    bert(folder, tokenizer_class="PreTrainedTokenizerFast", model_input_names=WITH)
    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair=pair, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    backend.save(str(folder / "tokenizer.json"))
    return folder


def roberta(folder):
    names = dict(zip(("cls", "pad", "sep", "unk", "mask"), ["<s>", "<pad>", "</s>", "<unk>", "<mask>"], strict=True))
    pieces = [*names.values(), "Ġ", *"word123456789", "Ġw"]
    vocab = {text: i for i, text in enumerate(dict.fromkeys(pieces))}
    tokenizer = LibraryTokenizer(
        tokenizer_json.roberta(vocab, [("Ġ", "w")], names, add_prefix_space=False, trim_offsets=True),
        {field: names[field] for field in ("pad", "unk", "mask")},
        library_class=tokenizer_json.ROBERTA,
    )
    return write_model(folder, tokenizer, segments=3, first_position=2, vocab_size=len(vocab), max_length=40)


FOLDERS = {
    "bert": (bert, 2),
    "bert without token_type_ids": (lambda folder: bert(folder, model_input_names=WITHOUT), 1),
    "template with type 1": (lambda folder: with_template(folder, "[CLS] $A [SEP] $B:1 [SEP]:1"), 2),
    "template with type 0": (lambda folder: with_template(folder, "[CLS] $A [SEP] $B [SEP]"), 1),
    "roberta with a segment table": (roberta, 1),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_pairs_get_the_probabilities_of_transformers(tmp_path, name):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    make, segments = FOLDERS[name]
    folder = make(tmp_path / "theirs")
    assert load_tokenizer(folder).segments == segments
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    predictions = bert_jax.load(folder).predict([a for a, _ in PAIRS], [b for _, b in PAIRS])
    for (a, b), prediction in zip(PAIRS, predictions, strict=True):
        with torch.no_grad():
            expected = model(**tokenizer(a, b, return_tensors="pt")).logits.softmax(-1)[0].tolist()
        assert [prediction.probabilities[label] for label in LABELS] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name == "bert" else COSTLY) for name in FOLDERS])
def test_conversions_keep_the_segments(tmp_path, name, capsys):
    folder, texts, pairs = FOLDERS[name][0](tmp_path / "theirs"), *zip(*PAIRS, strict=True)
    expected = bert_jax.load(folder).predict(list(texts), list(pairs))
    for to in ("run", "hf", "onnx"):
        if to == "onnx" and not (pytest.importorskip("onnx") and pytest.importorskip("onnxruntime")):
            continue
        target = tmp_path / to
        assert cli.main(["convert", str(folder), str(target), "--to", to]) == 0, capsys.readouterr().err
        predictions = bert_jax.load(target).predict(list(texts), list(pairs))
        for prediction, original in zip(predictions, expected, strict=True):
            assert prediction.probabilities == pytest.approx(original.probabilities, abs=1e-5)


def test_comparison_detects_another_tokenizer(tmp_path):
    pytest.importorskip("torch"), pytest.importorskip("transformers")
    folder = bert(tmp_path / "theirs")
    pretrained = read_huggingface(folder)
    assert against_transformers(pretrained, folder) is not None
    path = folder / "tokenizer_config.json"
    settings = path.read_text()
    path.write_text(json.dumps({**json.loads(settings), "model_input_names": WITHOUT}))
    with pytest.raises(UserError, match=r"the segments of .* are 0 0 0 .* there, 0 0 0 .* 1 1"):
        against_transformers(pretrained, folder)
    path.write_text(settings)
    reordered = pretrained.changed(
        tokenizer=WordPieceTokenizer([*CONTROL, *WORDS[::-1]], WordPieceRules(lowercase=True))
    )
    with pytest.raises(UserError, match="its tokenizer makes"):
        against_transformers(reordered, folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["theirs"]


def test_compared_texts_fit_and_have_words_of_the_vocabulary(tmp_path):
    pretrained = read_huggingface(bert(tmp_path / "theirs"))
    rows = proof_rows(pretrained)
    encoded = encode_text_pairs(pretrained.tokenizer, rows)
    assert max(len(row.ids) for row in encoded) <= 17 and any(pair for _, pair in rows)
    assert len({i for row in encoded for i in row.ids}) > 10
    assert require_same_encodings(pretrained, rows, encoded, "there") == encoded
    assert proof_rows(pretrained.changed(tokenizer=None)) == []
