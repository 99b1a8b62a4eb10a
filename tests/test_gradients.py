"""The gradient of a score of outputs with respect to inputs: formulas by hand on each backend."""

import keras
import numpy as np
import pytest
from cases import some
from keras import layers, ops

from keras_admm import graph
from keras_admm.gradients import Gradient

X = np.array([[1.0, 2.0], [-3.0, 0.5], [0.25, 4.0]], "float32")


def first(outputs):
    return ops.sum(ops.cast(outputs, "float32"), -1)


def squares(**kwargs):
    """(3 a + 4 b)^2 has the gradient 2 (3 a + 4 b) (3, 4)."""
    model = keras.Sequential([keras.Input((2,), name="x"), layers.Dense(1, use_bias=False, **kwargs)])
    model.set_weights([np.array([[3.0], [4.0]])])
    return keras.Sequential([keras.Input((2,), name="x"), model, layers.Lambda(ops.square, name="square")])


def of_squares(x):
    return 2 * (x @ [3.0, 4.0])[:, None] * [3.0, 4.0]


class Product(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(1, use_bias=False, kernel_initializer="ones")

    def call(self, x):
        return self.dense(x["a"] * x["b"])


def product():
    model = Product()
    model({"a": X, "b": X})
    return model


def functional_product():
    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    return keras.Model([a, b], layers.Multiply()([a, b]))


def in_another_order(of=list):
    """3 b + the sum of the letters of a, whose inputs are not in the order of their names."""
    b, a = keras.Input((2,), name="b"), keras.Input((3,), dtype="int32", name="a")
    letters = layers.GlobalAveragePooling1D()(layers.Embedding(3, 2, name="letters")(a))
    return keras.Model(of({"b": b, "a": a}) if of is dict else [b, a], layers.Rescaling(3.0)(b) + letters)


def dicts_in_dicts():
    """3 b + 2 a, where the inputs are not in the order of their names and lie at different depths."""
    b, a = keras.Input((2,), name="b"), keras.Input((2,), name="a")
    return keras.Model({"z": {"a": a}, "b": b}, layers.Rescaling(3.0)(b) + layers.Rescaling(2.0)(a))


IDS = np.array([[1, 2, 0], [0, 0, 2]])
TABLE = np.array([[1.0, -1.0], [2.0, 0.5], [0.0, 3.0]], "float32")


def embedding(dtype=None, mask_zero=False, ids=None):
    """Sum over all of the square of the embeddings, but of their mean over the letters that are not masked."""
    ids = keras.Input((3,), name="ids", dtype=dtype) if ids is None else ids
    y = layers.Embedding(3, 2, mask_zero=mask_zero, name="letters")(ids)
    return keras.Model(ids, ops.square(layers.GlobalAveragePooling1D()(y)))


def set_table(model):
    model.set_weights([TABLE])
    return model


def with_positions():
    """Embeddings of positions, which depend on no input."""
    ids = keras.Input((3,), dtype="int32", name="ids")
    places = layers.Embedding(3, 2, name="places")(ops.cumsum(ops.ones_like(ids), 1)[0:1, :] - 1)
    model = keras.Model(ids, layers.Embedding(3, 2, name="letters")(ids) * places)
    model.set_weights([TABLE, TABLE])
    return model


def mean_squares(mask=None):
    rows = TABLE[IDS]
    mask = np.ones(IDS.shape) if mask is None else mask
    share = (mask / mask.sum(1, keepdims=True))[..., None]
    return 2 * (rows * share).sum(1, keepdims=True) * share


# Each: a model, what goes in, the gradients of the sum of its outputs by name.
CASES = {
    "nested": (squares, X, lambda: {"x": of_squares(X)}),
    "whole numbers for floats": (squares, X.astype(int), lambda: {"x": of_squares(X.astype(int))}),
    "two inputs": (functional_product, [X, 2 * X], lambda: {"a": 2 * X, "b": X}),
    "subclassed, a dict": (product, {"b": X, "a": 2 * X}, lambda: {"a": X, "b": 2 * X}),
    "a list by name": (
        in_another_order,
        {"a": IDS, "b": X[:2], "more": X},
        lambda: {"b": np.full((2, 2), 3.0), "letters": np.full((2, 3, 2), 1 / 3)},
    ),
    "a dict": (
        lambda: in_another_order(dict),
        {"b": X[:2], "a": IDS, "more": X},
        lambda: {"b": np.full((2, 2), 3.0), "letters": np.full((2, 3, 2), 1 / 3)},
    ),
    "dicts in dicts": (
        dicts_in_dicts,
        {"b": X, "z": {"more": X, "a": X}},
        lambda: {"z/a": np.full(X.shape, 2.0), "b": np.full(X.shape, 3.0)},
    ),
    "dicts in dicts, flat": (
        dicts_in_dicts,
        {"b": X, "z/a": X},
        lambda: {"z/a": np.full(X.shape, 2.0), "b": np.full(X.shape, 3.0)},
    ),
    "one input by name": (squares, {"x": X}, lambda: {"x": of_squares(X)}),
    "embedding": (lambda: set_table(embedding("int32")), IDS, lambda: {"letters": mean_squares()}),
    "embedding of floats": (
        lambda: set_table(embedding()),
        IDS.astype("float32"),
        lambda: {"letters": mean_squares()},
    ),
    "embedding with a mask": (
        lambda: set_table(embedding("int32", mask_zero=True)),
        IDS,
        lambda: {"letters": mean_squares(IDS > 0)},
    ),
    "embeddings of positions": (with_positions, IDS, lambda: {"letters": np.tile(TABLE, (2, 1, 1))}),
}


@pytest.mark.every_backend
@pytest.mark.parametrize("case", some(CASES, *CASES))
def test_by_hand(case):
    make, x, expected = CASES[case]
    model = make()
    before = [ops.convert_to_numpy(v) for v in model.variables]
    scores, found = Gradient("me", model, lambda y: ops.sum(ops.reshape(y, (ops.shape(y)[0], -1)), 1))(x)
    expected = expected()
    assert sorted(found) == sorted(expected)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6)
    outputs = ops.convert_to_numpy(model(graph.inputs_by_name("me", "x", model, x))).reshape(len(scores), -1)
    np.testing.assert_allclose(scores, outputs.sum(1), rtol=1e-5)
    np.testing.assert_equal([ops.convert_to_numpy(v) for v in model.variables], before)


@pytest.mark.every_backend
def test_batch_by_batch_with_tensors_at_other_points_and_new_weights():
    model = squares()
    gradient = Gradient("me", model, lambda y, factor: factor * y[:, 0], batch_size=2)
    factor = np.array([1.0, 10.0, 100.0], "float32")
    _, found = gradient(X, (factor,))
    np.testing.assert_allclose(found["x"], factor[:, None] * of_squares(X), rtol=1e-5)
    _, found = gradient(X, (factor,), {"x": X + 1})
    np.testing.assert_allclose(found["x"], factor[:, None] * of_squares(X + 1), rtol=1e-5)
    model.set_weights([np.array([[0.0], [1.0]])])
    np.testing.assert_allclose(gradient(X, (factor,))[1]["x"][:, 1], 2 * factor * X[:, 1], rtol=1e-5)


@pytest.mark.every_backend
def test_in_mixed_precision():
    model = squares(dtype="mixed_bfloat16")
    _, found = Gradient("me", model, first)(X)
    assert found["x"].dtype == "float32"
    np.testing.assert_allclose(found["x"], of_squares(X), rtol=0.02)


@pytest.mark.tensorflow_only
def test_of_tf_keras():
    tk = pytest.importorskip("tf_keras")
    inputs, ids = tk.Input((2,), name="x"), tk.Input((3,), dtype="int32", name="ids")
    squared = tk.layers.Multiply()([inputs, inputs])
    letters = tk.layers.GlobalAveragePooling1D()(tk.layers.Embedding(3, 2, name="letters", mask_zero=True)(ids))
    model = tk.Model([inputs, ids], tk.layers.Add()([squared, letters]))
    _, found = Gradient("me", model, first)([X[:2], IDS])
    _, again = Gradient("me", model, first)({"ids": IDS, "x": X[:2]})
    np.testing.assert_equal(again, found)
    np.testing.assert_allclose(found["x"], 2 * X[:2])
    shares = (IDS > 0) / (IDS > 0).sum(1, keepdims=True)
    np.testing.assert_allclose(found["letters"], np.repeat(shares[..., None], 2, 2), rtol=1e-6)


def rounded():
    model = keras.Sequential([keras.Input((2,)), layers.Lambda(lambda x: ops.cast(x > 0, "float32"))])
    return model


def integers():
    model = keras.Sequential([keras.Input((2,), dtype="int32"), layers.Rescaling(0.5)])
    return model


NAN = np.where(X == 4, np.nan, X)
WRONG = {
    "rounded": (rounded, X, first, "must have a gradient with respect to its inputs. Received: none"),
    "integers": (integers, X.astype(int), first, "whole numbers that no Embedding layer takes"),
    "NaN": (squares, NAN, first, "`x` must be finite. Received: NaN or infinity in 1 of 6 numbers, first in sample 2"),
    "shape": (
        squares,
        X.T,
        first,
        r"the shapes of the inputs of sequential\w*, \(None, 2\). Received: \(2, 3",
    ),
    "a name": (
        in_another_order,
        {"a": IDS, "c": X[:2]},
        first,
        r"`x` must be a dict with the keys b, a, the inputs of functional\w*. Received: x=\['a', 'c'\]. Name each",
    ),
    "a name in a dict": (dicts_in_dicts, {"b": X, "z": X}, first, "a dict with the keys b, z/a, the inputs of"),
    "no samples": (squares, X[:0], first, "Pass a batch"),
    "score": (squares, X, lambda y: y, "one number for each sample"),
    "infinite": (squares, X, lambda y: y[:, 0] / 0.0, "must be finite. Received: NaN or infinity in the score"),
}


@pytest.mark.every_backend
@pytest.mark.parametrize("case", some(WRONG, "rounded"))
def test_what_is_wrong_is_said(case):
    make, x, score, sentence = WRONG[case]
    with pytest.raises(ValueError, match=sentence):
        Gradient("me", make(), score)(x)
