"""Scores of rankings are those of trec_eval, with its order of equal scores."""

import sys

import numpy as np
import pytest

from bert_jax.errors import UserError
from bert_jax.tasks.retrieval_scores import (
    METRICS,
    BestPassages,
    check_installed,
    rank_by_words,
    score_rankings,
    trec_order,
)

REASON = "scores of rankings need pytrec_eval"


def search(queries, passages, ids, chunk, depth=1000):
    """Return rankings of passages that are added `chunk` at a time."""
    order = trec_order(ids)
    by_id = dict(zip(ids, passages, strict=True))
    best = BestPassages(queries, depth)
    for at in range(0, len(order), chunk):
        best.add(np.stack([by_id[name] for name in order[at : at + chunk]]))
    return list(best.rankings(order))


def expected_scores(judged, scores):
    """Return the metrics of one query by their definitions, from the score of every passage."""
    ranked = sorted(scores, key=lambda name: (scores[name], name.encode()), reverse=True)
    gains = [judged.get(name, 0) for name in ranked]
    right = [gain > 0 for gain in gains]
    ideal = sorted(judged.values(), reverse=True)

    def discounted(values):
        return sum(value / np.log2(place + 2) for place, value in enumerate(values[:10]))

    places = [place for place, value in enumerate(right, 1) if value]
    count = sum(value > 0 for value in judged.values())
    return {
        "ndcg@10": discounted(gains) / discounted(ideal),
        "recall@10": sum(right[:10]) / count,
        "recall@100": sum(right[:100]) / count,
        "mrr@10": next((1 / place for place in places if place <= 10), 0.0),
        "map": sum(number / place for number, place in enumerate(places, 1)) / count,
    }


@pytest.mark.parametrize("chunk", [7, 150])
def test_scores_equal_their_definitions_with_many_ties(chunk):
    pytest.importorskip("pytrec_eval", reason=REASON)
    rng = np.random.default_rng(0)
    queries = rng.integers(0, 2, (23, 3)).astype(np.float32)
    passages = rng.integers(0, 2, (150, 3)).astype(np.float32)  # few distinct scores
    ids = [f"{kind}{number}" for number in range(50) for kind in ("d", "é", "Z")]
    judged = [
        {ids[i]: int(gain) for i, gain in zip(rng.permutation(150)[:6], (1, 2, 3, 0, 1, 2), strict=True)}
        for _ in queries
    ]
    values = score_rankings(judged, search(queries, passages, ids, chunk))
    scores = queries @ passages.T
    expected = [
        expected_scores(one, dict(zip(ids, row.tolist(), strict=True))) for one, row in zip(judged, scores, strict=True)
    ]
    for name in METRICS:
        np.testing.assert_allclose(values[name], [one[name] for one in expected], atol=1e-6)
    assert 0 < values["mrr@10"].mean() < 1 and (values["mrr@10"] == 0).any()


def test_the_cut_of_a_ranking_keeps_what_trec_eval_ranks_first():
    ids = ["d2", "d10", "d1", "e"]
    (ranking,) = search(np.ones((1, 1), np.float32), np.ones((4, 1), np.float32), ids, chunk=1, depth=2)
    assert list(ranking) == ["e", "d2"]


def test_a_query_that_finds_nothing_scores_zero():
    pytest.importorskip("pytrec_eval", reason=REASON)
    values = score_rankings([{"a": 1}, {"a": 1}], [{}, {"a": 0.5}])
    assert all(column.tolist() == [0.0, 1.0] for column in values.values())


def test_words_find_passages_and_no_others():
    pytest.importorskip("bm25s", reason="a ranking by words needs bm25s")
    passages = {"x": "the cats sleep", "y": "dogs bark, cats hide", "z": "東京 is big"}
    cats, nothing, tokyo = rank_by_words(["cats bark", "zebra the", "東京"], passages)
    assert list(cats) == ["y", "x"] and not nothing and list(tokyo) == ["z"]
    assert rank_by_words(["cats"], {"x": "?!"}) is None


def test_missing_libraries_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytrec_eval", None)
    with pytest.raises(UserError, match=r"pytrec_eval is not installed: pip install 'bert_jax\[retrieval\]'"):
        check_installed()
