"""Compare how vocabularies tokenise a corpus, and decide whether a vocabulary of the domain pays."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from bert_jax.errors import UserError
from bert_jax.output import check_folder
from bert_jax.progress import Progress
from bert_jax.text import load_tokenizer
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.wording import counted
from data_prep.corpus.reader_contract import CorpusOptions
from data_prep.corpus.sources import find_sources
from data_prep.job.job_progress import show_reading
from data_prep.job.shards import disk_errors, partial_path, write_text_durably
from data_prep.settings import ReportConfig
from data_prep.vocabulary.measurement import Measurement, Sample, WordCost, make_sample, measure
from data_prep.vocabulary.sample import describe_counts, sample_texts

WINDOW, CONTROL = 512, 2  # tokens of BERT's window, of which [CLS] and [SEP] are two
MAX_UNKNOWN = 0.01  # share of unknown tokens above which a vocabulary loses text
NEW_PAYS, EXTENSION_PAYS = 0.10, 0.03  # share of tokens that a new vocabulary or an extension must save
EXTENSION_WORDS = 500
VERDICT_RULE = (
    f"The rule: compute grows with the number of tokens, and the window holds a fixed number of them. A new vocabulary "
    f"cannot use the embeddings of a published model, so the model must be pre-trained from scratch: it should save "
    f"{NEW_PAYS:.0%} of the tokens or more. An extension keeps the model and adds a few rows, so {EXTENSION_PAYS:.0%} "
    f"is enough. A vocabulary with more than {MAX_UNKNOWN:.0%} unknown tokens loses text, however short its texts are."
)
WORD_DEFINITION = (
    "A word is a run of characters between blanks, without the punctuation at its ends. It is the same for every "
    "vocabulary."
)


@dataclasses.dataclass(frozen=True)
class VocabularyReport:
    """The figures of each vocabulary on the same sample. The others are compared with the first."""

    files: int
    characters: int
    words: int
    distinct_words: int
    measurements: tuple[Measurement, ...]
    extends_first: tuple[bool, ...]  # True for a vocabulary that has the entries of the first and more
    verdict: str

    def saved(self, measurement: Measurement) -> float:
        """Return the share of the first vocabulary's tokens that another saves."""
        return 1 - measurement.tokens / max(1, self.measurements[0].tokens)

    def words_in_window(self, measurement: Measurement) -> float:
        """Return the mean number of words that fit into a window."""
        return self.words * (WINDOW - CONTROL) / max(1, measurement.tokens)

    def rows(self) -> list[list[str]]:
        """Return the table: a row for each figure, with a column for each vocabulary."""
        figures: list[tuple[str, Callable[[Measurement], str]]] = [
            ("entries", lambda m: f"{m.entries:,}"),
            ("tokens", lambda m: f"{m.tokens:,}"),
            ("tokens a word", lambda m: f"{m.tokens_a_word:.3f}"),
            ("words cut", lambda m: f"{m.words_cut:.2%}"),
            ("words unknown", lambda m: f"{m.words_unknown:.3%}"),
            ("tokens unknown", lambda m: f"{m.tokens_unknown:.3%}"),
            ("tokens per 1,000 characters", lambda m: f"{m.tokens_per_1000_characters:.1f}"),
            (f"words in {WINDOW} tokens", lambda m: f"{self.words_in_window(m):.0f}"),
            ("tokens saved against the first", lambda m: f"{self.saved(m):+.1%}"),
            (
                f"saved by {EXTENSION_WORDS} words more",
                lambda m: "-" if m.saved_by_words is None else f"{m.saved_by_words:.1%}",
            ),
        ]
        return [[name, *(figure(m) for m in self.measurements)] for name, figure in figures]

    def to_json(self) -> str:
        """Return the report as JSON."""
        table = dataclasses.asdict(self)
        for entry, measurement in zip(table["measurements"], self.measurements, strict=True):
            entry["saved_against_the_first"] = self.saved(measurement)
        return json.dumps(table, indent=1, ensure_ascii=False) + "\n"


def compare_vocabularies(config: ReportConfig, *, say: Callable[[str], None] = lambda line: None) -> VocabularyReport:
    """Return the report of a sample of the corpus.

    Writes it to the files that `output` and `json` name, if any. A file is never left half-written.
    """
    picture = None if config.output is None else Path(config.output).with_suffix(".png")
    files = [Path(name) for name in (config.output, picture, config.json) if name is not None]
    if len(set(files)) < len(files):
        raise UserError(
            f"{', '.join(map(str, files))}: page, picture and JSON go to different files. Choose other names"
        )
    for path in files:
        flag = "--json" if str(path) == config.json else "--output"
        check_folder(path.parent, flag=flag)
        if path.exists():
            raise UserError(f"{path} exists. Choose another {flag}, or remove it")
    if not config.tokenizer:
        raise UserError("no tokenizer given. Name one or more with --tokenizer")
    tokenizers = [
        load_tokenizer(path, lowercase=config.lowercase if path.is_file() else None)
        for path in map(Path, config.tokenizer)
    ]
    sources, counts = find_sources(config.input, CorpusOptions.from_config(config))
    with Progress("report") as line:
        texts = show_reading(sample_texts(sources, config, counts), sources, config.sample_mb, line, "counting words")
        sample = make_sample(list(texts))
        if not sample.words:
            raise UserError(f"no word in {', '.join(config.input)}: nothing but punctuation")
        line.begin("measuring")
        measurements = tuple(
            measure(name, tokenizer, sample, worst=config.worst, added=EXTENSION_WORDS)
            for name, tokenizer in zip(_names(config.tokenizer), tokenizers, strict=True)
        )
    extensions = tuple(_extends(tokenizer, tokenizers[0]) for tokenizer in tokenizers)
    report = _make_report(len(sources), sample, measurements, extensions)
    for remark in describe_counts(counts):
        say(remark)
    for path in files:
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
    if config.output is not None and picture is not None:
        write_picture(report, picture)
        write_text_durably(Path(config.output), report_markdown(report, picture.name))
    if config.json is not None:
        write_text_durably(Path(config.json), report.to_json())
    return report


def _make_report(
    files: int, sample: Sample, measurements: tuple[Measurement, ...], extensions: tuple[bool, ...]
) -> VocabularyReport:
    report = VocabularyReport(
        files=files,
        characters=sample.characters,
        words=sample.word_count,
        distinct_words=len(sample.words),
        measurements=measurements,
        extends_first=extensions,
        verdict="",
    )
    return dataclasses.replace(report, verdict=_verdict(report))


def _names(paths: Sequence[str]) -> list[str]:
    """Return the shortest ends of the paths that tell them apart."""
    parts = [Path(path).parts for path in paths]
    for length in range(1, max(map(len, parts))):
        names = [str(Path(*path[-length:])) for path in parts]
        if len(set(names)) == len(set(paths)):
            return names
    return list(paths)


def _extends(tokenizer: Tokenizer, first: Tokenizer) -> bool:
    """Return True if a tokenizer has the entries of the first and more."""
    size = first.vocab_size
    return tokenizer.vocab_size > size and tokenizer.tokens(range(size)) == first.tokens(range(size))


def _verdict(report: VocabularyReport) -> str:
    """Return the verdict by VERDICT_RULE, in one to four sentences."""
    first = report.measurements[0]
    sentences = []
    if first.tokens_unknown > MAX_UNKNOWN:
        sentences.append(f"{first.tokenizer} does not know {first.tokens_unknown:.1%} of the tokens: it loses text.")
    numbered = list(enumerate(report.measurements))[1:]
    for extends, noun, limit in ((False, "vocabulary", NEW_PAYS), (True, "extension", EXTENSION_PAYS)):
        others = [measurement for i, measurement in numbered if report.extends_first[i] == extends]
        if others:
            sentences.append(_verdict_on(report, others, noun, limit))
    if first.saved_by_words is not None and not any(report.extends_first):
        does = "pays" if first.saved_by_words >= EXTENSION_PAYS else "does not pay"
        sentences.append(
            f"Extending {first.tokenizer} {does}: `bert-jax prep vocab --extend` with {EXTENSION_WORDS} words of this "
            f"text saves {first.saved_by_words:.1%} of its tokens."
        )
    return " ".join(sentences)


def _verdict_on(report: VocabularyReport, others: Sequence[Measurement], noun: str, limit: float) -> str:
    """Return the verdict on the vocabularies that extend the first, or on those that do not."""
    complete = [measurement for measurement in others if measurement.tokens_unknown <= MAX_UNKNOWN]
    best = min(complete or others, key=lambda measurement: measurement.tokens)
    saved = report.saved(best)
    if not complete:
        return f"The {noun} {best.tokenizer} does not know {best.tokens_unknown:.1%} of its tokens: it is no choice."
    if saved < 0:
        return f"The {noun} {best.tokenizer} does not pay: it takes {-saved:.1%} more tokens."
    does, need = ("pays", "is enough") if saved >= limit else ("does not pay", "is needed")
    return f"The {noun} {best.tokenizer} {does}: it saves {saved:.1%} of the tokens, {limit:.0%} {need}."


def report_markdown(report: VocabularyReport, picture: str) -> str:
    """Return the report as a Markdown page that shows the picture."""
    names = [m.tokenizer for m in report.measurements]
    lines = [
        "# How vocabularies cut this corpus",
        "",
        report.verdict,
        "",
        f"{counted(report.words, 'word')} ({report.distinct_words:,} different ones) in {report.characters:,} "
        f"characters of {counted(report.files, 'file')}. {WORD_DEFINITION}",
        "",
        *_table(["", *names], report.rows(), ":--" + "|--:" * len(names)),
        "",
        f"![tokens a word]({picture})",
        "",
        VERDICT_RULE,
    ]
    for measurement in report.measurements:
        for title, words in (("cost most tokens", measurement.worst), ("are unknown", measurement.unknown)):
            if words:
                cells = [[_escaped(cell) for cell in word_row(word)] for word in words]
                head = ["word", "times", "pieces", "tokens beyond one"]
                lines += ["", f"## Words that {title} in {measurement.tokenizer}", ""]
                lines += _table(head, cells, ":--|--:|:--|--:")
    return "\n".join(lines) + "\n"


def word_row(word: WordCost) -> list[str]:
    """Return the cells of a word: the word, its occurrences, its pieces, its extra tokens."""
    return [word.word, f"{word.count:,}", " · ".join(word.pieces), f"{word.extra_tokens:,}"]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], alignment: str) -> list[str]:
    return [f"| {' | '.join(head)} |", f"|{alignment}|", *(f"| {' | '.join(row)} |" for row in rows)]


def _escaped(cell: str) -> str:
    return "".join(f"\\{c}" if c in "|*_`<>[]\\#" else c for c in cell)


def write_picture(report: VocabularyReport, path: Path) -> None:
    """Draw a bar for each vocabulary: tokens a word, and the share of the words that are cut."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [m.tokenizer.replace("$", r"\$") for m in report.measurements]
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 0.9 + 0.5 * len(names)), sharey=True, layout="constrained")
    for axis, title, values, style in (
        (axes[0], "tokens a word", [m.tokens_a_word for m in report.measurements], "{:.2f}"),
        (axes[1], "words cut, %", [100 * m.words_cut for m in report.measurements], "{:.1f}"),
    ):
        bars = axis.barh(range(len(names)), values, color="#4477aa", height=0.6)
        axis.bar_label(bars, [style.format(value) for value in values], padding=3)
        axis.set_title(title, fontsize=10)
        axis.set_xlim(0, 1.15 * max([*values, 0.1]))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    partial = partial_path(path)
    with disk_errors(path):
        try:
            figure.savefig(partial, dpi=150, format="png")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
            pyplot.close(figure)
