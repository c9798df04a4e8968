"""Examples of a folder of shards as a person reads them."""

from pathlib import Path

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader
from rich.text import Text

from bert_jax.data.record import TOKENIZER_FOLDER, Manifest
from bert_jax.text import load_tokenizer
from bert_jax.text.tokenizer import Tokenizer

SEGMENT_STYLES = ("", "cyan")


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
            for row in np.frombuffer(b"".join(records), manifest.dtype):
                random_next = bool(row["next_label"])
                line = Text.assemble((f"{split} {shown}", "bold"), ": ")
                line.append("random next" if random_next else "next", "yellow" if random_next else "green")
                line.append(f", {row['length']} tokens, {row['masked_count']} masked")
                lines += [line, _marked(row, tokenizer)]
                shown += 1
    return lines


def _marked(row: np.void, tokenizer: Tokenizer) -> Text:
    """The tokens, pieces of a word joined, each with the colour of its segment."""
    tokens = tokenizer.tokens(row["tokens"][: row["length"]].tolist())
    count = row["masked_count"]
    labels = tokenizer.tokens(row["masked_labels"][:count].tolist())
    label_at = dict(zip(row["masked_positions"][:count].tolist(), labels, strict=True))
    special = set(tokenizer.special.all())
    text = Text(" ")
    for position, token in enumerate(tokens):
        style = SEGMENT_STYLES[int(position >= row["segment_b"])]
        if position in label_at:
            text.append(f" {{{label_at[position]}→{token}}}", "bold magenta")
        elif int(row["tokens"][position]) in special:
            text.append(f" {token}", "dim")
        elif token.startswith("##"):
            text.append(token[2:], style)
        else:
            text.append(f" {token}", style)
    return text
