"""Turn one part of the corpus into shards."""

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np

from bert_jax.data.pretraining.masking import make_masker
from bert_jax.data.pretraining.record import Masking, Shard, record_dtype
from bert_jax.errors import UserError
from bert_jax.files import read_json
from bert_jax.text import load_tokenizer
from bert_jax.text.tokenizer import Tokenizer
from data_prep.corpus.documents import read_part
from data_prep.corpus.duplicates import Duplicates
from data_prep.corpus.parts import Part
from data_prep.corpus.reader_contract import (
    UNDECODABLE_TEXT,
    UNREADABLE_LINES,
    CorpusDocument,
    CorpusOptions,
    NotedCounter,
)
from data_prep.corpus.sentences import blank_after, split_into_lines, split_sentences
from data_prep.examples.builders import ROW_MAKERS, Fields, PassContext
from data_prep.examples.source_weights import passes
from data_prep.examples.tokenized import Frame, TokenizedText
from data_prep.job.shards import ShardWriter, shard_name, write_text_durably
from data_prep.job.task_cost import TaskReporter
from data_prep.settings import ShardsConfig

SPLITS = ("train", "held_out")
ROWS_PER_WRITE = 4096  # rows filled, masked and written at a time; they fit into the processor's cache
BATCH_CHARACTERS = 1 << 22  # characters tokenised at a time
MAX_SENTENCES = 6_000_000  # of a part; each takes about 115 bytes when pairs are drawn
MAX_EXPANSION = 8  # a part may have this many times the text that the sizes of its files suggest
MAX_CHARACTERS = 1 << 26  # a part may have this many characters in any case
MAX_CHARACTERS_OF_PARQUET = 1 << 30  # of a part with Parquet files; a few gigabytes of memory
PARTS_FOLDER = "parts"
LAYOUT = 2  # incremented when the same text and settings give other shards
# Settings that do not change the shards. `lowercase` does, but by the tokenizer's fingerprint.
SETTINGS_WITHOUT_EFFECT = ("output", "workers", "part", "parts", "dask", "lowercase")
TOLERANCE_SETTINGS = ("encoding_errors", "on_bad")  # they change nothing if all text can be read
TOLERATED_COUNTS = {
    "encoding_errors": UNDECODABLE_TEXT,
    "on_bad": UNREADABLE_LINES,
}
SPLITTERS = {"rule": split_sentences, "lines": split_into_lines}


@dataclasses.dataclass(frozen=True)
class LengthResult:
    """The shards and counts of a part at one length. Empty splits have no shard."""

    length: int
    shards: dict[str, Shard]
    counts: dict[str, int]


@dataclasses.dataclass(frozen=True)
class PartResult:
    """The result of a part. `counts` are those that do not depend on the length."""

    stamp: str
    lengths: tuple[LengthResult, ...]
    counts: dict[str, int]
    notes: list[str]  # on what was left out

    @property
    def examples(self) -> int:
        """Number of examples at all lengths."""
        return sum(shard.examples for entry in self.lengths for shard in entry.shards.values())

    def to_json(self) -> str:
        """Return the note of the part. Its `made` holds `lengths`."""
        fields = dataclasses.asdict(self)
        fields["made"] = fields.pop("lengths")
        return json.dumps(fields, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, fields: Any) -> Self:
        """Return the result in a note. Raises KeyError, TypeError or AttributeError if it is damaged."""
        lengths = tuple(
            LengthResult(
                entry["length"], {split: Shard(**shard) for split, shard in entry["shards"].items()}, entry["counts"]
            )
            for entry in fields["made"]
        )
        return cls(fields["stamp"], lengths, fields["counts"], fields["notes"])


@dataclasses.dataclass(frozen=True)
class PartJob:
    """A task that turns a part into shards and a note. The same part gives the same bytes."""

    config: ShardsConfig
    folder: Path
    tokenizer: Path
    fingerprint: str
    duplicates: Duplicates | None = None  # documents to leave out

    def __call__(self, part: Part, report: TaskReporter) -> PartResult:
        tokenizer = _load_tokenizer(self.tokenizer, self.fingerprint)
        counts = NotedCounter()
        self.result_path(part).unlink(missing_ok=True)  # its shards are about to be replaced
        with report.stage("tokens"):
            documents = report.each("text", read_part(part, CorpusOptions.from_config(self.config), counts))
            if self.duplicates:
                documents = self.duplicates.without(part.index, documents, counts)
            texts = tokenize(documents, tokenizer, self.config, counts, part, report)
        lengths = self.config.lengths
        results = []
        for number, length in enumerate(lengths):

            def report_share(share: float, number: int = number) -> None:
                report(0.3 + 0.7 * (number + share) / len(lengths))

            config = self.config.at(length)
            results.append(self._make(config, length, part, texts, tokenizer, report, report_share))
        result = PartResult(self.stamp(part), tuple(results), dict(sorted(counts.items())), counts.notes)
        write_text_durably(self.result_path(part), result.to_json())
        return result

    def _make(
        self,
        config: ShardsConfig,
        length: int,
        part: Part,
        texts: tuple[TokenizedText, TokenizedText],
        tokenizer: Tokenizer,
        report: TaskReporter,
        report_share: Callable[[float], None],
    ) -> LengthResult:
        """Write the shards of a part at one length. `config` is that of the length (`ShardsConfig.at`)."""
        counts: Counter[str] = Counter()
        shards = {}
        for number, (split, text) in enumerate(zip(SPLITS, texts, strict=True)):
            path = length_folder(self.folder, self.config, length) / shard_name(split, part.index)
            shard = None
            if len(text.documents) > 1:
                with ShardWriter(path) as writer:
                    blocks = make_examples(text, config, length, tokenizer, part, number, counts, report_share)
                    for rows in report.each("examples", blocks):
                        with report.stage("disk"):
                            writer.write(rows)
                    with report.stage("disk"):
                        shard = writer.finish()
            if shard:
                shards[split] = shard
            else:
                path.unlink(missing_ok=True)
        return LengthResult(length, shards, dict(sorted(counts.items())))

    def stamp(self, part: Part) -> str:
        """Return a hash of everything that decides the shards of a part."""
        settings = dataclasses.asdict(self.config)
        for name in (*SETTINGS_WITHOUT_EFFECT, *TOLERANCE_SETTINGS, "input", "tokenizer"):
            del settings[name]
        decisive = [LAYOUT, settings, self.fingerprint, dataclasses.asdict(part)]
        if self.duplicates:
            decisive.append(self.duplicates.digest(part.index))
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()

    def result_path(self, part: Part) -> Path:
        """Return the path of a part's note."""
        return self.folder / PARTS_FOLDER / f"part-{part.index:05d}.json"

    def finished(self, part: Part) -> PartResult | None:
        """Return an earlier result of this part, or None if it is missing, incomplete or of other settings."""
        try:
            result = PartResult.from_json(read_json(self.result_path(part)))
            complete = all(
                (length_folder(self.folder, self.config, entry.length) / shard.file).stat().st_size == shard.bytes
                for entry in result.lengths
                for shard in entry.shards.values()
            )
        except (UserError, OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        if result.stamp != self.stamp(part) or not complete:
            return None
        now_strict = [name for name in TOLERANCE_SETTINGS if getattr(self.config, name) in ("strict", "stop")]
        return (
            None if any(result.counts.get(loss) for name in now_strict for loss in TOLERATED_COUNTS[name]) else result
        )


def length_folder(folder: Path, config: ShardsConfig, length: int) -> Path:
    """Return the folder of a length's shards: a subfolder if there are several lengths, else `folder` itself."""
    return folder / str(length) if len(config.lengths) > 1 else folder


def masking_of(config: ShardsConfig) -> Masking:
    """Return the mask settings. `config` is that of one length (`ShardsConfig.at`)."""
    assert config.max_predictions is not None
    return Masking(
        rate=config.mask_rate,
        max_predictions=config.max_predictions,
        mask_share=config.mask_share,
        random_share=config.random_share,
        when=config.masking,
        unit=config.mask_unit,
        max_ngram=config.max_ngram,
    )


def make_examples(
    text: TokenizedText,
    config: ShardsConfig,
    length: int,
    tokenizer: Tokenizer,
    part: Part,
    split: int,
    counts: Counter[str],
    report_share: Callable[[float], None],
) -> Iterator[np.ndarray]:
    """Yield the examples of a split of a part, as blocks of records. `config` is that of the length.

    Held-out documents are used once, training documents `dupe_factor` times the weight of their input.
    """
    special, masking = tokenizer.special, masking_of(config)
    frame = Frame(length=length, cls=special.cls, sep=special.sep, pad=special.pad, separators=tokenizer.separators)
    add_masks = MASKS[config.masking](masking, tokenizer, counts)
    dtype = record_dtype(length, masking.max_predictions, tokenizer.vocab_size, config.examples, config.masking)
    kind = ROW_MAKERS[config.examples]
    text = kind.prepare(text, frame, counts)
    training = SPLITS[split] == "train"
    times = config.passes * (part.weight or 1) if training else 1
    seed = [config.seed, part.index, split]
    for number, pass_text in enumerate(passes(text, times, seed)):
        if part.weight and training:
            counts[f"documents_used_of_input_{part.input + 1}"] += len(pass_text.documents) - 1
        rng = np.random.default_rng([*seed, number])
        row_count, fill = kind.draw(pass_text, PassContext(frame, config.short_seq_prob, rng, counts))
        counts["examples"] += row_count
        for start in range(0, row_count, ROWS_PER_WRITE):
            fields = add_masks(fill(slice(start, min(start + ROWS_PER_WRITE, row_count))), rng)
            counts["tokens_in_examples"] += int(fields["length"].sum())
            rows = np.zeros(len(fields["length"]), dtype)
            for name, values in fields.items():
                rows[name] = values
            yield rows
        report_share(min(1.0, (number + 1) / times))


MaskAdder = Callable[[Fields, np.random.Generator], Fields]


def static_masks(masking: Masking, tokenizer: Tokenizer, counts: Counter[str]) -> MaskAdder:
    """Return a function that masks tokens of some rows, and counts them."""
    masker = make_masker(masking, tokenizer)

    def add(fields: Fields, rng: np.random.Generator) -> Fields:
        masked = masker(fields["tokens"], fields["length"], rng)
        counts["tokens_masked"] += int(masked.count.sum())
        return fields | masked.fields()

    return add


def no_masks(masking: Masking, tokenizer: Tokenizer, counts: Counter[str]) -> MaskAdder:
    """Return a function that leaves rows unmasked, for dynamic masks."""
    return lambda fields, rng: fields


MASKS = {"static": static_masks, "dynamic": no_masks}


def tokenize(
    documents: Iterable[CorpusDocument],
    tokenizer: Tokenizer,
    config: ShardsConfig,
    counts: NotedCounter,
    part: Part,
    report: TaskReporter,
) -> tuple[TokenizedText, TokenizedText]:
    """Tokenise the documents of each split. Leaves out sentences without tokens, and counts documents without any."""
    split_document = SPLITTERS[config.sentences]
    builders = tuple(_TextBuilder(tokenizer) for _ in SPLITS)
    characters = sentence_count = 0
    limit = max_characters(part)
    for document in documents:
        builder = builders[is_held_out_document(document, config)]
        sentences = split_document(document.text)
        sentence_count += len(sentences)
        if sentence_count > MAX_SENTENCES:
            raise UserError(
                f"{document.name}: with it a part has {sentence_count:,} sentences, of a few bytes each, and "
                f"{MAX_SENTENCES:,} fill a gigabyte of memory. Use a smaller --part-mb"
            )
        characters += len(document.text)
        if characters > limit:
            raise UserError(
                f"{document.name}: with it a part has {characters:,} characters, {part.text_bytes:,} by the sizes of "
                f"its files; more than {limit:,} would fill the memory. {_way_out(part)}"
            )
        builder.add(sentences)
        report(0.3 * min(1.0, characters / max(1, part.text_bytes)))
    counts["characters"] += characters
    return tuple(builder.build(split, counts) for builder, split in zip(builders, SPLITS, strict=True))  # type: ignore[return-value]


def max_characters(part: Part) -> int:
    """Return the number of characters above which a part is refused, because it would fill the memory.

    Parquet stores a text that occurs in many rows once, so the size of a file does not limit its text.
    """
    return MAX_CHARACTERS_OF_PARQUET if _has_parquet(part) else max(MAX_CHARACTERS, MAX_EXPANSION * part.text_bytes)


def _has_parquet(part: Part) -> bool:
    return any(piece.source.format == "parquet" for piece in part.pieces)


def _way_out(part: Part) -> str:
    if _has_parquet(part):
        return "Write the Parquet file without a dictionary, so that it is cut into parts by the sizes of its texts"
    return "Decompress files that are packed very tightly, and break very long lines"


def is_held_out_document(document: CorpusDocument, config: ShardsConfig) -> bool:
    """Decide if a document is held out, by the seed and its name and place only.

    So the choice does not depend on other documents, parts or workers.
    """
    identity = f"{config.seed}\n{document.offset}\n{document.name}".encode("utf-8", "surrogateescape")
    digest = hashlib.blake2b(identity, digest_size=8).digest()
    return int.from_bytes(digest, "little") < config.held_out * 2**64


class _TextBuilder:
    """Collects sentences and tokenises them in batches."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.dtype = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
        self.tokens: list[np.ndarray] = []
        self.lengths: list[np.ndarray] = []
        self.sentence_counts: list[int] = []  # by document
        self.waiting: list[str] = []
        self.characters = 0

    def add(self, sentences: list[str]) -> None:
        """Add a document. Puts back the blank between sentences, which decides pieces of byte-level BPE."""
        self.sentence_counts.append(len(sentences))
        blank = ""
        for sentence in sentences:
            self.waiting.append(blank + sentence)
            blank = blank_after(sentence)
            self.characters += len(sentence)
            if self.characters >= BATCH_CHARACTERS:
                self.flush()

    def flush(self) -> None:
        """Tokenise the sentences collected so far."""
        if self.waiting:
            ids, offsets = self.tokenizer.ids_flat(self.waiting)
            self.lengths.append(np.diff(offsets))
            self.tokens.append(ids.astype(self.dtype))
        self.waiting, self.characters = [], 0

    def build(self, split: str, counts: NotedCounter) -> TokenizedText:
        """Return the documents as one text, and count them."""
        self.flush()
        tokens = np.concatenate([np.zeros(0, self.dtype), *self.tokens])
        lengths = np.concatenate([np.zeros(0, np.int64), *self.lengths])
        owner = np.repeat(np.arange(len(self.sentence_counts)), self.sentence_counts)[lengths > 0]  # their documents
        lengths = lengths[lengths > 0]
        sizes = np.bincount(owner, minlength=len(self.sentence_counts))  # sentences by document
        counts["documents"] += len(sizes)
        counts["documents_without_words"] += int((sizes == 0).sum())
        counts["documents_held_out"] += len(sizes) if split == "held_out" else 0
        counts["sentences"] += len(lengths)
        counts["tokens"] += len(tokens)
        counts["tokens_unknown"] += int((tokens == self.tokenizer.special.unk).sum())
        sentences = np.concatenate([[0], np.cumsum(lengths)])
        documents = np.concatenate([[0], np.cumsum(sizes[sizes > 0])])
        return TokenizedText(tokens, sentences, documents)


_loaded: dict[str, Tokenizer] = {}  # this process's tokenizer, by its fingerprint


def use_tokenizer(tokenizer: Tokenizer) -> None:
    """Set the tokenizer of the parts that this process makes, which then load none."""
    _loaded.clear()
    _loaded[tokenizer.fingerprint] = tokenizer


def _load_tokenizer(path: Path, fingerprint: str) -> Tokenizer:
    """Load a tokenizer once in this process."""
    if fingerprint not in _loaded:
        use_tokenizer(load_tokenizer(path))
    return _loaded[fingerprint]
