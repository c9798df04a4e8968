"""bert-jax evaluate --task: score the vectors of an encoder on similarity or on retrieval."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bert_jax import wording
from bert_jax.data.labelled.retrieval_files import PAIR_COLUMNS, RetrievalData, read_retrieval
from bert_jax.data.labelled.row_files import file_options
from bert_jax.data.labelled.rows import Columns
from bert_jax.data.labelled.scored_pairs import STSB_COLUMNS, read_scored_pairs
from bert_jax.errors import UserError
from bert_jax.finetuning.report.run_report import Findings, findings
from bert_jax.finetuning.reviews.review import Baseline
from bert_jax.finetuning.reviews.vector_review import review_rankings, review_similarities
from bert_jax.inference.embedder import Embedder, load_embedder, load_pooling_comparison
from bert_jax.model.pooling import COMPARED_POOLINGS
from bert_jax.progress import Progress
from bert_jax.settings.evaluate import EvaluateConfig
from bert_jax.tasks import retrieval_scores
from bert_jax.tasks.retrieval_scores import BestPassages, rank_by_words, score_rankings, trec_order
from bert_jax.tasks.scores import SCORE_METRICS, score
from bert_jax.tasks.similarity import cosines, dot_products, unit_rows, word_cosines
from bert_jax.terminal import note, say
from bert_jax.verbs.predict import CHUNK_ROWS

NOT_FOR_VECTORS = ("predictions", "choices", "long_texts", "max_answer_length")
REFUSED: dict[str | None, tuple[str, ...]] = {  # flags by task
    None: ("compare_poolings", "prompt", "passage_prompt", "score_range"),
    "sts": (*NOT_FOR_VECTORS, "passage_prompt"),
    "retrieval": (*NOT_FOR_VECTORS, "score_range", "label"),
}
QUERY_PROMPTS = ("query",)
PASSAGE_PROMPTS = ("document", "passage", "corpus")
SIMILARITY_WORDS = "cosine of TF-IDF vectors, without a model"
BM25 = "BM25, without a model"

OWN = "the model's own"
PoolingScores = dict[str, dict[str, dict[str, float]]]  # pooling, whether normalised, metric


def check_flags(config: EvaluateConfig) -> None:
    """Raise UserError for a flag that does not go with the task, or without one."""
    for name in REFUSED[config.task]:
        value = getattr(config, name)
        if value is not None and value is not False and value != ():
            flag = f"--{name.replace('_', '-')}"
            raise UserError(
                f"{flag} is for the scores of vectors. Pass --task sts or --task retrieval, or leave it out"
                if config.task is None
                else f"{flag} is not for --task {config.task}. Leave it out"
            )
    if config.task is not None and config.model is None:
        raise UserError(f"--task {config.task} needs a model. Pass --model")
    if config.score_range and (len(config.score_range) != 2 or config.score_range[0] >= config.score_range[1]):
        given = " ".join(f"{end:g}" for end in config.score_range)
        raise UserError(f"--score-range {given}: two numbers are expected, the lowest and the highest score")


def score_vectors(config: EvaluateConfig) -> tuple[dict[str, Any], Findings, Sequence[str]]:
    """Return the scores of a task, what a report says of them, and notes on the data."""
    return (_score_sts if config.task == "sts" else _score_retrieval)(config)


class _Source:
    """The vectors of an encoder: of its own pooling, and of all if they are compared."""

    def __init__(self, config: EvaluateConfig) -> None:
        assert config.model is not None
        self.model, self.batch_size = config.model, config.batch_size
        self._cut = self._texts = 0
        with Progress("reading the model"):
            if config.compare_poolings:
                comparison = load_pooling_comparison(config.model)
                self.embedder, self._vectors_of = comparison.embedder, comparison.vectors_of
            else:
                self.embedder = load_embedder(config.model)
                self._vectors_of = _alone(self.embedder)
        if self.embedder.guessed:
            note(f"{config.model} does not name a pooling; its own is taken to be the mean over the tokens")

    def prompt(self, names: Sequence[str], text: str | None) -> str:
        """Return `text`, or the first prompt of the model with one of these names, or else its default prompt."""
        name = next((name for name in names if name in self.embedder.vectors.prompts), None) if text is None else None
        return self.embedder.prompt(name=name, text=text)

    def vectors(self, title: str, texts: Sequence[str], prompt: str) -> Iterator[list[np.ndarray]]:
        """Yield the vectors of some texts at a time, by each pooling."""
        with Progress(title, len(texts), "texts") as progress:
            for at in range(0, len(texts), CHUNK_ROWS):
                chunk = texts[at : at + CHUNK_ROWS]
                with progress.part(len(chunk)):
                    encoded = self.embedder.encode(chunk, prompt)
                    self._cut += encoded.truncated
                    self._texts += len(chunk)
                    vectors = self._vectors_of(encoded, prompt, batch_size=self.batch_size)
                if not np.isfinite(vectors[0]).all():
                    raise UserError(f"{self.model}: a vector has a number that is not finite. The weights are damaged")
                yield vectors

    def all_vectors(self, title: str, texts: Sequence[str], prompt: str) -> list[np.ndarray]:
        """Return the vectors of all texts, by each pooling."""
        chunks = zip(*self.vectors(title, texts, prompt), strict=True)
        return [np.concatenate(parts) for parts in chunks]

    def tell_cut(self) -> None:
        """Print how many texts were cut."""
        if self._cut:
            verb = wording.agreeing(self._cut, "was", "were")
            texts = wording.counted(self._texts, "text")
            note(f"{self._cut:,} of {texts} {verb} cut to {self.embedder.max_length} tokens")

    @property
    def pooling(self) -> str:
        """The model's own pooling in words."""
        return self.embedder.vectors.in_words()


def _alone(embedder: Embedder) -> Callable[..., list[np.ndarray]]:
    return lambda encoded, prompt, batch_size: [embedder.vectors_of(encoded, prompt, batch_size=batch_size)]


def _columns(config: EvaluateConfig, default: Columns) -> Columns | None:
    """Return the columns that the flags name, None if they name none."""
    if not (config.text or config.pair or config.label):
        return None
    label = None if default.label is None else config.label or default.label
    return Columns(config.text or default.text, config.pair or default.pair, label)


def _score_sts(config: EvaluateConfig) -> tuple[dict[str, Any], Findings, Sequence[str]]:
    low_high = (config.score_range[0], config.score_range[1]) if config.score_range else None
    rows = read_scored_pairs(config.data, _columns(config, STSB_COLUMNS), file_options(config), score_range=low_high)
    expected, pairs = np.array(rows.labels, np.float64), rows.pairs or []
    notes = [] if np.ptp(expected) else [f"{rows.source}: all scores are {expected[0]:g}, so no correlation is defined"]
    for remark in notes:
        note(remark)
    source = _Source(config)
    vectors = source.all_vectors("embedding", [*rows.texts, *pairs], source.prompt((), config.prompt))
    source.tell_cut()
    halves = [(side[: len(rows)], side[len(rows) :]) for side in vectors]
    similarities = cosines(*halves[0])
    by_words = word_cosines(rows.texts, pairs)
    words = None if by_words is None else Baseline(SIMILARITY_WORDS, score(SCORE_METRICS, by_words, expected))
    with Progress("scoring"):
        result = findings(review_similarities(rows, expected, similarities), words)
    _tell_no_better(result)
    report: dict[str, Any] = {**result.review.scores, "rows": len(rows), "pooling": source.pooling}
    if config.compare_poolings:
        report["poolings"] = _by_pooling(
            result.review.scores,
            [
                [score(SCORE_METRICS, values, expected) for values in (cosines(*pair), dot_products(*pair))]
                for pair in halves[1:]
            ],
        )
    return report, result, notes


def _score_retrieval(config: EvaluateConfig) -> tuple[dict[str, Any], Findings, Sequence[str]]:
    retrieval_scores.check_installed()
    data = read_retrieval(config.data, _columns(config, PAIR_COLUMNS), file_options(config))
    for remark in data.notes:
        note(remark)
    source = _Source(config)
    ids, best = _search(source, data, config)
    source.tell_cut()
    with Progress("scoring"):
        metrics = [score_rankings(data.relevant, one.rankings(ids)) for one in best]
        by_words = rank_by_words(data.queries, data.passages)
        words = None if by_words is None else Baseline(BM25, _means(score_rankings(data.relevant, by_words)))
        result = findings(review_rankings(data, metrics[0], best[0].first(ids)), words)
    _tell_no_better(result)
    counts = {"queries": len(data.queries), "passages": len(data.passages)}
    report: dict[str, Any] = {**result.review.scores, **counts, "pooling": source.pooling}
    if config.compare_poolings:
        others = [[_means(one) for one in metrics[at : at + 2]] for at in range(1, len(metrics), 2)]
        report["poolings"] = _by_pooling(result.review.scores, others)
    return report, result, data.notes


def _search(source: _Source, data: RetrievalData, config: EvaluateConfig) -> tuple[list[str], list[BestPassages]]:
    """Return the ids of the passages and the best ones: by the model's own vectors, then for each pooling by two.

    The two are those of the cosine and of the dot product. The model's own vectors are compared as the model says.
    """
    query_prompt = source.prompt(QUERY_PROMPTS, config.prompt)
    passage_prompt = source.prompt(PASSAGE_PROMPTS, config.passage_prompt)
    similarity = source.embedder.vectors.similarity
    if similarity not in ("cosine", "dot"):
        note(f"{config.model} compares vectors by {similarity} distance; passages are ranked by the cosine")

    def sides(vectors: list[np.ndarray]) -> list[np.ndarray]:
        own = vectors[0] if similarity == "dot" else unit_rows(vectors[0])
        return [own, *(side for other in vectors[1:] for side in (unit_rows(other), other))]

    queries = source.all_vectors("embedding queries", data.queries, query_prompt)
    best = [BestPassages(side) for side in sides(queries)]
    ids = trec_order(list(data.passages))
    for vectors in source.vectors("embedding passages", [data.passages[name] for name in ids], passage_prompt):
        for one, side in zip(best, sides(vectors), strict=True):
            one.add(side)
    return ids, best


def _tell_no_better(result: Findings) -> None:
    """Print a note if the main score is not better than the one without a model."""
    (main,), words = result.review.main, result.words
    if words is not None and result.review.scores[main] <= words.scores[main]:
        note(f"{main}: no better than {words.answer} ({words.scores[main]:.4f})")


def _means(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in metrics.items()}


def _by_pooling(scores: dict[str, float], others: Sequence[Sequence[dict[str, float]]]) -> PoolingScores:
    pairs = zip(COMPARED_POOLINGS, others, strict=True)
    return {OWN: {"": scores}, **{name: {"yes": by_cosine, "no": by_dot} for name, (by_cosine, by_dot) in pairs}}


def show_poolings(poolings: PoolingScores, model: Path | None) -> None:
    """Print a line for each pooling, with vectors normalised and not."""
    table = Table()
    table.add_column("pooling")
    table.add_column("normalised")
    metrics = list(next(iter(next(iter(poolings.values())).values())))
    for name in metrics:
        table.add_column(name, justify="right")
    for pooling, by_form in poolings.items():
        for form, scores in by_form.items():
            table.add_row(pooling, form, *(f"{scores[name]:.4f}" for name in metrics))
    say(f"{model}: poolings")
    Console(width=120).print(table)
