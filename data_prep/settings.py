"""Settings of the preparation commands. The text under each field is its --help."""

import dataclasses
import math
from typing import Annotated, Literal

import tyro

from bert_jax.data.formats.dialect import Dialect
from bert_jax.data.pretraining.example_kinds import PAIR_LOSSES, ExampleKind, MaskTiming, MaskUnit
from bert_jax.errors import UserError

SentenceEnds = Literal["rule", "lines"]
DocumentUnit = Literal["file", "blank-line", "wikiextractor"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """The text to read and how to read it. Base of the settings of every command."""

    input: tuple[str, ...]
    """Files (.txt, .jsonl, .csv, .tsv, .parquet; packed .gz, .zst, .bz2), folders and globs of them, also at gs://, s3://,
    hdfs:// or https://; and prepared data sets: tfds:NAME[@FOLDER][?split=SPLIT]."""
    field: str = "text"
    """Field, column or feature that holds the text. Each line or row is a document."""
    documents: DocumentUnit = "file"
    """A document in .txt is the whole file, the lines between two blank lines, or an article of WikiExtractor (also in
    files without a suffix, and in its --json form)."""
    dialect: Annotated[Dialect, tyro.conf.arg(aliases=("--quotes",))] = "auto"
    """Quotation marks in .csv and .tsv. enclose: they enclose fields. backslash: the same, with a backslash before
    those in a field. plain: they are ordinary characters. auto: decided by the content of each file."""
    delimiter: str | None = None
    """Delimiter of the columns of .csv and .tsv: ';', tab, pipe. Default: comma and tab, or as the content says."""
    encoding: str | None = None
    """Encoding of the files, such as cp1252 or utf-16. Default: UTF-8, or as a byte order mark says."""
    encoding_errors: Literal["strict", "replace"] = "strict"
    """strict: stop at undecodable bytes and at NUL. replace: turn the former into U+FFFD, drop the latter, and count
    both."""
    on_bad: Literal["stop", "skip"] = "stop"
    """stop: stop the job at an unreadable line or row. skip: skip and count it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleConfig(CorpusConfig):
    """Base of the settings of commands that read a sample of the corpus."""

    sample_mb: int = 256
    """Megabytes of text to read. A larger corpus is sampled."""
    seed: int = 0
    """Seed of the sample."""

    def __post_init__(self) -> None:
        if self.sample_mb < 1:
            raise UserError(f"sample_mb is {self.sample_mb}; at least 1 is needed")


@dataclasses.dataclass(frozen=True, kw_only=True)
class VocabConfig(SampleConfig):
    """Settings of `bert-jax prep vocab` and `train_vocab`."""

    output: str
    """Tokenizer folder to write. It must not exist."""
    kind: Literal["wordpiece", "bpe", "unigram"] | None = None
    """wordpiece (the default): as BERT. bpe: byte-level, as RoBERTa. unigram: SentencePiece's, as XLM-RoBERTa."""
    size: int | None = None
    """Entries of the vocabulary, including control tokens. Default: 30522."""
    lowercase: bool | None = None
    """--lowercase or --no-lowercase: lower-case text, as the uncased models do, or not. Default: yes for wordpiece, no
    for the others. With --extend, overrides what the files of the old vocabulary say or its entries suggest."""
    accents: Literal["keep", "strip"] | None = None
    """keep é, or strip it to e. Default: strip if the text is lower-cased, as BERT does."""
    special_tokens: tuple[str, ...] = ()
    """Further control tokens, such as [ENT] or [unused0]. They have ids and never match text."""
    user_tokens: tuple[str, ...] = ()
    """Strings that are never cut, such as GLP-1. Each is one token wherever it is a separate word."""
    extend: str | None = None
    """WordPiece tokenizer folder or vocab.txt to add words to, instead of training a new vocabulary. Its ids stay."""
    add: int = 500
    """Number of words to add with --extend. The words that save most tokens are added."""

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
        """`size` or its default."""
        return 30522 if self.size is None else self.size

    @property
    def lowercases(self) -> bool:
        """`lowercase` or the default of the kind."""
        return self.kind in (None, "wordpiece") if self.lowercase is None else self.lowercase


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportConfig(SampleConfig):
    """Settings of `bert-jax prep report` and `compare_vocabularies`."""

    tokenizer: tuple[str, ...]
    """Tokenizer folders or bare vocab.txt files. The others are compared with the first."""
    lowercase: bool | None = None
    """--lowercase or --no-lowercase: lower-case text for bare vocab.txt files or not, overriding what their entries
    suggest."""
    output: str | None = None
    """Markdown file to write, with a picture beside it."""
    json: str | None = None
    """JSON file to write, with the same numbers."""
    sample_mb: int = 16
    """Megabytes of text to read. A larger corpus is sampled."""
    worst: int = 20
    """Number of words to show that cost most tokens."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.worst <= 1000:
            raise UserError(f"worst is {self.worst}; it must lie between 0 and 1000")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardsConfig(CorpusConfig):
    """Settings of `bert-jax prep shards` and `build_shards`."""

    tokenizer: str
    """Tokenizer folder, or a bare vocab.txt."""
    lowercase: bool | None = None
    """--lowercase or --no-lowercase: lower-case text for a WordPiece vocabulary or not, overriding what its files say
    or its entries suggest."""
    output: str
    """Folder for the shards, the manifest and a copy of the tokenizer."""
    examples: ExampleKind = "pairs"
    """pairs: two segments for next sentence prediction (BERT). sentence-order: two consecutive segments, half of them
    swapped (ALBERT). full-sentences: as many sentences as fit, across documents (RoBERTa). document-sentences: the same
    within a document. packed: several documents, each attending only to itself (ModernBERT)."""
    length: int | tuple[int, ...] = 128
    """Tokens of an example, including control tokens. Several lengths go to one folder each, below the output."""
    masking: MaskTiming = "static"
    """static: draw masks here, different ones for each pass. dynamic: let training draw new masks in each epoch."""
    mask_unit: MaskUnit = "token"
    """Mask single tokens, whole words, or n-grams: up to max_ngram consecutive words, n with odds of 1/n."""
    max_ngram: int = 3
    """Maximum number of consecutive words masked with --mask-unit ngram."""
    mask_rate: float = 0.15
    """Share of the tokens to predict."""
    mask_share: float = 0.8
    """Share of these that become [MASK]."""
    random_share: float = 0.1
    """Share of these that become a random token. The rest stay unchanged."""
    max_predictions: int | None = None
    """Maximum number of masked tokens in an example. Default: mask_rate of the length, rounded up (20 at 128, 77 at
    512)."""
    dupe_factor: int | None = None
    """Number of passes over the documents, each with new pairs and masks. Held-out documents are used once. Default:
    10, or 1 if all passes would be equal (no pairs, dynamic masks)."""
    weights: tuple[float, ...] | None = None
    """One weight for each input, in order. dupe_factor is multiplied by it for the documents of that input."""
    dedupe: Literal["exact"] | None = None
    """exact: use only the first of several documents with the same text. Reads the corpus once more."""
    short_seq_prob: float = 0.1
    """For pairs and sentence-order: share of the documents that get a random shorter length."""
    held_out: float = 0.01
    """Share of the documents set aside for evaluation, chosen by a hash of the seed and the document's place."""
    seed: int = 0
    """Seed of all random choices, which do not depend on the number of workers."""
    sentences: SentenceEnds = "rule"
    """rule: sentences end by a rule, and at line ends. lines: only at line ends."""
    part_mb: float = 32.0
    """Megabytes of text that a worker holds at a time (.gz counts three times its size). At 64 a worker needs less than
    1 GB of memory."""
    workers: int | None = None
    """Number of processes. Default: one for each core, fewer if there is less than 1 GB of memory for each."""
    part: int | None = None
    """Share of the job to make, 0 to parts - 1. Default: the index of a Slurm array task or Kubernetes pod."""
    parts: int | None = None
    """Number of shares, each made by the same command with its own --part. The last to finish writes the manifest."""
    dask: str | None = None
    """Run on a Dask cluster: address of its scheduler (tcp://host:8786), or slurm or kubernetes to start --workers."""

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
            for number in value if isinstance(value, tuple) else (value,):
                if number is not None and not low <= number <= high + 1e-12:
                    raise UserError(f"{name} is {number}; it must lie between {low} and {high}")
        if self.dupe_factor not in (None, 1) and self._passes_are_alike:
            raise UserError(
                f"dupe_factor is {self.dupe_factor}; {self.examples} with dynamic masks would be the same each time. "
                "Leave it out, or use --masking static"
            )

    def _check_weights(self, weights: tuple[float, ...]) -> None:
        if len(weights) != len(self.input):
            raise UserError(f"{len(weights)} weights for {len(self.input)} inputs; give one for each, in their order")
        for location, weight in zip(self.input, weights, strict=True):
            if weight == 0:
                raise UserError(f"weight 0 for {location}: leave out that input and its weight")
            if not 0 < weight <= 1000:
                raise UserError(f"weight {weight} for {location}; it must lie above 0 and not above 1000")

    @property
    def lengths(self) -> tuple[int, ...]:
        return self.length if isinstance(self.length, tuple) else (self.length,)

    def at(self, length: int) -> "ShardsConfig":
        """Return the settings of one length, with the defaults that depend on other settings filled in."""
        predictions = self.max_predictions or min(length - 3, math.ceil(self.mask_rate * length - 1e-9))
        return dataclasses.replace(self, length=length, max_predictions=predictions, dupe_factor=self.passes)

    @property
    def passes(self) -> int:
        """`dupe_factor` or its default."""
        return self.dupe_factor or (1 if self._passes_are_alike else 10)

    @property
    def _passes_are_alike(self) -> bool:
        return self.masking == "dynamic" and self.examples not in PAIR_LOSSES
