"""Settings of `bert-jax embed`; the text under each field is its --help."""

import dataclasses
from pathlib import Path
from typing import Literal

from bert_jax.settings.file_flags import Delimiter, EncodingErrors, FileEncoding, TableDialect

# The poolings of bert_jax.model.vectors.
Pooling = Literal["mean", "cls", "max", "mean_sqrt_len", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]


@dataclasses.dataclass(frozen=True)
class EmbedConfig:
    """Compute one vector per text, and write them as a NumPy array of float32.

    bert-jax embed --model runs/mini --input sentences.txt --output vectors.npy --normalize
    bert-jax embed --model downloads/e5 --input questions.txt --output vectors.npy --prompt-name query
    """

    model: Path
    """Run folder or one folder in its checkpoints/, Hugging Face or sentence-transformers folder, TensorFlow 1
    checkpoint, or the ONNX export of an encoder."""
    input: Path
    """File of texts: .txt with one text per line, or rows with a column of texts (.csv, .tsv, .jsonl, .json, .parquet,
    .xlsx)."""
    output: Path
    """A .npy file to write: an array (texts, width)."""
    text: str = "text"
    """Column of the texts, if the input has columns."""
    pooling: tuple[Pooling, ...] = ()
    """How the last hidden states become one vector; several poolings are concatenated. Default: as the model's files
    say, or else mean."""
    normalize: bool = False
    """Scale vectors to length 1, even if the model's files do not ask for it."""
    prompt_name: str | None = None
    """Name of the model's prompt to put before every text. Default: the model's default prompt, if it has one."""
    prompt: str | None = None
    """Text to put before every text in place of the model's prompts. Pass an empty one for no prompt."""
    max_length: int | None = None
    """Cut texts to this many tokens, including the prompt. Default: the model's maximum."""
    batch_size: int = 64
    """Texts in a batch."""
    dialect: TableDialect = "auto"
    delimiter: Delimiter = None
    encoding: FileEncoding = None
    encoding_errors: EncodingErrors = "strict"
