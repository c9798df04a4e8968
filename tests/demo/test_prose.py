import inspect

import pytest

from bert_jax.demo.prose import paragraphs

DOCSTRING = inspect.cleandoc(
    """
    Return the mean of `a` along an axis, see :func:`~lib.stats.median` and [1]_.

    The second line of a paragraph
    joins the first.

    .. deprecated:: 1.2
        Use the other mean in new code.

    Parameters
    ----------
    a : array_like
        The values to average.
    axis : int, optional
        The axis along which the mean is taken.

    Notes
    -----
    The formula is as follows::

        hidden = literal * block of code

    .. math:: hidden formula of the mean

    Examples
    --------
    Averaging is simple:

    >>> hidden_call(1, 2)
    hidden output of the call

    References
    ----------
    .. [1] Hidden Author, "The hidden book of means", at https://hidden.example
    """
)


def test_docstring_is_reduced_to_its_prose():
    assert paragraphs(DOCSTRING) == [
        "Return the mean of a along an axis, see median and.",
        "The second line of a paragraph joins the first.",
        "Use the other mean in new code.",
        "The values to average.",
        "The axis along which the mean is taken.",
        "The formula is as follows:",
        "Averaging is simple:",
    ]


def test_google_style_keeps_the_descriptions():
    text = (
        "Copies a file.\n\nArgs:\n  source (str): The file to copy.\n    It must exist.\n  target: Where the copy goes."
    )
    assert paragraphs(text) == [
        "Copies a file.",
        "The file to copy. It must exist.",
        "Where the copy goes.",
    ]


def test_sphinx_fields_keep_the_descriptions():
    text = "Copies a file.\n\n:param source: The file to copy.\n:type source: str\n:returns: The path of the copy."
    assert paragraphs(text) == ["Copies a file.", "The file to copy.", "The path of the copy."]


@pytest.mark.parametrize(
    "text",
    [
        "```python\nthis is code that nobody reads\n```",
        "| a table | has bars |\n|---|---|\n| and so on | it goes |",
        "+----+----+\n| no | no |\n+----+----+",
        "x = f(a, b)[0] + 2 ** n",
        "alpha beta gamma delta epsilon zeta eta theta iota kappa",
        "https://example.org/some/page",
        "",
    ],
)
def test_code_tables_and_addresses_are_dropped(text):
    assert paragraphs(text) == []


def test_markdown_is_reduced_to_its_prose():
    text = "# A title\n\nThis is **bold** and a [link](https://example.org/x) to `code`.\n\n- One point of the list.\n"
    assert paragraphs(text) == ["This is bold and a link to code.", "One point of the list."]
