"""Coupled groups: which channels live or die together, zero on their way, and what the model that is left costs."""

import keras
import numpy as np
import pytest
from keras import ops
from structured_models import MODELS, change, halved, random_inputs, randomize

from keras_admm.graph import groups


def slices(group):
    return [(s.variable.path, s.axis, s.indices.tolist(), s.role) for s in group.slices]


def activations(found, inputs):
    """The values of all tensors of a model's graph that have labels, by `Tensor`."""
    values = {}

    def compute(call, args, kwargs):
        out = call.layer(*args, **kwargs)
        values.update(zip(call.outputs, keras.tree.flatten(out), strict=True))
        return out

    found.calls.run(keras.tree.map_structure(ops.convert_to_tensor, inputs), compute)
    return {x: ops.convert_to_numpy(values[x]) for x in found.tensors if x in values}


def is_constant(value, width, axis, alive):
    """Whether along an axis the channels of groups that do not stay have one value each: zero, or what it became."""
    dead = np.flatnonzero((width >= 0) & ~np.append(alive, True)[width])
    part = np.moveaxis(np.take(value, dead, axis), axis, -1)
    return not part.size or not np.ptp(part, axis=tuple(range(part.ndim - 1))).any()


def check(model, read=True):
    """The laws of groups, half of those of each family being zero; returns the share of the MACs that is left.

    Their channels are zero on their way, or constant. What reads them may be anything, where none that is read is
    another constant than zero (`read`).
    """
    randomize(model)
    found, inputs = groups.of(model), random_inputs(model)
    alive = halved(found)
    for x, value in activations(found, inputs).items():
        for axis, width in enumerate(found.tensors[x]):
            assert width is None or is_constant(value, width, axis, alive), x.layer.name
    before = [ops.convert_to_numpy(y) for y in keras.tree.flatten(model(inputs))]
    assert all(np.isfinite(y).all() and y.any() for y in before)
    change(found, alive, "reads" if read else "state", lambda part: np.random.normal(size=part.shape))
    for y, after in zip(before, keras.tree.flatten(model(inputs)), strict=True):
        np.testing.assert_array_equal(y, ops.convert_to_numpy(after))
    assert found.parameters() == sum(int(np.prod(v.shape)) for v in model.weights)
    return found.macs(alive) / found.macs()


@pytest.mark.parametrize("name", MODELS)
def test_half_of_all_groups_is_zero_on_its_way_and_read_by_nobody(name):
    assert check(MODELS[name]()) <= 0.6


APPLICATIONS = {
    "MobileNetV2": 64,
    "MobileNetV3Small": 64,
    "EfficientNetB0": 64,
    "ResNet50": 64,
    "DenseNet121": 64,
    "InceptionV3": 96,
    "ConvNeXtTiny": 64,
    "NASNetMobile": 64,
}


@pytest.mark.nightly
@pytest.mark.parametrize("name", APPLICATIONS)
def test_networks_of_keras_applications(name):
    size = APPLICATIONS[name]
    build = getattr(keras.applications, name)
    assert check(build(weights=None, input_shape=(size, size, 3), classes=10)) <= 0.6
