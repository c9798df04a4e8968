"""How vocabularies cut a corpus, side by side, and whether one of the domain pays."""

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
from data_prep.corpus.reading import reading_of
from data_prep.corpus.sources import find_sources
from data_prep.job.job_progress import followed
from data_prep.job.shards import disk_errors, partial_path, write_text
from data_prep.settings import ReportConfig
from data_prep.vocabulary.measurement import Measurement, Sample, WordCost, make_sample, measure
from data_prep.vocabulary.sample import sample_texts, told_losses

WINDOW, CONTROL = 512, 2  # tokens that BERT reads at once, and how many of them are [CLS] and [SEP]
MOST_UNKNOWN, OWN_PAYS, EXTENSION_PAYS, EXTENSION_WORDS = 0.01, 0.10, 0.03, 500
RULE = (
    f"The rule: compute and window go with the number of tokens. A vocabulary of its own gives up the rows of a "
    f"published model and has to be pre-trained from nothing, so it should save {OWN_PAYS:.0%} of the tokens or more. "
    f"An extension keeps the model and adds a few rows, so {EXTENSION_PAYS:.0%} is enough. Above "
    f"{MOST_UNKNOWN:.0%} of unknown tokens a vocabulary loses text, whatever its length."
)
WORD = "A word is what stands between blanks, without the punctuation at its ends, the same for every vocabulary."


@dataclasses.dataclass(frozen=True)
class VocabularyReport:
    """The figures of each vocabulary on the same sample, the first being what the others are held against."""

    files: int
    characters: int
    words: int
    distinct_words: int
    measurements: tuple[Measurement, ...]
    extends_first: tuple[bool, ...]  # has the entries of the first and more
    verdict: str

    def saved(self, measurement: Measurement) -> float:
        """The share of a window, or of compute, that the first would need beyond it."""
        return 1 - measurement.tokens / max(1, self.measurements[0].tokens)

    def words_in_window(self, measurement: Measurement) -> float:
        return self.words * (WINDOW - CONTROL) / max(1, measurement.tokens)

    def rows(self) -> list[list[str]]:
        """The table: a line a figure, a column a vocabulary."""
        figures: list[tuple[str, Callable[[Measurement], str]]] = [
            ("entries", lambda m: f"{m.entries:,}"),
            ("tokens", lambda m: f"{m.tokens:,}"),
            ("tokens a word", lambda m: f"{m.tokens_a_word:.3f}"),
            ("words cut", lambda m: f"{m.words_cut:.2%}"),
            ("words unknown", lambda m: f"{m.words_unknown:.3%}"),
            ("tokens unknown", lambda m: f"{m.tokens_unknown:.3%}"),
            ("tokens per 1,000 characters", lambda m: f"{m.tokens_per_1000_characters:.1f}"),
            (f"words in {WINDOW} tokens", lambda m: f"{self.words_in_window(m):.0f}"),
            ("window saved against the first", lambda m: f"{self.saved(m):+.1%}"),
            (
                f"saved by {EXTENSION_WORDS} words more",
                lambda m: "-" if m.saved_by_words is None else f"{m.saved_by_words:.1%}",
            ),
        ]
        return [[name, *(figure(m) for m in self.measurements)] for name, figure in figures]

    def to_json(self) -> str:
        table = dataclasses.asdict(self)
        for entry, measurement in zip(table["measurements"], self.measurements, strict=True):
            entry["saved_against_the_first"] = self.saved(measurement)
        return json.dumps(table, indent=1, ensure_ascii=False) + "\n"


def report_vocabularies(config: ReportConfig, *, say: Callable[[str], None] = lambda line: None) -> VocabularyReport:
    """The report of a sample of the corpus; files of it where `output` and `json` ask for them, whole or not at all."""
    picture = None if config.output is None else Path(config.output).with_suffix(".png")
    files = [Path(given) for given in (config.output, picture, config.json) if given is not None]
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
    sources, counts = find_sources(config.input, reading_of(config))
    with Progress("report") as shown:
        texts = followed(sample_texts(sources, config, counts), sources, config.sample_mb, shown, "counting words")
        sample = make_sample(list(texts))
        if not sample.words:
            raise UserError(f"no word in {', '.join(config.input)}: nothing but punctuation")
        shown.begin("measuring")
        measurements = tuple(
            measure(name, tokenizer, sample, worst=config.worst, added=EXTENSION_WORDS)
            for name, tokenizer in zip(_names(config.tokenizer), tokenizers, strict=True)
        )
    extensions = tuple(_extends(tokenizer, tokenizers[0]) for tokenizer in tokenizers)
    report = _report(len(sources), sample, measurements, extensions)
    for line in told_losses(counts):
        say(line)
    for path in files:
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
    if config.output is not None and picture is not None:
        write_picture(report, picture)
        write_text(Path(config.output), to_markdown(report, picture.name))
    if config.json is not None:
        write_text(Path(config.json), report.to_json())
    return report


def _report(
    files: int, sample: Sample, measurements: tuple[Measurement, ...], extensions: tuple[bool, ...]
) -> VocabularyReport:
    report = VocabularyReport(
        files, sample.characters, sample.word_count, len(sample.words), measurements, extensions, ""
    )
    return dataclasses.replace(report, verdict=_verdict(report))


def _names(given: Sequence[str]) -> list[str]:
    """The ends of the paths, as long as it takes to tell them apart."""
    parts = [Path(path).parts for path in given]
    for length in range(1, max(map(len, parts))):
        names = [str(Path(*path[-length:])) for path in parts]
        if len(set(names)) == len(set(given)):
            return names
    return list(given)


def _extends(tokenizer: Tokenizer, first: Tokenizer) -> bool:
    size = first.vocab_size
    return tokenizer.vocab_size > size and tokenizer.tokens(range(size)) == first.tokens(range(size))


def _verdict(report: VocabularyReport) -> str:
    """One or two sentences, by RULE; a third where the first vocabulary loses text."""
    first = report.measurements[0]
    sentences = []
    if first.tokens_unknown > MOST_UNKNOWN:
        sentences.append(f"{first.tokenizer} does not know {first.tokens_unknown:.1%} of the tokens: it loses text.")
    numbered = list(enumerate(report.measurements))[1:]
    for extends, what, limit in ((False, "vocabulary", OWN_PAYS), (True, "extension", EXTENSION_PAYS)):
        others = [measurement for i, measurement in numbered if report.extends_first[i] == extends]
        if others:
            sentences.append(_verdict_on(report, others, what, limit))
    if first.saved_by_words is not None and not any(report.extends_first):
        does = "pays" if first.saved_by_words >= EXTENSION_PAYS else "does not pay"
        sentences.append(
            f"Extending {first.tokenizer} {does}: `bert-jax prep vocab --extend` with {EXTENSION_WORDS} words of this "
            f"text saves {first.saved_by_words:.1%} of its tokens."
        )
    return " ".join(sentences)


def _verdict_on(report: VocabularyReport, others: Sequence[Measurement], what: str, limit: float) -> str:
    known = [measurement for measurement in others if measurement.tokens_unknown <= MOST_UNKNOWN]
    best = min(known or others, key=lambda measurement: measurement.tokens)
    saved = report.saved(best)
    if not known:
        return f"The {what} {best.tokenizer} does not know {best.tokens_unknown:.1%} of its tokens: it is no choice."
    if saved < 0:
        return f"The {what} {best.tokenizer} does not pay: it takes {-saved:.1%} more tokens."
    does, need = ("pays", "are enough") if saved >= limit else ("does not pay", "are asked")
    return f"The {what} {best.tokenizer} {does}: it saves {saved:.1%} of the tokens, {limit:.0%} {need}."


def to_markdown(report: VocabularyReport, picture: str) -> str:
    """The report as a page that shows the picture beside it."""
    names = [m.tokenizer for m in report.measurements]
    lines = [
        "# How vocabularies cut this corpus",
        "",
        report.verdict,
        "",
        f"{counted(report.words, 'word')} ({report.distinct_words:,} different ones) in {report.characters:,} "
        "characters "
        f"of {counted(report.files, 'file')}. {WORD}",
        "",
        *_table(["", *names], report.rows(), ":--" + "|--:" * len(names)),
        "",
        f"![tokens a word]({picture})",
        "",
        RULE,
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
    return [word.word, f"{word.count:,}", " · ".join(word.pieces), f"{word.extra_tokens:,}"]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], alignment: str) -> list[str]:
    return [f"| {' | '.join(head)} |", f"|{alignment}|", *(f"| {' | '.join(row)} |" for row in rows)]


def _escaped(cell: str) -> str:
    return "".join(f"\\{c}" if c in "|*_`<>[]\\#" else c for c in cell)


def write_picture(report: VocabularyReport, path: Path) -> None:
    """A bar a vocabulary: tokens a word, and the share of the words that are cut."""
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
