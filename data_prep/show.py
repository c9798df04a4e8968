"""Examples of a folder of shards as a person reads them."""

import itertools
from pathlib import Path

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader
from rich.text import Text

from bert_jax.data.record import TOKENIZER_FOLDER, Manifest, document_starts
from bert_jax.text import load_tokenizer
from bert_jax.text.tokenizer import Tokenizer

SEGMENT_STYLES = ("", "cyan")
LABELS = {"pairs": ("next", "random next"), "sentence-order": ("in order", "swapped")}


def show_examples(folder: Path, manifest: Manifest, count: int) -> list[Text]:
    """The first examples of each split: {word→[MASK]} where something is to be predicted, B in another colour.

    Without colours, as in a file, nothing is lost: the marks and the labels are words.
    """
    tokenizer = load_tokenizer(folder / TOKENIZER_FOLDER)
    lines = []
    for split, shards in sorted(manifest.splits.items(), reverse=True):
        shown = 0
        for shard in shards:
            reader = ArrayRecordReader(str(folder / shard.file), "readahead_buffer_size:0,max_parallelism:0")
            records = reader.read(0, min(count - shown, shard.examples)) if shown < count else []
            reader.close()
            rows = np.frombuffer(b"".join(records), manifest.dtype)
            starts = document_starts(rows) if manifest.kind == "packed" else rows["tokens"] == tokenizer.special.cls
            for row, bounds in zip(rows, starts, strict=True):
                lines.append(_told(f"{split} {shown}", row, manifest, int(bounds.sum())))
                pieces = _marked(row, tokenizer)
                for start, end in itertools.pairwise([*np.flatnonzero(bounds).tolist(), len(pieces)]):
                    lines.append(Text.assemble(" ", *pieces[start:end]))
                shown += 1
    return lines


def _told(name: str, row: np.void, manifest: Manifest, documents: int) -> Text:
    """An example in a few words: its label, how long it is, and how much of it is masked."""
    line = Text.assemble((name, "bold"), ": ")
    if manifest.kind in LABELS:
        label = int(row["next_label"])
        line.append(f"{LABELS[manifest.kind][label]}, ", "yellow" if label else "green")
    line.append(f"{row['length']} tokens, ")
    if manifest.kind == "packed":
        line.append(f"{documents} documents, ")
    line.append("masks to be drawn" if manifest.masking.when == "dynamic" else f"{row['masked_count']} masked")
    return line


def _marked(row: np.void, tokenizer: Tokenizer) -> list[Text]:
    """Each token with the blank before it, pieces of a word joined, in the colour of its segment."""
    tokens = tokenizer.tokens(row["tokens"][: row["length"]].tolist())
    label_at: dict[int, str] = {}
    if "masked_count" in (row.dtype.names or ()):
        count = row["masked_count"]
        labels = tokenizer.tokens(row["masked_labels"][:count].tolist())
        label_at = dict(zip(row["masked_positions"][:count].tolist(), labels, strict=True))
    special = set(tokenizer.special.all())
    second = int(row["segment_b"]) if "segment_b" in (row.dtype.names or ()) else len(tokens)
    pieces = []
    for position, token in enumerate(tokens):
        style = SEGMENT_STYLES[int(position >= second)]
        if position in label_at:
            pieces.append(Text(f" {{{label_at[position]}→{token}}}", "bold magenta"))
        elif int(row["tokens"][position]) in special:
            pieces.append(Text(f" {token}", "dim"))
        elif token.startswith("##"):
            pieces.append(Text(token[2:], style))
        else:
            pieces.append(Text(f" {token}", style))
    return pieces
