"""Models beside one another: measures against numbers by hand, and against scikit-learn."""

import json

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


def logit(*after):
    """One number, .1 times the first feature: above 0, and a probability below .5 if it were one."""
    first = layers.Dense(1, use_bias=False)
    model = keras.Sequential([keras.Input((3,)), first, *after])
    first.set_weights([np.array([[0.1], [0], [0]])])
    return model


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(1, use_bias=False)

    def call(self, x):
        return self.dense(x)


def subclassed():
    model = Subclassed()
    model(X)
    model.set_weights([np.array([[0.1], [0], [0]])])
    return model


# Models of one output, and of how many of three samples with outputs .1, .4 and .1 before the last activation it is
# above one half, or above 0 for logits.
ENDS = {
    "linear": (lambda: logit(), 3),
    "what changes nothing": (lambda: logit(layers.Dropout(0.5), layers.Reshape((1,)), layers.Activation("linear")), 3),
    "a nested model": (lambda: keras.Sequential([keras.Input((3,)), logit()]), 3),
    "sigmoid": (lambda: logit(layers.Activation("sigmoid"), layers.Activation("linear")), 3),
    "sigmoid of what is below 0": (lambda: logit(layers.Rescaling(-1.0), layers.Activation("sigmoid")), 0),
    "not known": (lambda: logit(layers.Rescaling(1.0)), 0),
    "no graph": (subclassed, 0),
}


@pytest.mark.parametrize("case", ENDS)
def test_what_gives_the_outputs_says_whether_they_are_probabilities(case):
    make, ones = ENDS[case]
    (row,) = ka.compare({"a": make()}, np.abs(X), [1, 1, 1]).rows
    np.testing.assert_allclose(row.accuracy, ones / 3)


@pytest.mark.parametrize("of", [dict, list])
def test_one_output_in_a_structure(of):
    x = keras.Input((3,))
    y = layers.Dense(2, "softmax")(x)
    model = keras.Model(x, {"y": y} if of is dict else [y])
    plain = ka.compare({"a": keras.Model(x, y)}, X, [1, 0, 1])
    found = ka.compare({"a": model}, X, [1, 0, 1])
    assert found.rows == plain.rows


def test_what_is_not_defined_is_null_in_json():
    (row,) = json.loads(json.dumps(ka.compare({"a": logit()}, X, [1, 1, 1]).to_dict(), allow_nan=False))["rows"]
    assert row["auc"] is None and row["accuracy"] == 1


IDS = np.array([[1, 2, 3, 1], [3, 1, 1, 2]])
# Inputs, and the layers that take them, of which one place is looked at: the places of all.
PLACES = {
    "tokens": (IDS, [layers.Embedding, (4, 2)], (2, 4)),
    "tokens with two axes": (IDS.reshape(2, 2, 2), [layers.Embedding, (4, 2)], (2, 2, 2)),
    "a table": (X, [layers.Dense, (2,)], (3, 3)),
    "sequences": (np.ones((2, 4, 3)), [layers.Dense, (2,)], (2, 4)),
    "images": (np.ones((2, 4, 3, 1)), [layers.Dense, (2,)], (2, 4, 3)),
}


@pytest.mark.parametrize("case", PLACES)
def test_true_places_are_those_of_the_map(case):
    x, (layer, arguments), places = PLACES[case]
    dtype = "int32" if layer is layers.Embedding else "float32"
    parts = [layer(*arguments), layers.Flatten(), layers.Dense(2)]
    models = {"a": keras.Sequential([keras.Input(x.shape[1:], dtype=dtype), *parts])}
    y, truth = np.zeros(len(x), int), np.zeros(places, bool)
    strongest = ka.compare(models, x, y).maps["a"].argmax(1)
    truth.reshape(len(x), -1)[np.arange(len(x)), strongest] = True
    assert ka.compare(models, x, y, truth=truth).rows[0].auprc == 1
    with pytest.raises(ValueError, match=f"shape .{', '.join(map(str, places))}.. Received: shape .{len(x)},"):
        ka.compare(models, x, y, truth=truth.reshape(len(x), -1)[:, 0])


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
        ({"truth": np.ones((3, 2))}, r"shape \(3, 3\). Received: shape \(3, 2\)"),
        ({"y": [[1, 0, 1], [0, 0, 0], [0, 1, 1]]}, "or one-hot: in each row one 1, .* of several labels the column of"),
        ({"y": X}, "or one-hot: in each row one 1"),
        ({"y": np.eye(3) * 2}, "or one-hot: in each row one 1"),
        ({"x": X * np.nan}, "`x` must be finite"),
    ],
)
def test_what_is_wrong_is_said(arguments, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        ka.compare(**{"models": {"a": linear(np.eye(3))}, "x": X, "y": [1, 1, 0], **arguments})
