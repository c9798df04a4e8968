"""bert-jax embed: compute vectors for a file of texts."""

import numpy as np

from bert_jax import wording
from bert_jax.config import check_ranges
from bert_jax.data.labelled.line_counts import count_rows, with_progress_counts
from bert_jax.data.labelled.row_files import file_options
from bert_jax.data.labelled.rows import Columns, stream_rows
from bert_jax.errors import UserError
from bert_jax.inference.embedder import load_embedder
from bert_jax.output import check_new_file, whole_file
from bert_jax.progress import Progress
from bert_jax.settings.embed import EmbedConfig
from bert_jax.terminal import note, say
from bert_jax.train.memory import out_of_memory_reported
from bert_jax.verbs.predict import CHUNK_ROWS


@out_of_memory_reported("Use a smaller --batch-size")
def embed(config: EmbedConfig) -> tuple[int, int]:
    """Write the array of vectors, whole or not at all, and return its shape."""
    if config.output.suffix != ".npy":
        raise UserError(f"{config.output}: the output is a NumPy file; its name must end in .npy")
    check_new_file(config.output)
    array = vectors_of(config)
    with whole_file(config.output) as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.data)  # np.save does not report a full disk
    return array.shape


def vectors_of(config: EmbedConfig) -> np.ndarray:
    """Return one vector per text of the input: (texts, width), float32."""
    check_ranges(config, batch_size=(1, None))
    chunks = stream_rows(config.input, Columns(config.text, None, None), CHUNK_ROWS, file_options(config))
    with Progress("reading the model"):
        embedder = load_embedder(
            config.model, pooling=config.pooling, normalize=config.normalize, max_length=config.max_length
        )
    prompt = embedder.prompt(name=config.prompt_name, text=config.prompt)
    if embedder.guessed:
        note(f"{config.model} does not name a pooling; using the mean over the tokens. --pooling chooses another")
    vectors, cut = [], 0
    total, unit = count_rows(config.input)
    with Progress("embedding", total, unit) as progress:
        for rows, size in with_progress_counts(chunks, total):
            with progress.part(size):
                encoded = embedder.encode(rows.texts, prompt)
                cut += encoded.truncated
                vectors.append(embedder.vectors_of(encoded, prompt, batch_size=config.batch_size))
    if not vectors:
        raise UserError(f"{config.input}: no texts")
    array = np.concatenate(vectors)
    if cut:
        hint = f"; --max-length can be up to {embedder.most_tokens}" * (embedder.max_length < embedder.most_tokens)
        note(
            f"{cut:,} of {wording.counted(len(array), 'text')} {wording.agreeing(cut, 'was', 'were')} cut to "
            f"{embedder.max_length} tokens{hint}"
        )
    return array


def main(config: EmbedConfig) -> int:
    """Write the vectors and print their number; return the exit code."""
    rows, width = embed(config)
    say(f"{config.output}: {wording.counted(rows, 'vector')} of {width} numbers")
    return 0
