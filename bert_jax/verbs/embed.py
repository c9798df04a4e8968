"""bert-jax embed: a file of texts to an array of vectors."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from rich.progress import track

from bert_jax.config import check_ranges
from bert_jax.data.formats.dialect import Dialect
from bert_jax.data.rows import Columns, Reading, stream_rows
from bert_jax.errors import UserError
from bert_jax.inference.embedder import load_embedder
from bert_jax.output import check_new_file, whole_file
from bert_jax.terminal import note, say
from bert_jax.verbs.command_line import parse
from bert_jax.verbs.predict import CHUNK_ROWS

# Those of bert_jax.model.vectors, and a short name.
Pooling = Literal["mean", "cls", "max", "mean_sqrt_len", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]


@dataclasses.dataclass(frozen=True)
class EmbedConfig:
    """One vector a text, as a NumPy file of float32: .txt with one text a line, or a column of CSV, TSV, JSONL.

    bert-jax embed --model runs/mini --input sentences.txt --output vectors.npy --normalize
    bert-jax embed --model downloads/e5 --input questions.txt --output vectors.npy --prompt-name query
    """

    model: Path
    """Run folder or one folder in its checkpoints/, Hugging Face or sentence-transformers folder, TF 1 checkpoint,
    or the ONNX of an encoder."""
    input: Path
    output: Path
    """A .npy file: `numpy.load` gives (texts, width)."""
    text: str = "text"
    """Column of the text, where there are columns."""
    pooling: tuple[Pooling, ...] = ()
    """Over the last hidden states; several stand side by side. The model's own where not said, and mean where it has
    none."""
    normalize: bool = False
    """Vectors of length 1, also where the model's own are not."""
    prompt_name: str | None = None
    """Which of the model's prompts stands before every text. The model's default one where not said."""
    prompt: str | None = None
    """What stands before every text, in place of the model's own prompts; an empty one for nothing."""
    max_length: int | None = None
    """Tokens that a text is cut to, those of the prompt among them. The model's own where not said."""
    batch_size: int = 64
    dialect: Dialect = "auto"
    """What quotation marks are in .csv and .tsv: they enclose a field; the same, with a backslash before those within
    it; or they are plain characters. auto: the content of the file decides."""
    encoding_errors: Literal["strict", "replace"] = "strict"
    """What to do with rows that are not UTF-8."""


def embed(config: EmbedConfig) -> tuple[int, int]:
    """Writes the array, whole or not at all; returns its shape."""
    if config.output.suffix != ".npy":
        raise UserError(f"{config.output}: the output is a NumPy file; give it a name that ends in .npy")
    check_new_file(config.output)
    check_ranges(config, batch_size=(1, None))
    chunks = stream_rows(
        config.input, Columns(config.text, None, None), CHUNK_ROWS, Reading(config.encoding_errors, config.dialect)
    )
    embedder = load_embedder(
        config.model, pooling=config.pooling, normalize=config.normalize, max_length=config.max_length
    )
    prompt = embedder.prompt(name=config.prompt_name, text=config.prompt)
    if embedder.guessed:
        note(f"{config.model} does not say how vectors are made: the mean over the tokens. --pooling takes another")
    vectors, cut = [], 0
    for rows in track(chunks, "embedding", disable=not sys.stderr.isatty(), transient=True):
        encoded = embedder.encode(rows.texts, prompt)
        cut += encoded.truncated
        vectors.append(embedder.vectors_of(encoded, prompt, batch_size=config.batch_size))
    if not vectors:
        raise UserError(f"{config.input}: no text")
    array = np.concatenate(vectors)
    if cut:
        more = f"; --max-length goes up to {embedder.most_tokens}" * (embedder.max_length < embedder.most_tokens)
        note(f"{cut} of {len(array)} texts are longer than {embedder.max_length} tokens and were cut{more}")
    with whole_file(config.output) as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.data)  # np.save would not say that the disk is full
    return array.shape


def main(arguments: Sequence[str]) -> int:
    config = parse(EmbedConfig, arguments, prog="bert-jax embed")
    rows, width = embed(config)
    say(f"{config.output}: {rows} vectors of {width}")
    return 0
