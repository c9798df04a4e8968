"""One part of the corpus, from text to shards, and the whole job around it."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from bert_jax.data.masking import mask_tokens
from bert_jax.data.record import Masking, Shard, record_dtype
from bert_jax.errors import UserError
from bert_jax.text import load_tokenizer
from bert_jax.text.tokenizer import Tokenizer
from data_prep import pairs as nsp
from data_prep.config import ShardsConfig
from data_prep.documents import read_part
from data_prep.duplicates import Duplicates
from data_prep.effort import Report
from data_prep.mixing import passes
from data_prep.parts import Part
from data_prep.reading import BAD, BROKEN_TEXT, Document, Losses, reading_of
from data_prep.sentences import split_lines, split_sentences
from data_prep.shards import ShardWriter, shard_name, write_text

SPLITS = ("train", "held_out")
BLOCK_ROWS = 4096  # rows filled, masked and written at a time: they stay in the cache of the processor
BATCH_CHARACTERS = 1 << 22  # text tokenised at a time
MOST_SENTENCES = 6_000_000  # of a part: each takes some 115 bytes when pairs are drawn
PARTS_FOLDER = "parts"
TRANSIENT = ("output", "workers", "part", "parts", "dask")  # settings that do not change a byte of the shards
LENIENCE = ("encoding_errors", "on_bad")  # settings that change nothing where there is nothing to forgive
FORGIVEN = {
    "encoding_errors": BROKEN_TEXT,
    "on_bad": BAD,
}
SPLITTERS = {"rule": split_sentences, "lines": split_lines}


@dataclasses.dataclass(frozen=True)
class PartResult:
    """What a part has become: a shard for each split that is not empty, and counts."""

    stamp: str
    shards: dict[str, Shard]
    counts: dict[str, int]
    notes: list[str]  # the first few losses by name

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
            texts = tokenize(documents, tokenizer, self.config, counts, part.text_bytes, report)
        shards = {}
        for number, (split, text) in enumerate(zip(SPLITS, texts, strict=True)):
            path = self.folder / shard_name(split, part.index)
            shard = None
            if len(text.documents) > 1:
                with ShardWriter(path) as writer:
                    rows_of = self.examples(text, tokenizer, part, number, counts, report)
                    for rows in report.each("examples", rows_of):
                        with report.stage("disk"):
                            writer.write(rows)
                    with report.stage("disk"):
                        shard = writer.finish()
            if shard:
                shards[split] = shard
            else:
                path.unlink(missing_ok=True)
        result = PartResult(self.stamp(part), shards, dict(sorted(counts.items())), counts.notes)
        write_text(self.result_path(part), result.to_json())
        return result

    def examples(
        self,
        text: nsp.TokenizedText,
        tokenizer: Tokenizer,
        part: Part,
        split: int,
        counts: Losses,
        report: Report,
    ) -> Iterator[np.ndarray]:
        """Blocks of records. Held-out documents are used once, others `dupe_factor` times the weight of their input."""
        config, special = self.config, tokenizer.special
        masking = Masking(config.mask_rate, config.predictions)
        dtype = record_dtype(config.length, masking.max_predictions, tokenizer.vocab_size)
        training = SPLITS[split] == "train"
        times = config.dupe_factor * (part.weight or 1) if training else 1
        seed = [config.seed, part.index, split]
        for duplicate, used in enumerate(passes(text, times, seed)):
            if part.weight and training:
                counts[f"documents_used_of_input_{part.input + 1}"] += len(used.documents) - 1
            rng = np.random.default_rng([*seed, duplicate])
            pairs = nsp.draw_pairs(used, length=config.length, short_seq_prob=config.short_seq_prob, rng=rng)
            count_pairs(pairs, counts)
            for start in range(0, len(pairs), BLOCK_ROWS):
                block = slice(start, start + BLOCK_ROWS)
                tokens, lengths, segment_b = nsp.fill_rows(
                    used, pairs, block, length=config.length, cls=special.cls, sep=special.sep, pad=special.pad
                )
                masked = mask_tokens(
                    tokens,
                    lengths,
                    rng=rng,
                    special_ids=special.all(),
                    mask_id=special.mask,
                    vocab_size=tokenizer.vocab_size,
                    max_predictions=masking.max_predictions,
                    rate=masking.rate,
                    mask_share=masking.mask_share,
                    random_share=masking.random_share,
                )
                rows = np.zeros(len(tokens), dtype)
                rows["tokens"], rows["length"], rows["segment_b"] = masked.tokens, lengths, segment_b
                rows["next_label"] = pairs.random_next[block]
                rows["masked_positions"], rows["masked_labels"] = masked.positions, masked.labels
                rows["masked_count"] = masked.count
                counts["tokens_in_examples"] += int(lengths.sum())
                counts["tokens_masked"] += int(masked.count.sum())
                yield rows
            report(0.3 + 0.7 * min(1.0, (duplicate + 1) / times))

    def stamp(self, part: Part) -> str:
        """Changes whenever the shards of the part could."""
        settings = dataclasses.asdict(self.config)
        for name in (*TRANSIENT, *LENIENCE, "input", "tokenizer"):
            del settings[name]
        decisive = [settings, self.fingerprint, dataclasses.asdict(part)]
        if self.duplicates:
            decisive.append(self.duplicates.digest(part.index))
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()

    def result_path(self, part: Part) -> Path:
        return self.folder / PARTS_FOLDER / f"part-{part.index:05d}.json"

    def finished(self, part: Part) -> PartResult | None:
        """What an earlier run left of this part; None where it is missing, of other settings or not whole."""
        try:
            fields = json.loads(self.result_path(part).read_text())
            shards = {split: Shard(**shard) for split, shard in fields["shards"].items()}
            result = PartResult(fields["stamp"], shards, fields["counts"], fields["notes"])
            sizes = [(self.folder / shard.file).stat().st_size for shard in shards.values()]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        if result.stamp != self.stamp(part) or sizes != [shard.bytes for shard in shards.values()]:
            return None
        now_strict = [name for name in LENIENCE if getattr(self.config, name) in ("strict", "stop")]
        return None if any(result.counts.get(loss) for name in now_strict for loss in FORGIVEN[name]) else result


def tokenize(
    documents: Iterable[Document],
    tokenizer: Tokenizer,
    config: ShardsConfig,
    counts: Losses,
    text_bytes: int,
    report: Report,
) -> tuple[nsp.TokenizedText, nsp.TokenizedText]:
    """The documents of each split as ids. Sentences without a token are left out, documents without one are counted."""
    split_document = SPLITTERS[config.sentences]
    builders = tuple(_TextBuilder(tokenizer) for _ in SPLITS)
    characters = total = 0
    for document in documents:
        builder = builders[is_held_out(document, config)]
        sentences = split_document(document.text)
        total += len(sentences)
        if total > MOST_SENTENCES:
            raise UserError(
                f"{document.name}: with it a part has {total:,} sentences, of a few bytes each, and {MOST_SENTENCES:,} "
                "fill a gigabyte of memory. Use a smaller --part-mb"
            )
        builder.add(sentences)
        characters += len(document.text)
        report(0.3 * min(1.0, characters / max(1, text_bytes)))
    counts["characters"] += characters
    return tuple(builder.build(config.length, split, counts) for builder, split in zip(builders, SPLITS, strict=True))  # type: ignore[return-value]


def is_held_out(document: Document, config: ShardsConfig) -> bool:
    """Decided by the document's name and place alone, so that no other document, part or worker has a say."""
    identity = f"{config.seed}\n{document.offset}\n{document.name}".encode("utf-8", "surrogateescape")
    digest = hashlib.blake2b(identity, digest_size=8).digest()
    return int.from_bytes(digest, "little") < config.held_out * 2**64


def count_pairs(pairs: nsp.Pairs, counts: Losses) -> None:
    counts["examples"] += len(pairs)
    counts["examples_of_one_sentence"] += int(pairs.one_sentence.sum())
    counts["examples_random_next"] += int(pairs.random_next.sum())
    counts["examples_random_next_same_document"] += int(pairs.same_document.sum())
    counts["sentences_without_partner"] += pairs.without_partner
    counts["tokens_truncated"] += pairs.truncated


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
        self.sentences_in.append(len(sentences))
        for sentence in sentences:
            self.waiting.append(sentence)
            self.characters += len(sentence)
            if self.characters >= BATCH_CHARACTERS:
                self.flush()

    def flush(self) -> None:
        if self.waiting:
            ids = self.tokenizer.ids(self.waiting)
            self.lengths.append(np.fromiter(map(len, ids), np.int64, len(ids)))
            self.tokens.append(np.concatenate(ids).astype(self.dtype))
        self.waiting, self.characters = [], 0

    def build(self, length: int, split: str, counts: Losses) -> nsp.TokenizedText:
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
        sentences, documents, cut = nsp.cut_long_sentences(sentences, documents, length)
        counts["sentences_cut"] += cut
        return nsp.TokenizedText(tokens, sentences, documents)


@functools.lru_cache(maxsize=1)
def _load_tokenizer(path: Path, fingerprint: str) -> Tokenizer:
    """Once a process; `fingerprint` is there to tell one job from the next."""
    return load_tokenizer(path)
