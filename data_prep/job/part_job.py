"""One part of the corpus, from text to shards, and the whole job around it."""

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

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
from data_prep.corpus.reading import BAD, BROKEN_TEXT, Document, Losses, reading_of
from data_prep.corpus.sentences import blank_after, split_lines, split_sentences
from data_prep.examples.builders import KINDS, Drawing, Fields
from data_prep.examples.source_weights import passes
from data_prep.examples.tokenized import Frame, TokenizedText
from data_prep.job.effort import Report
from data_prep.job.shards import ShardWriter, shard_name, write_text
from data_prep.settings import ShardsConfig

SPLITS = ("train", "held_out")
BLOCK_ROWS = 4096  # rows filled, masked and written at a time: they stay in the cache of the processor
BATCH_CHARACTERS = 1 << 22  # text tokenised at a time
MOST_SENTENCES = 6_000_000  # of a part: each takes some 115 bytes when pairs are drawn
TIGHTEST = 8  # times the text that the sizes of its files let expect, a part may have
ROOM = 1 << 26  # characters that any part may have
ROOM_OF_PARQUET = 1 << 30  # characters that a part with rows of Parquet may have: a few gigabytes of memory
PARTS_FOLDER = "parts"
LAYOUT = 2  # goes up where the same text and settings come to other shards
# Settings that do not change a byte of the shards; what `lowercase` changes the tokenizer's fingerprint stands for.
TRANSIENT = ("output", "workers", "part", "parts", "dask", "lowercase")
LENIENCE = ("encoding_errors", "on_bad")  # settings that change nothing where there is nothing to forgive
FORGIVEN = {
    "encoding_errors": BROKEN_TEXT,
    "on_bad": BAD,
}
SPLITTERS = {"rule": split_sentences, "lines": split_lines}


@dataclasses.dataclass(frozen=True)
class Made:
    """What has been made of a part at one length: a shard for each split that is not empty, and counts."""

    length: int
    shards: dict[str, Shard]
    counts: dict[str, int]


@dataclasses.dataclass(frozen=True)
class PartResult:
    """What a part has become, at each length; `counts` are of its text, whatever the length."""

    stamp: str
    made: tuple[Made, ...]
    counts: dict[str, int]
    notes: list[str]  # the first few losses by name

    @property
    def examples(self) -> int:
        return sum(shard.examples for made in self.made for shard in made.shards.values())

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True) + "\n"


@dataclasses.dataclass(frozen=True)
class PartJob:
    """All that a part depends on beside its text. Calling it is idempotent: the same part gives the same bytes."""

    config: ShardsConfig
    folder: Path
    tokenizer: Path
    fingerprint: str
    duplicates: Duplicates | None = None  # the documents to leave out

    def __call__(self, part: Part, report: Report) -> PartResult:
        tokenizer = _load_tokenizer(self.tokenizer, self.fingerprint)
        counts = Losses()
        self.result_path(part).unlink(missing_ok=True)  # it belongs to the shards that are about to be replaced
        with report.stage("tokens"):
            documents = report.each("text", read_part(part, reading_of(self.config), counts))
            if self.duplicates:
                documents = self.duplicates.without(part.index, documents, counts)
            texts = tokenize(documents, tokenizer, self.config, counts, part, report)
        lengths = self.config.lengths
        made = []
        for number, length in enumerate(lengths):

            def tell(done: float, number: int = number) -> None:
                report(0.3 + 0.7 * (number + done) / len(lengths))

            made.append(self._make(self.config.at(length), length, part, texts, tokenizer, report, tell))
        result = PartResult(self.stamp(part), tuple(made), dict(sorted(counts.items())), counts.notes)
        write_text(self.result_path(part), result.to_json())
        return result

    def _make(
        self,
        config: ShardsConfig,
        length: int,
        part: Part,
        texts: tuple[TokenizedText, TokenizedText],
        tokenizer: Tokenizer,
        report: Report,
        tell: Callable[[float], None],
    ) -> Made:
        """The shards of a part at one length are on disk; `config` is settled for it."""
        counts: Counter[str] = Counter()
        shards = {}
        for number, (split, text) in enumerate(zip(SPLITS, texts, strict=True)):
            path = length_folder(self.folder, self.config, length) / shard_name(split, part.index)
            shard = None
            if len(text.documents) > 1:
                with ShardWriter(path) as writer:
                    rows_of = examples(text, config, length, tokenizer, part, number, counts, tell)
                    for rows in report.each("examples", rows_of):
                        with report.stage("disk"):
                            writer.write(rows)
                    with report.stage("disk"):
                        shard = writer.finish()
            if shard:
                shards[split] = shard
            else:
                path.unlink(missing_ok=True)
        return Made(length, shards, dict(sorted(counts.items())))

    def stamp(self, part: Part) -> str:
        """Changes whenever the shards of the part could."""
        settings = dataclasses.asdict(self.config)
        for name in (*TRANSIENT, *LENIENCE, "input", "tokenizer"):
            del settings[name]
        decisive = [LAYOUT, settings, self.fingerprint, dataclasses.asdict(part)]
        if self.duplicates:
            decisive.append(self.duplicates.digest(part.index))
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()

    def result_path(self, part: Part) -> Path:
        return self.folder / PARTS_FOLDER / f"part-{part.index:05d}.json"

    def finished(self, part: Part) -> PartResult | None:
        """What an earlier run left of this part; None where it is missing, of other settings or not whole."""
        try:
            fields = read_json(self.result_path(part))
            made = tuple(
                Made(one["length"], {split: Shard(**shard) for split, shard in one["shards"].items()}, one["counts"])
                for one in fields["made"]
            )
            result = PartResult(fields["stamp"], made, fields["counts"], fields["notes"])
            shards = [
                (length_folder(self.folder, self.config, one.length), s) for one in made for s in one.shards.values()
            ]
            whole = all((folder / shard.file).stat().st_size == shard.bytes for folder, shard in shards)
        except (UserError, OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        if result.stamp != self.stamp(part) or not whole:
            return None
        now_strict = [name for name in LENIENCE if getattr(self.config, name) in ("strict", "stop")]
        return None if any(result.counts.get(loss) for name in now_strict for loss in FORGIVEN[name]) else result


def length_folder(folder: Path, config: ShardsConfig, length: int) -> Path:
    """Where the shards of a length lie: in the folder itself where there is no other length."""
    return folder / str(length) if len(config.lengths) > 1 else folder


def masking_of(config: ShardsConfig) -> Masking:
    """The rule of masks; `config` is settled for one length."""
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


def examples(
    text: TokenizedText,
    config: ShardsConfig,
    length: int,
    tokenizer: Tokenizer,
    part: Part,
    split: int,
    counts: Counter[str],
    tell: Callable[[float], None],
) -> Iterator[np.ndarray]:
    """Blocks of records; `config` is settled for the length.

    Held-out documents are used once, others `dupe_factor` times the weight of their input.
    """
    special, masking = tokenizer.special, masking_of(config)
    frame = Frame(length, special.cls, special.sep, special.pad, tokenizer.separators)
    add_masks = MASKS[config.masking](masking, tokenizer, counts)
    dtype = record_dtype(length, masking.max_predictions, tokenizer.vocab_size, config.examples, config.masking)
    kind = KINDS[config.examples]
    text = kind.prepare(text, frame, counts)
    training = SPLITS[split] == "train"
    times = config.passes * (part.weight or 1) if training else 1
    seed = [config.seed, part.index, split]
    for duplicate, used in enumerate(passes(text, times, seed)):
        if part.weight and training:
            counts[f"documents_used_of_input_{part.input + 1}"] += len(used.documents) - 1
        rng = np.random.default_rng([*seed, duplicate])
        number, fill = kind.draw(used, Drawing(frame, config.short_seq_prob, rng, counts))
        counts["examples"] += number
        for start in range(0, number, BLOCK_ROWS):
            fields = add_masks(fill(slice(start, min(start + BLOCK_ROWS, number))), rng)
            counts["tokens_in_examples"] += int(fields["length"].sum())
            rows = np.zeros(len(fields["length"]), dtype)
            for name, values in fields.items():
                rows[name] = values
            yield rows
        tell(min(1.0, (duplicate + 1) / times))


Adding = Callable[[Fields, np.random.Generator], Fields]


def static_masks(masking: Masking, tokenizer: Tokenizer, counts: Counter[str]) -> Adding:
    masker = make_masker(masking, tokenizer)

    def add(fields: Fields, rng: np.random.Generator) -> Fields:
        masked = masker(fields["tokens"], fields["length"], rng)
        counts["tokens_masked"] += int(masked.count.sum())
        return fields | masked.fields()

    return add


def no_masks(masking: Masking, tokenizer: Tokenizer, counts: Counter[str]) -> Adding:
    return lambda fields, rng: fields


MASKS = {"static": static_masks, "dynamic": no_masks}


def tokenize(
    documents: Iterable[Document],
    tokenizer: Tokenizer,
    config: ShardsConfig,
    counts: Losses,
    part: Part,
    report: Report,
) -> tuple[TokenizedText, TokenizedText]:
    """The documents of each split as ids. Sentences without a token are left out, documents without one are counted."""
    split_document = SPLITTERS[config.sentences]
    builders = tuple(_TextBuilder(tokenizer) for _ in SPLITS)
    characters = total = 0
    most = most_characters(part)
    for document in documents:
        builder = builders[is_held_out(document, config)]
        sentences = split_document(document.text)
        total += len(sentences)
        if total > MOST_SENTENCES:
            raise UserError(
                f"{document.name}: with it a part has {total:,} sentences, of a few bytes each, and {MOST_SENTENCES:,} "
                "fill a gigabyte of memory. Use a smaller --part-mb"
            )
        characters += len(document.text)
        if characters > most:
            raise UserError(
                f"{document.name}: with it a part has {characters:,} characters, {part.text_bytes:,} by the sizes of "
                f"its files; more than {most:,} would fill the memory. {_way_out(part)}"
            )
        builder.add(sentences)
        report(0.3 * min(1.0, characters / max(1, part.text_bytes)))
    counts["characters"] += characters
    return tuple(builder.build(split, counts) for builder, split in zip(builders, SPLITS, strict=True))  # type: ignore[return-value]


def most_characters(part: Part) -> int:
    """Return how many characters a part may have before it is taken for a file that would fill the memory.

    In Parquet a text that stands in many rows is stored once, so sizes say nothing of how much text there is.
    """
    return ROOM_OF_PARQUET if _has_parquet(part) else max(ROOM, TIGHTEST * part.text_bytes)


def _has_parquet(part: Part) -> bool:
    return any(piece.source.format == "parquet" for piece in part.pieces)


def _way_out(part: Part) -> str:
    if _has_parquet(part):
        return "Write the Parquet file without a dictionary, so that it is cut into parts by the sizes of its texts"
    return "Unpack what is packed so tightly, and break lines without end"


def is_held_out(document: Document, config: ShardsConfig) -> bool:
    """Decided by the document's name and place alone, so that no other document, part or worker has a say."""
    identity = f"{config.seed}\n{document.offset}\n{document.name}".encode("utf-8", "surrogateescape")
    digest = hashlib.blake2b(identity, digest_size=8).digest()
    return int.from_bytes(digest, "little") < config.held_out * 2**64


class _TextBuilder:
    """Gathers sentences and turns them into ids a batch at a time."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.dtype = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
        self.tokens: list[np.ndarray] = []
        self.lengths: list[np.ndarray] = []
        self.sentences_in: list[int] = []  # of each document
        self.waiting: list[str] = []
        self.characters = 0

    def add(self, sentences: list[str]) -> None:
        """A document. Its sentences but the first get their blank back: byte-level BPE has other pieces without."""
        self.sentences_in.append(len(sentences))
        blank = ""
        for sentence in sentences:
            self.waiting.append(blank + sentence)
            blank = blank_after(sentence)
            self.characters += len(sentence)
            if self.characters >= BATCH_CHARACTERS:
                self.flush()

    def flush(self) -> None:
        if self.waiting:
            ids, offsets = self.tokenizer.ids_flat(self.waiting)
            self.lengths.append(np.diff(offsets))
            self.tokens.append(ids.astype(self.dtype))
        self.waiting, self.characters = [], 0

    def build(self, split: str, counts: Losses) -> TokenizedText:
        self.flush()
        tokens = np.concatenate([np.zeros(0, self.dtype), *self.tokens])
        lengths = np.concatenate([np.zeros(0, np.int64), *self.lengths])
        owner = np.repeat(np.arange(len(self.sentences_in)), self.sentences_in)[lengths > 0]
        lengths = lengths[lengths > 0]
        sizes = np.bincount(owner, minlength=len(self.sentences_in))
        counts["documents"] += len(sizes)
        counts["documents_without_words"] += int((sizes == 0).sum())
        counts["documents_held_out"] += len(sizes) if split == "held_out" else 0
        counts["sentences"] += len(lengths)
        counts["tokens"] += len(tokens)
        counts["tokens_unknown"] += int((tokens == self.tokenizer.special.unk).sum())
        sentences = np.concatenate([[0], np.cumsum(lengths)])
        documents = np.concatenate([[0], np.cumsum(sizes[sizes > 0])])
        return TokenizedText(tokens, sentences, documents)


_loaded: dict[str, Tokenizer] = {}  # the one that this process works with, by its fingerprint


def use_tokenizer(tokenizer: Tokenizer) -> None:
    """The parts that this process makes take this tokenizer, and load none."""
    _loaded.clear()
    _loaded[tokenizer.fingerprint] = tokenizer


def _load_tokenizer(path: Path, fingerprint: str) -> Tokenizer:
    """Once a process."""
    if fingerprint not in _loaded:
        use_tokenizer(load_tokenizer(path))
    return _loaded[fingerprint]
