import pytest

from bert_jax.wording import all_have, article, counted, misfit, none_has, plural


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
def test_numbers_have_their_noun(number, noun, expected):
    assert counted(number, noun) == expected
    assert plural(number, noun) == expected.split()[1]


def test_sentences_about_all_rows_fit_a_single_row():
    assert [all_have(number, "dev row") for number in (1, 3)] == ["the only dev row has", "all 3 dev rows have"]
    assert [none_has(number, "dev row", "entity") for number in (1, 2)] == [
        "the only dev row has no entity",
        "none of the 2 dev rows has an entity",
    ]


@pytest.mark.parametrize(
    ("unfit", "extra", "expected"),
    [
        (2, 0, "2 of 37 tensors did not fit"),
        (0, 3000, "3,000 tensors are extra"),
        (2, 1, "2 of 37 tensors did not fit and 1 tensor is extra"),
    ],
)
def test_extra_tensors_are_not_counted_among_those_expected(unfit, extra, expected):
    assert misfit(unfit, extra, 37) == expected


def test_words_have_their_article():
    assert [article(word) for word in ("encoder", "classifier", "ONNX", "masked_lm")] == [
        "an encoder",
        "a classifier",
        "an ONNX",
        "a masked_lm",
    ]
