"""Settings of `bert-jax embed`; the text under each field is its --help."""

import dataclasses
from pathlib import Path
from typing import Literal

from bert_jax.settings.file_flags import Delimiter, EncodingErrors, FileEncoding, TableDialect

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
    dialect: TableDialect = "auto"
    delimiter: Delimiter = None
    encoding: FileEncoding = None
    encoding_errors: EncodingErrors = "strict"
