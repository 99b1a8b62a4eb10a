"""A smaller model: what is dead leaves, the outputs stay, and what stays though it is dead is said."""

import keras
import numpy as np
import pytest
from cases import HERE, rows
from keras import ops
from structured_models import MODELS, halved, random_inputs, randomize

import keras_admm as ka
from keras_admm import weights
from keras_admm.graph import groups

GATE = ("chain", "residual", "option A", "squeeze and excite", "grouped convolutions", "shared")


def outputs(model, inputs):
    return [ops.convert_to_numpy(y) for y in keras.tree.flatten(model(inputs, training=False))]


def assert_same(small, model, seed=7):
    inputs = random_inputs(model, seed=seed)
    for a, b in zip(outputs(small, inputs), outputs(model, inputs), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * max(1, np.abs(b).max()))


def shapes(model):
    return [tuple(v.shape) for v in model.weights]


def zero(*where):
    """Sets to zero what is at `(variable, axis, indices)`."""
    for variable, axis, indices in where:
        value = weights.read(variable)
        value[(slice(None),) * axis + (indices,)] = 0
        weights.write(variable, value)


def macs(model):
    return ka.report(model).total.macs


@pytest.mark.every_backend
@pytest.mark.parametrize("name", rows(lambda name: name in GATE if HERE else name == "residual", MODELS))
def test_what_is_zero_leaves_and_outputs_stay(name):
    model = MODELS[name]()
    randomize(model)
    found = groups.of(model)
    stays = halved(found)
    before = [weights.read(v) for v in model.weights]
    small = ka.shrink(model)
    assert_same(small, model)
    assert all(map(np.array_equal, before, map(weights.read, model.weights)))
    assert groups.of(small).macs() == found.macs(stays)
    assert small.count_params() == found.parameters(stays)
    assert macs(small) <= 0.6 * macs(model)
