"""Show examples of a folder of shards as readable text."""

import itertools
from pathlib import Path

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader
from rich.text import Text

from bert_jax.data.pretraining.record import TOKENIZER_FOLDER, Manifest, document_starts
from bert_jax.terminal import visible
from bert_jax.text import load_tokenizer
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.text.wordpiece import WordPieceTokenizer
from bert_jax.wording import counted

SEGMENT_STYLES = ("", "cyan")
REPLACEMENT = "\ufffd"  # stands for bytes that are no character
LABELS = {"pairs": ("next", "random next"), "sentence-order": ("in order", "swapped")}


def show_examples(folder: Path, manifest: Manifest, count: int) -> list[Text]:
    """Return lines that show the first `count` examples of each split.

    A masked token is {word→[MASK]}, and segment B has another colour. The same information is there without colours.
    """
    tokenizer = load_tokenizer(folder / TOKENIZER_FOLDER)
    continues = tokenizer.continuations()
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
                lines.append(_heading(f"{split} {shown}", row, manifest, int(bounds.sum())))
                pieces = _spell(row, tokenizer, continues)
                for start, end in itertools.pairwise([*np.flatnonzero(bounds).tolist(), len(pieces)]):
                    lines.append(Text.assemble(" ", *pieces[start:end]))
                shown += 1
    return lines


def _heading(name: str, row: np.void, manifest: Manifest, documents: int) -> Text:
    """Return the label, the length and the number of masked tokens of an example."""
    line = Text.assemble((name, "bold"), ": ")
    if manifest.kind in LABELS:
        label = int(row["next_label"])
        line.append(f"{LABELS[manifest.kind][label]}, ", "yellow" if label else "green")
    line.append(f"{row['length']} tokens, ")
    if manifest.kind == "packed":
        line.append(f"{counted(documents, 'document')}, ")
    line.append("masks to be drawn" if manifest.masking.when == "dynamic" else f"{row['masked_count']} masked")
    return line


def _spell(row: np.void, tokenizer: Tokenizer, continues: np.ndarray) -> list[Text]:
    """Return the text of each token, with the blank before it, in the colour of its segment.

    The first token of an unmasked word holds the whole word, because a byte-level piece alone may be half a character.
    """
    ids = row["tokens"][: row["length"]].tolist()
    label_at: dict[int, int] = {}
    if "masked_count" in (row.dtype.names or ()):
        masked = row["masked_positions"], row["masked_labels"]
        label_at = dict(zip(*(field[: row["masked_count"]].tolist() for field in masked), strict=True))
    special = set(tokenizer.special.all())
    second = int(row["segment_b"]) if "segment_b" in (row.dtype.names or ()) else len(ids)
    plain = [i not in special and position not in label_at for position, i in enumerate(ids)]
    starts = [p for p, i in enumerate(ids) if not (p and plain[p - 1] and plain[p] and continues[i]) or p == second]
    pieces = [Text()] * len(ids)
    for start, end in itertools.pairwise([*starts, len(ids)]):
        style = SEGMENT_STYLES[int(start >= second)]
        label = label_at.get(start, ids[start])
        blank = "" if continues[label] and ids[start - 1] not in special else " "
        if start in label_at:
            mark = f"{{{_token_text(label, tokenizer)}→{_token_text(ids[start], tokenizer)}}}"
            pieces[start] = Text(blank + mark, "bold magenta")
        elif not plain[start]:
            pieces[start] = Text(blank + _token_text(label, tokenizer), "dim")
        else:
            pieces[start] = Text(blank + _word_text(ids[start:end], tokenizer), style)
    return pieces


def _token_text(token: int, tokenizer: Tokenizer) -> str:
    """Return a token as text, or its vocabulary entry if it is a control token or no text by itself."""
    entry = tokenizer.tokens([token])[0]
    text = "" if token in tokenizer.special.all() else tokenizer.decode([token]).strip()
    return visible(text if text and REPLACEMENT not in text else entry)


def _word_text(ids: list[int], tokenizer: Tokenizer) -> str:
    """Return the tokens of one word as text."""
    tokens = tokenizer.tokens(ids)
    if isinstance(tokenizer, WordPieceTokenizer):
        return visible("".join(token.removeprefix(tokenizer.rules.prefix) for token in tokens))
    text = tokenizer.decode(ids).strip()
    return visible(text if text and REPLACEMENT not in text else "".join(tokens))
