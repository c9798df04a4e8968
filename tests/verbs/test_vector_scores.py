"""bert-jax evaluate --task: scores of the vectors of bert-jax embed."""

import json

import numpy as np
import pytest
from foreign import write_tiny_bert
from scipy import stats

import bert_jax
from bert_jax.cli import main
from bert_jax.convert.export.onnx_file import write_onnx
from bert_jax.convert.hugging_face.sentence_transformers import write_sentence_transformers
from bert_jax.convert.source import read_model
from bert_jax.inference.embedder import load_embedder
from bert_jax.model.pooling import COMPARED_POOLINGS
from bert_jax.model.vectors import VectorConfig

RNG = np.random.default_rng(0)
TEXTS = [" ".join(f"word{n}" for n in RNG.integers(1, 30, size)) for size in RNG.integers(1, 9, 80)]
PAIRS = list(zip(TEXTS[:40], TEXTS[40:], strict=True))
SCORES = RNG.uniform(0, 5, 40).round(1).tolist()
PROMPTS = {"query": "word1 ", "document": "word2 word3 ", "all": "word4 "}
RETRIEVAL = pytest.mark.usefixtures("retrieval_libraries")


@pytest.fixture
def retrieval_libraries():
    for name in ("pytrec_eval", "bm25s"):
        pytest.importorskip(name, reason="scores of retrieval need the extra retrieval")


@pytest.fixture
def model(tmp_path):
    """Write an embedder with prompts and a pooling of its own."""
    own = VectorConfig(
        pooling=("cls", "max"), normalize=True, width=17, prompts=PROMPTS, prompt="all", include_prompt=False
    )
    (tmp_path / "st").mkdir()
    write_sentence_transformers(write_tiny_bert(tmp_path / "hf", "encoder").changed(vectors=own), tmp_path / "st")
    return tmp_path / "st"


@pytest.fixture
def pairs(tmp_path):
    lines = [f"{a},{b},{score}" for (a, b), score in zip(PAIRS, SCORES, strict=True)]
    (tmp_path / "pairs.csv").write_text("\n".join(["sentence1,sentence2,score", *lines, ""]))
    return tmp_path / "pairs.csv"


@pytest.fixture
def beir(tmp_path):
    """Write a folder of BEIR whose judgements have several grades."""
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    corpus = [json.dumps({"_id": f"d{i}", "text": text}) for i, (_, text) in enumerate(PAIRS)]
    queries = [json.dumps({"_id": f"q{i}", "text": text}) for i, (text, _) in enumerate(PAIRS[:12])]
    judged = [f"q{i}\td{(i * 7 + step) % 40}\t{step}" for i in range(12) for step in range(3)]
    (folder / "corpus.jsonl").write_text("\n".join(corpus))
    (folder / "queries.jsonl").write_text("\n".join(queries))
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]))
    return folder


def run(*words):
    return main(["evaluate", *map(str, words)])


def cosine(a, b):
    return (a * b).sum(axis=-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


@pytest.mark.parametrize("compare", [(), ("--compare-poolings",)])
def test_correlations_are_those_of_the_vectors_of_embed(model, pairs, tmp_path, capsys, compare):
    assert run("--task", "sts", "--model", model, "--data", pairs, "--json", tmp_path / "a.json", *compare) == 0
    vectors = load_embedder(model).embed(TEXTS)
    expected = cosine(vectors[:40].astype(np.float64), vectors[40:].astype(np.float64))
    scores = json.loads((tmp_path / "a.json").read_text())
    assert scores["spearman"] == pytest.approx(stats.spearmanr(expected, SCORES).statistic, abs=5e-5)
    assert scores["pearson"] == pytest.approx(stats.pearsonr(expected, SCORES).statistic, abs=5e-5)
    assert scores["rows"] == 40 and scores["intervals"]["spearman"][0] < scores["spearman"]
    assert scores["baseline"]["answer"].startswith("cosine of TF-IDF vectors")
    out = capsys.readouterr().out
    assert "baseline: cosine of TF-IDF" in out and ("weightedmean" in out) == bool(compare)


@RETRIEVAL
@pytest.mark.parametrize(
    ("flags", "query_prompt", "passage_prompt"),
    [((), "word1 ", "word2 word3 "), (("--prompt", "word9 ", "--passage-prompt", ""), "word9 ", "")],
)
def test_retrieval_scores_the_vectors_of_embed(model, beir, tmp_path, flags, query_prompt, passage_prompt):
    import pytrec_eval

    assert run("--task", "retrieval", "--model", model, "--data", beir, "--json", tmp_path / "a.json", *flags) == 0
    embedder = load_embedder(model)
    queries = embedder.embed([text for text, _ in PAIRS[:12]], prompt=query_prompt)
    passages = embedder.embed([text for _, text in PAIRS], prompt=passage_prompt)
    found = {
        f"q{i}": {f"d{j}": float(score) for j, score in enumerate(cosine(query, passages))}
        for i, query in enumerate(queries)
    }
    judged = {f"q{i}": {f"d{(i * 7 + step) % 40}": step for step in range(3)} for i in range(12)}
    theirs = pytrec_eval.RelevanceEvaluator(judged, {"ndcg_cut.10", "recall.10", "map"}).evaluate(found)
    scores = json.loads((tmp_path / "a.json").read_text())
    for name, measure in (("ndcg@10", "ndcg_cut_10"), ("recall@10", "recall_10"), ("map", "map")):
        assert scores[name] == pytest.approx(np.mean([one[measure] for one in theirs.values()]), abs=5e-5)
    assert (scores["queries"], scores["passages"]) == (12, 40)
    assert scores["baseline"]["answer"] == "BM25, without a model" and set(scores["intervals"]) > {"mrr@10"}


@RETRIEVAL
def test_a_report_and_a_table_show_retrieval(model, beir, tmp_path, capsys):
    words = ("--task", "retrieval", "--model", model, "--data", beir)
    assert run(*words, "--compare-poolings", "--report", tmp_path / "report") == 0
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if line.startswith("│")]
    assert "cls and max of the tokens, without those of the prompt, normalised, its first 17 entries" in out
    assert len(lines) == 1 + 2 * len(COMPARED_POOLINGS) and "the model's own" in lines[0]
    report = (tmp_path / "report" / "report.md").read_text()
    assert "BM25" in report and "passage found first" in report and "queries.jsonl line" in report


@RETRIEVAL
def test_rows_in_memory_are_searched_and_correlated(model):
    rows = [{"query": a, "passage": b} for a, b in PAIRS]
    result = bert_jax.evaluate(task="retrieval", model=model, data=rows)
    assert {"ndcg@10", "map"} <= result.scores.keys() and result.title().endswith("39 queries")
    texts, pairs = zip(*PAIRS, strict=True)
    result = bert_jax.evaluate(task="sts", model=model, texts=list(texts), pairs=list(pairs), labels=SCORES)
    assert result.scores.keys() == {"pearson", "spearman"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--task", "sts", "--predictions", "a.json"), "--predictions is not for --task sts. Leave it out"),
        (("--task", "sts"), "--task sts needs a model. Pass --model"),
        (("--task", "sts", "--model", "m", "--score-range", "5", "0"), "--score-range 5 0: two numbers are expected"),
        (("--task", "sts", "--model", "m", "--passage-prompt", ""), "--passage-prompt is not for --task sts"),
        (("--task", "retrieval", "--model", "m", "--label", "x"), "--label is not for --task retrieval"),
        (("--model", "m", "--compare-poolings"), "--compare-poolings is for the scores of vectors. Pass --task sts or"),
    ],
)
def test_flags_that_do_not_go_together_are_named(words, message, capsys):
    assert run("--data", "d.csv", *words) == 1
    assert message in capsys.readouterr().err


def test_bad_rows_write_nothing(model, pairs, tmp_path, capsys):
    pairs.write_text(pairs.read_text() + "word1,,3\n")
    words = ("--model", model, "--data", pairs, "--json", tmp_path / "a.json", "--report", tmp_path / "report")
    assert run("--task", "sts", *words) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "pairs.csv line 42 (row 41): the text ('sentence2') is empty. Fill it in, or delete the row" in line
    assert not (tmp_path / "a.json").exists() and not (tmp_path / "report").exists()


def test_an_onnx_file_has_no_other_poolings(model, pairs, tmp_path, capsys):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    write_onnx(read_model(model), tmp_path / "onnx")
    words = ("--task", "sts", "--model", tmp_path / "onnx", "--data", pairs)
    assert run(*words) == 0
    assert run(*words, "--compare-poolings") == 1
    assert (
        "has the states of the last layer alone. Score the model that it was exported from" in capsys.readouterr().err
    )
