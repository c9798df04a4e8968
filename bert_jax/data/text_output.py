"""Writing of text to a file or to standard output."""

from pathlib import Path

from bert_jax.data.labelled.row_files import STDIN
from bert_jax.output import write_text
from bert_jax.terminal import encodable, standard_output
from bert_jax.text.word_cache import replace_surrogates


def write_output(path: Path, text: str) -> None:
    """Write the text to a file, completely or not at all, or to standard output (`-`).

    Unpaired surrogates become U+FFFD.
    """
    text = replace_surrogates(text)
    if str(path) == STDIN:
        stream = standard_output()
        stream.write(encodable(text, stream))
    else:
        write_text(path, text)
