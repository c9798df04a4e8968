"""Settings for reading files of rows, shared by several verbs, with their --help."""

from typing import Annotated, Literal

import tyro

from bert_jax.data.formats.dialect import Dialect

TableDialect = Annotated[
    Dialect,
    tyro.conf.arg(
        help="Quotation marks in .csv and .tsv: they enclose fields; they enclose fields and are escaped with a "
        "backslash within one; or they are plain characters. auto: decided by the content of the file."
    ),
]
Delimiter = Annotated[
    str | None,
    tyro.conf.arg(
        help="Separator of the columns of .csv and .tsv: ';', tab, pipe. Default: commas and tabs, or as the content "
        "suggests."
    ),
]
FileEncoding = Annotated[
    str | None,
    tyro.conf.arg(help="Encoding of the files: cp1252, utf-16. Default: UTF-8, or that of a byte order mark."),
]
EncodingErrors = Annotated[
    Literal["strict", "replace"],
    tyro.conf.arg(help="What to do with bytes that are invalid in the encoding: stop, or replace each by U+FFFD."),
]
