"""Settings of the preparation jobs; the text under each field is its --help."""

import dataclasses
import math
from typing import Annotated, Literal

import tyro

from bert_jax.data.formats.dialect import Dialect
from bert_jax.data.pretraining.example_kinds import PAIR_LOSSES, ExampleKind, MaskTiming, MaskUnit
from bert_jax.errors import UserError

SENTENCES = Literal["rule", "lines"]
DOCUMENTS = Literal["file", "blank-line", "wikiextractor"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """Which text is read, and how: what the settings of every job begin with."""

    input: tuple[str, ...]
    """Files (.txt, .jsonl, .csv, .tsv, .parquet; packed .gz, .zst, .bz2), folders and globs of them, also at gs://, s3://,
    hdfs:// or https://; and data sets that are prepared: tfds:NAME[@FOLDER][?split=SPLIT]."""
    field: str = "text"
    """The field, column or feature that holds the text; each line or row is a document."""
    documents: DOCUMENTS = "file"
    """What a document is in .txt: the whole file, the lines between two blank ones, or what WikiExtractor wrote as one
    (also in files without a suffix, and in its --json form)."""
    dialect: Annotated[Dialect, tyro.conf.arg(aliases=("--quotes",))] = "auto"
    """What quotation marks are in .csv and .tsv: they enclose a field; the same, with a backslash before those within
    it; or they are plain characters. auto: the content of each file decides."""
    delimiter: str | None = None
    """What parts the columns of .csv and .tsv: ';', tab, pipe. Default: commas and tabs, or as the content says."""
    encoding: str | None = None
    """Of the files, such as cp1252 or utf-16. Default: UTF-8, or what a byte order mark says."""
    encoding_errors: Literal["strict", "replace"] = "strict"
    """strict: stop at bytes that are not of the encoding and at NUL. replace: U+FFFD for the one, drop the other, and
    count both."""
    on_bad: Literal["stop", "skip"] = "stop"
    """What a line or row that cannot be read does: stop the job, or be skipped and counted."""


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
    """--lowercase or --no-lowercase: as the uncased models, or not. Default: yes for wordpiece, no for the others. With
    --extend: how texts are read for the vocabulary that is there, in place of what its files say or it looks like."""
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
        decided = [name for name in ("kind", "size", "accents") if getattr(self, name) is not None]
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
    lowercase: bool | None = None
    """--lowercase or --no-lowercase: whether texts are lower-cased for the bare vocab.txt files, in place of what they
    look like."""
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
    lowercase: bool | None = None
    """--lowercase or --no-lowercase: whether texts are lower-cased for a WordPiece vocabulary, in place of what its
    files say or it looks like."""
    output: str
    """Folder for the shards, the manifest and a copy of the tokenizer."""
    examples: ExampleKind = "pairs"
    """pairs: for next sentence prediction (BERT). sentence-order: two segments in a row, half of them swapped (ALBERT).
    full-sentences: as many as fit, on into the next document (RoBERTa). document-sentences: the same within a document.
    packed: several documents in a row, each of which attends to itself only (ModernBERT)."""
    length: int | tuple[int, ...] = 128
    """Tokens an example, control tokens included. Of several lengths each gets a folder below the output."""
    masking: MaskTiming = "static"
    """static: masks are drawn here, other ones with each pass. dynamic: training draws them, other ones each time."""
    mask_unit: MaskUnit = "token"
    """What is hidden together: single tokens, whole words, or up to max_ngram words in a row, n with odds of 1/n."""
    max_ngram: int = 3
    """Most words hidden in a row with --mask-unit ngram."""
    mask_rate: float = 0.15
    """Share of the tokens to predict."""
    mask_share: float = 0.8
    """Share of these that become [MASK]."""
    random_share: float = 0.1
    """Share of these that become a random token. The rest are left as they are."""
    max_predictions: int | None = None
    """Most masked positions in an example. Default: mask_rate of the length, rounded up (20 at 128, 77 at 512)."""
    dupe_factor: int | None = None
    """How often each document is used, each time with other pairs and other masks. Held-out documents are used once.
    Default: 10, or 1 where each time would be the same: no pairs, and dynamic masks."""
    weights: tuple[float, ...] | None = None
    """One for each input, in their order: dupe_factor is multiplied by it for the documents of that input."""
    dedupe: Literal["exact"] | None = None
    """exact: of documents with the same text, in whatever files, only the first is used. Reads the corpus once more."""
    short_seq_prob: float = 0.1
    """Of pairs and sentence-order: share of the documents that are cut to a random shorter length."""
    held_out: float = 0.01
    """Share of the documents kept apart for evaluation, chosen by a hash of the seed and the document's place."""
    seed: int = 0
    """Decides everything random. The number of workers decides nothing."""
    sentences: SENTENCES = "rule"
    """Where sentences end: by a rule (and at each line end), or only at line ends."""
    part_mb: float = 32.0
    """Text handled at a time by one worker (.gz counts three times its size): bounds its memory, below 1 GB at 64."""
    workers: int | None = None
    """Processes. Default: one for each core, fewer where the memory is short of a gigabyte for each."""
    part: int | None = None
    """Which share of the job to make, 0 to parts - 1. Default: a Slurm array's or Kubernetes job's index."""
    parts: int | None = None
    """Shares of the job, each made by the same command with its own --part. The last to end writes the manifest."""
    dask: str | None = None
    """Run on a Dask cluster: its scheduler's address (tcp://host:8786); or slurm or kubernetes to start --workers."""

    def __post_init__(self) -> None:
        if self.weights is not None:
            self._check_weights(self.weights)
        if not self.lengths or len(set(self.lengths)) < len(self.lengths):
            raise UserError(f"length is {self.length}; one length is needed, or several that differ")
        if self.max_predictions is not None and len(self.lengths) > 1:
            raise UserError(
                f"max_predictions is {self.max_predictions}; with several lengths leave it out: it follows each"
            )
        for name, low, high in (
            *(("length", 8, 65535) for _ in self.lengths),
            ("max_predictions", 1, min(self.lengths) - 3),
            ("mask_rate", 0.001, 0.9),
            ("mask_share", 0.0, 1.0),
            ("random_share", 0.0, 1.0 - self.mask_share),
            ("max_ngram", 1, 16),
            ("dupe_factor", 1, 1000),
            ("short_seq_prob", 0.0, 1.0),
            ("held_out", 0.0, 0.9),
            ("seed", 0, 2**32 - 1),
            ("part_mb", 0.001, 64.0),
            ("workers", 1, 4096),
            ("parts", 1, 100_000),
            ("part", 0, 99_999),
        ):
            value = getattr(self, name)
            for one in value if isinstance(value, tuple) else (value,):
                if one is not None and not low <= one <= high + 1e-12:
                    raise UserError(f"{name} is {one}; it must lie between {low} and {high}")
        if self.dupe_factor not in (None, 1) and self._passes_are_alike:
            raise UserError(
                f"dupe_factor is {self.dupe_factor}; {self.examples} with dynamic masks would be the same each time. "
                "Leave it out, or use --masking static"
            )

    def _check_weights(self, weights: tuple[float, ...]) -> None:
        if len(weights) != len(self.input):
            raise UserError(f"{len(weights)} weights for {len(self.input)} inputs; give one for each, in their order")
        for given, weight in zip(self.input, weights, strict=True):
            if weight == 0:
                raise UserError(f"weight 0 for {given}: leave out that input and its weight")
            if not 0 < weight <= 1000:
                raise UserError(f"weight {weight} for {given}; it must lie above 0 and not above 1000")

    @property
    def lengths(self) -> tuple[int, ...]:
        return self.length if isinstance(self.length, tuple) else (self.length,)

    def at(self, length: int) -> "ShardsConfig":
        """The same with this length alone, and with what follows from the settings worked out."""
        predictions = self.max_predictions or min(length - 3, math.ceil(self.mask_rate * length - 1e-9))
        return dataclasses.replace(self, length=length, max_predictions=predictions, dupe_factor=self.passes)

    @property
    def passes(self) -> int:
        """`dupe_factor`, worked out where it was not given."""
        return self.dupe_factor or (1 if self._passes_are_alike else 10)

    @property
    def _passes_are_alike(self) -> bool:
        return self.masking == "dynamic" and self.examples not in PAIR_LOSSES
