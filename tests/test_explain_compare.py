"""Models beside one another: measures against numbers by hand, and against scikit-learn."""

import keras
import numpy as np
import pytest
from keras import layers
from scipy import stats
from sklearn import metrics

import keras_admm as ka
from keras_admm.explain import Motif, ranks

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("ties", [False, True])
def test_measures_are_those_of_scikit_learn(ties):
    truth, scores = RNG.random(50) < 0.3, RNG.random(50)
    scores = scores.round(1) if ties else scores
    np.testing.assert_allclose(ranks.auc(truth, scores), metrics.roc_auc_score(truth, scores))
    np.testing.assert_allclose(ranks.average_precision(truth, scores), metrics.average_precision_score(truth, scores))
    others = RNG.random(50).round(1)
    (found,) = ranks.rank_correlation(scores[None], others[None])
    np.testing.assert_allclose(found, stats.spearmanr(scores, others).statistic)


def test_a_map_of_one_number_correlates_with_none():
    assert ranks.rank_correlation(np.ones((1, 4)), np.arange(4.0)[None]).tolist() == [0]


def linear(kernel, activation="softmax"):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(np.shape(kernel)[1], activation, use_bias=False)])
    model.set_weights([np.array(kernel, "float32")])
    return model


X = np.array([[1.0, 2.0, 4.0], [4.0, 1.0, 2.0], [1.0, 1.0, -9.0]])


@pytest.mark.every_backend
def test_by_hand():
    """Of logits the saliency of class 1 is |w| x."""
    dense, small = linear([[0, 1], [0, 1], [0, 1]], None), linear([[0, 1], [0, 1], [0, 0]], None)
    found = ka.compare({"dense": dense, "small": small}, X, [1, 1, 0], top=0.34)
    first, second = found.rows
    assert (first.accuracy, first.agreement, first.overlap) == (1, 1, 1) and first.auc == 1
    # The second one takes the last sample for class 1, and sees nothing of the last feature.
    assert np.allclose((second.accuracy, second.agreement, second.auc), (2 / 3, 2 / 3, 1))
    np.testing.assert_allclose(found.maps["small"][:2], X[:2] * [1, 1, 0])
    np.testing.assert_allclose(found.scores["small"], [3, 5, 0])
    np.testing.assert_allclose(second.overlap, 2 / 3)  # the largest: places 2, 0, none; places 1, 0, none


def test_most_changed_and_printed():
    dense, small = linear([[0, 1], [0, 1], [0, 1]], None), linear([[0, 1], [0, 1], [0, 0]], None)
    found = ka.compare({"dense": dense, "small": small}, X, np.eye(2)[[1, 1, 1]])
    assert found.rows[1].prediction_changed == (2, 0, 1)
    assert "small beside dense: scores changed most of samples 2, 0, 1" in str(found)
    head, *lines = found.cells()
    assert head[:2] == ["model", "accuracy"] and "AUPRC" not in head and lines[0][0] == "dense"
    assert found.to_dict()["rows"][1]["name"] == "small"


@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_of_one_output(activation):
    model = linear([[1], [1], [1]], activation)
    (row,) = ka.compare({"a": model}, X, [[1], [1], [0]]).rows
    assert row.accuracy == row.auc == 1


LETTERS = np.eye(4, dtype="float32")
GATA = LETTERS[[2, 0, 3, 0, 0, 2, 1, 3]]


def detector(kernel):
    layer = layers.Conv1D(1, 8, activation="relu", name="conv")
    model = keras.Sequential([keras.Input((20, 4)), layer, layers.GlobalMaxPooling1D(), layers.Dense(1)])
    model.set_weights([kernel[..., None], np.array([-6.5]), np.ones((1, 1)), np.zeros(1)])
    return model


def sequences():
    x = LETTERS[RNG.integers(0, 4, (30, 20))]
    x[:, 5:13] = GATA
    return x


def test_motifs_found_and_lost_and_places_that_are_known():
    known = [Motif("m1", "GATA1", GATA)]
    known += [Motif(f"r{i}", "other", RNG.dirichlet([0.3] * 4, 7).astype("float32")) for i in range(9)]
    truth = np.zeros((30, 20), bool)
    truth[:, 5:13] = True
    models = {"dense": detector(GATA), "other": detector(GATA[::-1] * 0)}
    found = ka.compare(models, sequences(), np.ones(30, int), truth=truth, motifs=known)
    first, second = found.rows
    assert "m1 GATA1" in first.motifs and second.motifs == () and second.lost == first.motifs
    assert first.auprc > 0.9 and second.auprc < 0.5
    assert "Motifs lost: m1 GATA1" in str(found)


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ({"models": [linear(np.eye(3))]}, "must be a dict of names to models"),
        ({"models": {"a": "model.keras"}}, "Open a file"),
        ({"y": [0.5, 1, 1]}, "the class of each sample"),
        ({"y": [1, 1]}, "one class for each of the 3 samples"),
        ({"y": [1, 1, 3]}, "from 0 to 2"),
        ({"truth": np.ones((3, 2))}, r"shape \(3,\). Received: shape \(3, 2\)"),
        ({"x": X * np.nan}, "`x` must be finite"),
    ],
)
def test_what_is_wrong_is_said(arguments, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        ka.compare(**{"models": {"a": linear(np.eye(3))}, "x": X, "y": [1, 1, 0], **arguments})
