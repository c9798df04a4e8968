"""Settings for reading files of rows that several verbs share, each with its --help."""

from typing import Annotated, Literal

import tyro

from bert_jax.data.formats.dialect import Dialect

TableDialect = Annotated[
    Dialect,
    tyro.conf.arg(
        help="What quotation marks are in .csv and .tsv: they enclose a field; the same, with a backslash before those "
        "within it; or they are plain characters. auto: the content of the file decides."
    ),
]
Delimiter = Annotated[
    str | None,
    tyro.conf.arg(
        help="What parts the columns of .csv and .tsv: ';', tab, pipe. Default: commas and tabs, or as the content "
        "says."
    ),
]
Encoding = Annotated[
    str | None,
    tyro.conf.arg(help="Of the files, such as cp1252 or utf-16. Default: UTF-8, or what a byte order mark says."),
]
EncodingErrors = Annotated[
    Literal["strict", "replace"],
    tyro.conf.arg(help="What to do with bytes that are not of the encoding: stop there, or put U+FFFD for each."),
]
