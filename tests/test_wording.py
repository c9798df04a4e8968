import pytest

from bert_jax.wording import article, counted, plural


@pytest.mark.parametrize(
    ("number", "noun", "expected"),
    [
        (0, "row", "0 rows"),
        (1, "run", "1 run"),
        (2200, "row", "2,200 rows"),
        (1, "entry", "1 entry"),
        (2, "entry", "2 entries"),
        (3, "class", "3 classes"),
        (2, "batch", "2 batches"),
        (2, "day", "2 days"),
    ],
)
def test_a_number_has_its_noun(number, noun, expected):
    assert counted(number, noun) == expected
    assert plural(number, noun) == expected.split()[1]


def test_a_word_has_its_article():
    assert [article(word) for word in ("encoder", "classifier", "ONNX", "masked_lm")] == [
        "an encoder",
        "a classifier",
        "an ONNX",
        "a masked_lm",
    ]
