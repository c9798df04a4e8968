"""Reviews of vectors: the similarity of each pair, and the passages found for each query."""

from collections.abc import Mapping, Sequence

import numpy as np

from bert_jax.data.labelled.retrieval_files import RetrievalData
from bert_jax.data.labelled.rows import Rows
from bert_jax.finetuning.reviews.review import Case, Review, TextPart
from bert_jax.finetuning.reviews.row_review import place_of, row_texts
from bert_jax.tasks.scores import SCORE_METRICS, score

UNCALIBRATED = "Similarities come without a probability."
LONGEST_SHOWN = 2000  # characters of a passage


def review_similarities(rows: Rows, expected: np.ndarray, similarities: np.ndarray) -> Review:
    """Return the review of the similarity of each pair. A pair is wrong by the distance of its two ranks."""
    from scipy.stats import rankdata

    gold, given = (rankdata(values) / len(rows) for values in (expected, similarities))

    def described(value: float, share: float) -> str:
        return f"{value:.3f} (rank {share:.0%})"

    def case(i: int) -> Case:
        both = described(expected[i], gold[i]), described(similarities[i], given[i])
        return Case(place_of(rows, i), row_texts(rows, i), *both)

    return Review(
        unit="pairs",
        main=("spearman",),
        resample=lambda at: score(SCORE_METRICS, similarities[at], expected[at]),
        wrongness=np.abs(gold - given),
        case=case,
        uncalibrated=UNCALIBRATED,
    )


def review_rankings(data: RetrievalData, metrics: Mapping[str, np.ndarray], first: Sequence[str]) -> Review:
    """Return the review of the rankings, from the metrics of each query {name: (queries,)}, whose means are the scores.

    first  id of the passage that was found first, by query
    """

    def case(i: int) -> Case:
        judged = data.relevant[i]
        wanted = max(judged, key=judged.__getitem__)
        shown = {"relevant passage": wanted, "passage found first": first[i]}
        parts = [TextPart(heading, data.passages[name][:LONGEST_SHOWN]) for heading, name in shown.items()]
        return Case(data.places[i], (TextPart("query", data.queries[i]), *parts), wanted, first[i])

    return Review(
        unit="queries",
        main=("ndcg@10",),
        resample=lambda at: {name: float(values[at].mean()) for name, values in metrics.items()},
        wrongness=1 - metrics["ndcg@10"],
        case=case,
        uncalibrated=UNCALIBRATED,
    )
