"""Settings of the preparation jobs; the text under each field is its --help."""

import dataclasses
import math
from typing import Literal

from bert_jax.errors import UserError

SENTENCES = Literal["rule", "lines"]
DOCUMENTS = Literal["file", "blank-line"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """Which text is read, and how: what the settings of every job begin with."""

    input: tuple[str, ...]
    """Files (.txt, .jsonl, also .gz), folders and globs of them."""
    field: str = "text"
    """The field of a .jsonl line that holds the text; each line is a document."""
    encoding_errors: Literal["strict", "replace"] = "strict"
    """strict: stop at bytes that are not UTF-8 and at NUL. replace: U+FFFD for the one, drop the other, count both."""
    on_bad: Literal["stop", "skip"] = "stop"
    """What a .jsonl line that cannot be read does: stop the job, or be skipped and counted."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleConfig(CorpusConfig):
    """What the settings of jobs begin with that look at a part of the text."""

    sample_mb: int = 256
    """Text to look at. Of a larger corpus a seeded sample is taken."""
    seed: int = 0
    """Decides the sample."""

    def __post_init__(self) -> None:
        if self.sample_mb < 1:
            raise UserError(f"sample_mb is {self.sample_mb}; at least 1 is needed")


@dataclasses.dataclass(frozen=True, kw_only=True)
class VocabConfig(SampleConfig):
    """What `bert-jax prep vocab` and `train_vocab` take."""

    output: str
    """Tokenizer folder to write; must not exist."""
    kind: Literal["wordpiece", "bpe", "unigram"] | None = None
    """wordpiece (the default): as BERT. bpe: byte-level, as RoBERTa. unigram: SentencePiece's, as XLM-RoBERTa."""
    size: int | None = None
    """Entries of the vocabulary, control tokens included. Default: 30522."""
    lowercase: bool | None = None
    """--lowercase or --no-lowercase: as the uncased models, or not. Default: yes for wordpiece, no for the others."""
    accents: Literal["keep", "strip"] | None = None
    """Whether é stays or becomes e. Default: as BERT, stripped where the text is lower-cased."""
    special_tokens: tuple[str, ...] = ()
    """Further control tokens, such as [ENT] or [unused0]: they have ids and are never found in a text."""
    user_tokens: tuple[str, ...] = ()
    """Strings that are never cut, such as GLP-1: each is one token wherever it stands as a word of its own."""
    extend: str | None = None
    """Tokenizer folder or vocab.txt of WordPiece to add words to, in place of learning anew: its ids stay."""
    add: int = 500
    """Words to add with --extend, those that save most tokens."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.add <= 1_000_000:
            raise UserError(f"add is {self.add}; it must lie between 0 and 1000000")
        decided = [name for name in ("kind", "size", "lowercase", "accents") if getattr(self, name) is not None]
        if self.extend is not None and decided:
            flags = ", ".join(f"--{name}" for name in decided)
            raise UserError(f"{flags}: {self.extend} decides that already. Leave it out, or leave out --extend")

    @property
    def entries(self) -> int:
        """`size`, or its default."""
        return 30522 if self.size is None else self.size

    @property
    def lowercases(self) -> bool:
        """`lowercase`, or the default of the kind."""
        return self.kind in (None, "wordpiece") if self.lowercase is None else self.lowercase


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportConfig(SampleConfig):
    """What `bert-jax prep report` and `report_vocabularies` take."""

    tokenizer: tuple[str, ...]
    """Tokenizer folders or bare vocab.txt files. The first is what the others are measured against."""
    output: str | None = None
    """Markdown file to write, with a picture beside it."""
    json: str | None = None
    """JSON file to write the same numbers to."""
    sample_mb: int = 16
    """Text to look at. Of a larger corpus a seeded sample is taken."""
    worst: int = 20
    """How many of the words to show that cost most tokens."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.worst <= 1000:
            raise UserError(f"worst is {self.worst}; it must lie between 0 and 1000")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardsConfig(CorpusConfig):
    """What `bert-jax prep shards` and `build_shards` take."""

    tokenizer: str
    """Tokenizer folder, or a bare vocab.txt."""
    output: str
    """Folder for the shards, the manifest and a copy of the tokenizer."""
    length: int = 128
    """Tokens an example, [CLS] and both [SEP] included."""
    max_predictions: int | None = None
    """Most masked positions in an example. Default: mask_rate of the length, rounded up (20 at 128, 77 at 512)."""
    mask_rate: float = 0.15
    """Share of the tokens to predict."""
    dupe_factor: int = 10
    """How often each document is used, each time with other pairs and other masks. Held-out documents are used once."""
    short_seq_prob: float = 0.1
    """Share of the documents that are cut to a random shorter length."""
    held_out: float = 0.01
    """Share of the documents kept apart for evaluation, chosen by a hash of the seed and the document's place."""
    seed: int = 0
    """Decides everything random. The number of workers decides nothing."""
    documents: DOCUMENTS = "file"
    """What a document is in .txt: the whole file, or the lines between two blank ones."""
    sentences: SENTENCES = "rule"
    """Where sentences end: by a rule (and at each line end), or only at line ends."""
    part_mb: float = 32.0
    """Text handled at a time by one worker (.gz counts three times its size): bounds the memory."""
    workers: int | None = None
    """Processes. Default: one for each core."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("length", 8, 65535),
            ("max_predictions", 1, self.length - 3),
            ("mask_rate", 0.001, 0.9),
            ("dupe_factor", 1, 1000),
            ("short_seq_prob", 0.0, 1.0),
            ("held_out", 0.0, 0.9),
            ("seed", 0, 2**32 - 1),
            ("part_mb", 0.001, 4096.0),
            ("workers", 1, 4096),
        ):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UserError(f"{name} is {value}; it must lie between {low} and {high}")

    @property
    def predictions(self) -> int:
        """`max_predictions`, worked out where it was not given."""
        if self.max_predictions is not None:
            return self.max_predictions
        return min(self.length - 3, math.ceil(self.mask_rate * self.length - 1e-9))
