"""The estimators: scikit-learn's checks, pipelines, cross-validation, pickles, invalid input."""

import dataclasses
import pickle
import warnings

import numpy as np
import pytest
from costly import ALL_CHECKS
from foreign import WORDS, write_hf_model
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import validate_data
from tiny import TINY

import bert_jax
from bert_jax import BertClassifier, BertRegressor, UserError
from bert_jax.api.estimators import ESTIMATOR_SETTINGS, OWN_PARAMETERS
from bert_jax.settings.finetune import FinetuneConfig
from bert_jax.text import load_tokenizer

SMALL = {"max_length": 9, "epochs": 1, "batch_size": 8, "learning_rate": 3e-3}
TEXT_WORDS = 6  # words of each text; all texts have equal length, so that few programs are compiled
ONE_LAYER = dataclasses.replace(TINY, depth=1, dropout=0.0)


OF_REGRESSORS = ("check_regressor", "check_supervised", "check_fit_idempotent", "check_parameters")
COSTLY = {
    "check_classifiers_classes",
    "check_classifiers_multilabel_output_format_decision_function",
    "check_classifiers_multilabel_output_format_predict",
    "check_classifiers_multilabel_output_format_predict_proba",
    "check_classifiers_multilabel_representation_invariance",
    "check_classifiers_train",
    "check_dtype_object",
    "check_estimators_dtypes",
    "check_pipeline_consistency",
    "check_regressor_multioutput",
}


class OnNumbers:
    """Mixin that lets an estimator of texts run scikit-learn's checks: each number becomes a word for its size."""

    def _read(self, X, *, fitting):
        numbers = validate_data(self, X, reset=fitting, dtype=np.float64)
        levels = np.digitize(numbers, [-1.0, 0.0, 1.0, 3.0])
        texts = [" ".join(f"word{5 * i + row[i % len(row)]}" for i in range(TEXT_WORDS)) for row in levels]
        return super()._read(texts, fitting=fitting)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.one_d_array, tags.input_tags.string = True, False, False
        tags.classifier_tags and setattr(tags.classifier_tags, "poor_score", True)
        tags.regressor_tags and setattr(tags.regressor_tags, "poor_score", True)
        return tags


class NumberClassifier(OnNumbers, BertClassifier):
    pass


class NumberRegressor(OnNumbers, BertRegressor):
    pass


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder")
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]) + "\n")
    write_hf_model(folder / "hf", ONE_LAYER, "encoder", tokenizer=load_tokenizer(folder / "vocab.txt", lowercase=True))
    return folder / "hf"


@pytest.fixture(autouse=True)
def few_shapes(monkeypatch):
    """Predict in batches of at most four rows, so that three shapes are compiled."""
    monkeypatch.setattr("bert_jax.api.estimators.PREDICT_ROWS", 1)


def name_of(check):
    return getattr(check, "func", check).__name__


@parametrize_with_checks([NumberClassifier(**SMALL), NumberRegressor(**SMALL)])
def test_estimators_pass_the_checks_of_scikit_learn(estimator, check, encoder):
    """The check makes its own assertions, and must not change the parameters of the estimator."""
    name = name_of(check)
    shared = isinstance(estimator, BertRegressor) and not name.startswith(OF_REGRESSORS)
    if (name in COSTLY or shared) and not ALL_CHECKS:
        pytest.skip("compiles programs of its own, or checks what the classifier shares; BERT_JAX_ALL_CHECKS=1 runs it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator.set_params(from_=str(encoder)))
    assert clone(estimator).get_params() == {**type(estimator)(**SMALL).get_params(), "from_": str(encoder)}


def texts_and_labels(count=24):
    rng = np.random.default_rng(0)
    texts = [" ".join(f"word{i}" for i in rng.integers(1, 20, TEXT_WORDS)) for _ in range(count)]
    return texts, ["urgent" if i % 3 else "calm" for i in range(count)]


def test_parameters_are_settings_of_finetune_with_their_defaults():
    fields = {field.name: field.default for field in dataclasses.fields(FinetuneConfig)}
    for estimator, more in ((BertClassifier(), {"class_weights"}), (BertRegressor(), set())):
        params = estimator.get_params()
        assert params.keys() == {"from_", *ESTIMATOR_SETTINGS, *OWN_PARAMETERS} | more
        assert all(params[name] == fields[name] for name in {*ESTIMATOR_SETTINGS} | more)
    assert is_classifier(BertClassifier()) and is_regressor(BertRegressor())
    with pytest.raises(TypeError, match="lable"):
        BertClassifier(lable="x")


def test_classifier_works_in_pipelines_cross_validation_and_pickles(encoder, tmp_path):
    texts, labels = texts_and_labels()
    classifier = BertClassifier(encoder, **SMALL)
    assert clone(classifier).get_params() == classifier.get_params()
    pipeline = Pipeline([("strip", FunctionTransformer(lambda X: [text.strip() for text in X])), ("bert", classifier)])
    assert cross_val_score(pipeline, texts, labels, cv=2).shape == (2,)
    assert GridSearchCV(classifier, {"epochs": [0.5, 1]}, cv=2).fit(np.array(texts), labels).best_params_["epochs"]
    classifier.fit(texts, labels)
    probabilities = classifier.predict_proba(texts)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert list(classifier.classes_) == ["calm", "urgent"]
    assert (classifier.predict(texts) == classifier.classes_[probabilities.argmax(axis=1)]).all()
    again = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(again.predict_proba(texts), probabilities)
    saved = bert_jax.load(classifier.save(tmp_path / "run"))
    np.testing.assert_allclose(
        [list(answer.probabilities.values()) for answer in saved.predict(texts)], probabilities, atol=1e-5
    )


def test_classifier_reads_pairs_frames_and_multi_label_targets(encoder):
    pandas = pytest.importorskip("pandas")
    texts, _ = texts_and_labels(9)
    firsts, seconds = [" ".join(text.split()[:2]) for text in texts], ["word3 word4 word5"] * 9
    frame = pandas.DataFrame({"body": firsts, "pair": seconds}, index=range(3, 12))
    pairs = BertClassifier(encoder, **SMALL).fit(frame, [0, 1, 0] * 3)
    assert pairs.predict(frame[["body", "pair"]].to_numpy()).tolist() == pairs.predict(frame).tolist()
    with pytest.raises(ValueError, match="X has single texts, BertClassifier was fitted on pairs"):
        pairs.predict(texts)
    several = BertClassifier(encoder, **SMALL).fit(texts, np.eye(2, dtype=int)[[0, 1, 0] * 3])
    assert several.predict(texts).shape == several.predict_proba(texts).shape == (9, 2)


def test_regressor_predicts_in_the_units_of_y(encoder, tmp_path):
    texts, _ = texts_and_labels()
    prices = np.linspace(90_000, 110_000, len(texts))
    regressor = BertRegressor(encoder, **SMALL).fit(texts, prices)
    predictions = regressor.predict(texts)
    assert 80_000 < predictions.min() <= predictions.max() < 120_000
    saved = bert_jax.load(regressor.save(tmp_path / "run")).predict(texts)
    np.testing.assert_allclose([answer.score for answer in saved], predictions, rtol=1e-5)


def test_invalid_input_raises_one_line_of_the_type_scikit_learn_expects(encoder):
    texts, labels = texts_and_labels(4)
    with pytest.raises(NotFittedError):
        BertClassifier(encoder).predict(texts)
    for X, y, problem in (
        ("one text", labels, "a list of texts is expected"),
        ([1.5, 2.5], labels[:2], "row 0 is 1.5 of type float, not a text"),
        ([*texts[:3], None], labels, "row 3 is None of type NoneType"),
        ([["a", "b", "c"]], ["x"], r"3 columns; it must have one \(texts\) or two"),
        (texts, ["calm"] * 4, "y has one class, 'calm'"),
        (texts, labels[:3], "inconsistent numbers of samples"),
        (texts, None, "y is missing"),
        ([], [], "0 sample"),
    ):
        with pytest.raises(ValueError, match=problem) as caught:
            BertClassifier(encoder).fit(X, y)
        assert "\n" not in str(caught.value)
    for params, problem in (
        ({"from_": None}, "from_ is missing"),
        ({"from_": encoder / "none"}, "no such file"),
        ({"epochs": "three"}, "epochs is 'three', float is expected"),
        ({"max_length": 400}, "has 17 positions"),
    ):
        with pytest.raises(UserError, match=problem):
            BertClassifier(**{"from_": encoder, **SMALL, **params}).fit(texts, labels)
