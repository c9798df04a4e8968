"""Rankings of passages by vectors and by BM25, and their scores by trec_eval. Needs the extra `retrieval`."""

import importlib
import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bert_jax.errors import UserError
from bert_jax.tasks.bag_of_words import TFIDF_WORD

DEPTH = 1000  # passages in a ranking, as at TREC: MAP reads no further
QUERY_BLOCK = 256  # queries whose scores are held at a time
METRICS = {  # our names, and those of trec_eval
    "ndcg@10": "ndcg_cut_10",
    "recall@10": "recall_10",
    "recall@100": "recall_100",
    "mrr@10": "recip_rank",
    "map": "map",
}
MEASURES = {"ndcg_cut.10", "recall.10,100", "recip_rank", "map"}
LIBRARIES = ("pytrec_eval", "bm25s")

Ranking = Mapping[str, float]  # score of each passage that was found, by its id


def check_installed() -> None:
    """Raise UserError unless the libraries of the extra `retrieval` are installed."""
    for name in LIBRARIES:
        try:
            importlib.import_module(name)
        except ImportError:
            raise UserError(f"{name} is not installed: pip install 'bert_jax[retrieval]'") from None


def score_rankings(relevant: Sequence[Mapping[str, int]], rankings: Iterable[Ranking]) -> dict[str, np.ndarray]:
    """Return each metric of each query: {name: (queries,)}. Of equal scores, the larger id comes first.

    relevant  for each query the judgements by id of the passage; 1 or more is relevant
    """
    import pytrec_eval

    values: list[Mapping[str, float]] = []
    pairs = enumerate(zip(relevant, rankings, strict=True))
    while block := {str(i): pair for i, pair in itertools.islice(pairs, QUERY_BLOCK)}:
        judged = {query: dict(judgements) for query, (judgements, _) in block.items()}
        found = {query: dict(ranking) for query, (_, ranking) in block.items()}
        scored = pytrec_eval.RelevanceEvaluator(judged, MEASURES).evaluate(found)
        values += [scored[query] for query in block]
    table = {name: np.array([one[theirs] for one in values]) for name, theirs in METRICS.items()}
    table["mrr@10"][table["mrr@10"] < 1 / 10.5] = 0.0  # trec_eval has no cut for it
    return table


class BestPassages:
    """The best passages of each query so far. Of equal scores, those that were added first are better."""

    def __init__(self, queries: np.ndarray, depth: int = DEPTH) -> None:
        self.queries, self.depth = queries, depth
        self.scores = np.empty((len(queries), 0), np.float32)
        self.places = np.empty((len(queries), 0), np.int64)
        self._added = 0

    def add(self, passages: np.ndarray) -> None:
        """Add passages by their vectors (passages, width); scores are dot products with those of the queries."""
        places = np.arange(self._added, self._added + len(passages))
        self._added += len(passages)
        best = [self._best_of(slice(at, at + QUERY_BLOCK), passages, places) for at in self._blocks()]
        self.scores, self.places = (np.concatenate(parts) for parts in zip(*best, strict=True))

    def rankings(self, ids: Sequence[str]) -> Iterator[Ranking]:
        """Yield the ranking of each query. `ids` are those of all passages in the order in which they were added."""
        for places, scores in zip(self.places, self.scores, strict=True):
            yield {ids[place]: score for place, score in zip(places.tolist(), scores.tolist(), strict=True)}

    def first(self, ids: Sequence[str]) -> list[str]:
        """Return the id of the best passage of each query."""
        return [ids[place] for place in self.places[:, 0].tolist()]

    def _blocks(self) -> range:
        return range(0, len(self.queries), QUERY_BLOCK)

    def _best_of(self, block: slice, passages: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        new = self.queries[block] @ passages.T
        scores = np.concatenate([self.scores[block], new], axis=1)
        all_places = np.concatenate([self.places[block], np.broadcast_to(places, new.shape)], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, : self.depth]
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(all_places, order, axis=1)


def trec_order(ids: Sequence[str]) -> list[str]:
    """Return ids in the order in which trec_eval ranks equal scores: descending by their bytes."""
    return sorted(ids, key=str.encode, reverse=True)


def rank_by_words(queries: Sequence[str], passages: Mapping[str, str], depth: int = DEPTH) -> Iterator[Ranking] | None:
    """Return the rankings of BM25 as in Lucene (k1 1.5, b 0.75), without English stop words; None without any word."""
    import bm25s

    logging.getLogger("bm25s").setLevel(logging.WARNING)  # its own level is DEBUG

    def words(texts: Sequence[str]) -> Any:
        return bm25s.tokenize(texts, token_pattern=TFIDF_WORD, stopwords="en", return_ids=False, show_progress=False)

    ids = trec_order(list(passages))
    in_passages = words([passages[name] for name in ids])
    if not any(in_passages):
        return None
    index = bm25s.BM25()
    index.index(in_passages, show_progress=False)
    places, scores = index.retrieve(
        words(queries), k=min(depth, len(ids)), show_progress=False, backend_selection="numpy"
    )
    return (
        {ids[place]: score for place, score in zip(row.tolist(), values.tolist(), strict=True) if score > 0}
        for row, values in zip(places, scores, strict=True)
    )
