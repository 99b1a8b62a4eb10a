"""Pruning patterns: what each zeroes as one, in the kernels of every kind, against groups told one by one."""

import collections
import itertools

import keras
import numpy as np
import pytest
from keras import ops

from keras_admm.constraints import Axes, Sparse

pytestmark = pytest.mark.every_backend

# Kernels: a shape, and what its axes are.
KERNELS = {
    "dense": ((4, 6), Axes()),
    "convolution": ((3, 3, 4, 2), Axes()),
    "convolution in time": ((5, 8, 3), Axes()),
    "transposed": ((3, 3, 3, 4), Axes(inputs=(-1,), outputs=(-2,))),
    "depthwise": ((3, 3, 4, 2), Axes(inputs=(), outputs=(-1,), groups=(-2,))),
    "einsum": ((3, 4, 5), Axes(inputs=(0, 1), outputs=(2,))),
    "heads": ((4, 2, 3), Axes(inputs=(0,), outputs=(1, 2))),
}
WAYS = {"numpy": lambda x: x, "tensor": ops.convert_to_tensor}
# What is the same of all weights of a group, by the numbers from 0 of the axes, and the window that it competes in.
KEYS = {
    "filter": lambda at, axes: tuple(at[a] for a in axes.outputs + axes.groups),
    "row": lambda at, axes: tuple(n for a, n in enumerate(at) if a not in axes.inputs),
    "column": lambda at, axes: tuple(n for a, n in enumerate(at) if a not in axes.outputs),
}


def projected(constraint, x, way):
    return ops.convert_to_numpy(constraint(WAYS[way](x)))


def groups(shape, key):
    """The places of each group, in the order of its first weight."""
    found = collections.defaultdict(list)
    for at in np.ndindex(shape):
        found[key(at)].append(at)
    return list(found.values())


def drawn(shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("structure", KEYS)
def test_slices_of_largest_norm_stay(structure, kernel, way):
    shape, axes = KERNELS[kernel]
    x = drawn(shape)
    each = groups(shape, lambda at: KEYS[structure](at, axes.of(len(shape))))
    each.sort(key=lambda places: -sum(float(x[at]) ** 2 for at in places))
    kept = round(0.4 * len(each))
    expected = np.zeros_like(x)
    for at in itertools.chain(*each[:kept]):
        expected[at] = x[at]
    constraint = Sparse(0.6, structure, axes)
    np.testing.assert_array_equal(projected(constraint, x, way), expected)
    assert constraint.kept(shape) == (kept, len(each))
    assert constraint.living(expected) == kept


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("zeros, window", [(1, 2), (2, 4), (1, 4), (3, 4)])
@pytest.mark.parametrize("kernel", ["dense", "convolution", "convolution in time", "transposed", "einsum", "heads"])
def test_in_each_window_of_inputs_the_smallest_are_zero(kernel, zeros, window, way):
    shape, axes = KERNELS[kernel]
    x = drawn(shape)
    last = axes.of(len(shape)).inputs[-1]
    expected = x.copy()
    for places in groups(shape, lambda at: (*at[:last], at[last] // window, *at[last + 1 :])):
        for at in sorted(places, key=lambda at: abs(x[at]))[:zeros]:
            expected[at] = 0
    constraint = Sparse(structure=f"{zeros}:{window}", axes=axes)
    np.testing.assert_array_equal(projected(constraint, x, way), expected)
    assert constraint.sparsity == zeros / window
    assert constraint.kept(shape) == (x.size * (window - zeros) // window, x.size)


@pytest.mark.parametrize("way", WAYS)
def test_windows_of_many_and_of_any_size(way):
    """More than are compared one with another, and sizes that are no power of two."""
    for zeros, window in ((7, 30), (2, 3), (5, 6)):
        x = np.random.default_rng(0).integers(-3, 4, (60, 7)).astype("float32") + 10
        y = projected(Sparse(structure=f"{zeros}:{window}"), x, way)
        assert (np.count_nonzero(y.reshape(-1, window, 7), axis=1) == window - zeros).all()
        order = np.argsort(-x.reshape(-1, window, 7), axis=1, kind="stable")[:, : window - zeros]
        assert np.take_along_axis(y.reshape(-1, window, 7), order, axis=1).all()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "structure, x, kept",
    [
        ("2:4", [[1], [-1], [1], [1]], [[1], [1], [0], [0]]),
        ("2:4", [[0], [0], [0], [5]], [[0], [0], [0], [1]]),
        ("1:3", [[1], [2], [1]], [[1], [1], [0]]),
        ("filter", [[3, 5, 4], [4, 0, -3]], [[1, 0, 0], [1, 0, 0]]),
        ("row", [[3, 5, 4], [4, 0, -3]], [[1, 0, 0], [1, 0, 0]]),
        ("column", [[1, 2, 2], [3, 0, 0], [2, -2, 1]], [[1, 1, 1], [0, 0, 0], [0, 0, 0]]),
    ],
)
def test_between_equals_the_lower_index_stays(structure, x, kept, way):
    x = np.array(x, "float32")
    constraint = Sparse(structure=structure) if ":" in structure else Sparse(0.67, structure)
    np.testing.assert_array_equal(projected(constraint, x, way) != 0, np.array(kept, bool))


FOUR = np.array([[[0, 1, 0], [1, 1, 1], [0, 1, 0]]] * 4, bool)
for number, left in enumerate([(0, 1), (1, 0), (1, 2), (2, 1)]):
    FOUR[(number, *left)] = False


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "shape, axes", [((3, 3, 1, 3), Axes()), ((3, 3, 3, 1), Axes((-1,), (-2,))), ((3, 3, 3, 1), Axes((), (-1,), (-2,)))]
)
def test_no_member_of_3x3_patterns_is_nearer(shape, axes, way):
    """By brute force: each of three slices is zero or has one of the four patterns, and no more than two live."""
    x = drawn(shape)
    choices = [*itertools.product([None, *FOUR], repeat=3)]
    masks = [[np.zeros((3, 3), bool) if m is None else m for m in c] for c in choices if sum(m is None for m in c) > 0]
    members = [np.where(np.stack(mask, axis=-1).reshape(shape), x, 0) for mask in masks]
    nearest = min(members, key=lambda y: np.linalg.norm(y - x))
    constraint = Sparse(1 / 3, "pattern", axes)
    np.testing.assert_array_equal(projected(constraint, x, way), nearest)
    np.testing.assert_array_equal(projected(constraint, nearest, way), nearest)
    assert constraint.kept(shape) == (2, 3)


@pytest.mark.parametrize("way", WAYS)
def test_slices_are_chosen_by_what_their_pattern_keeps(way):
    """The first has the larger norm, in its corners; a neighbour far below the others is still told from another."""
    first, second = np.full((3, 3), 9.0), np.zeros((3, 3))
    first[[0, 1, 1, 1, 2], [1, 0, 1, 2, 1]] = 0.1
    second[[0, 1, 1, 1, 2], [1, 0, 1, 2, 1]] = [2e-6, 1, 1, 1e-6, 1]
    y = projected(Sparse(0.5, "pattern"), np.stack([first, second], axis=-1)[:, :, None].astype("float32"), way)
    assert not y[..., 0].any()
    np.testing.assert_array_equal(y[:, :, 0, 1] != 0, [[0, 1, 0], [1, 1, 0], [0, 1, 0]])
    equal = projected(Sparse(0.0, "pattern"), np.ones((3, 3, 1, 1), "float32"), way)[:, :, 0, 0]
    np.testing.assert_array_equal(equal, FOUR[3])


@pytest.mark.parametrize("way", WAYS)
def test_blocks_lie_where_the_axes_are(way):
    """Of a transposed convolution the inputs are last: its blocks are those of the same kernel, its axes exchanged."""
    x = drawn((3, 3, 5, 7))
    straight = projected(Sparse(0.8, "block(2,4)"), x, way)
    turned = Sparse(0.8, "block(2,4)", Axes(inputs=(-1,), outputs=(-2,)))
    np.testing.assert_array_equal(projected(turned, x.swapaxes(2, 3).copy(), way), straight.swapaxes(2, 3))
    depthwise = Sparse(0.8, "block(2,4)", KERNELS["depthwise"][1])  # whose blocks are of channels
    np.testing.assert_array_equal(projected(depthwise, x, way), straight)


@pytest.mark.parametrize(
    "arguments, error, sentence",
    [
        ({"structure": "4:4"}, ValueError, "must be 'm:n' with 0 < m < n.* Received: structure='4:4'. Pass '2:4'"),
        ({"structure": "0:4"}, ValueError, "must be 'm:n' with 0 < m < n.* Received: structure='0:4'"),
        ({"sparsity": 0.5, "structure": "2:4"}, ValueError, "exactly one of `sparsity`.*sparsity=0.5.*Leave the spars"),
        ({}, ValueError, "exactly one of `sparsity`.*Received: sparsity=None, structure='element'. Pass sparsity="),
        ({"structure": "filter"}, ValueError, "exactly one of .*Received: sparsity=None, structure='filter'"),
        ({"sparsity": 0.5, "structure": "channel"}, ValueError, "coupled groups of a whole model.*Use ADMMPrune"),
        ({"sparsity": 0.5, "axes": -1}, TypeError, "`axes` must be a constraints.Axes. Received: axes=-1. Pass Axes"),
    ],
)
def test_bad_arguments_get_a_sentence(arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        Sparse(**arguments)


@pytest.mark.parametrize(
    "structure, axes, shape, sentence",
    [
        ("2:4", None, (3, 3, 3, 8), r"'2:4' needs an axis of inputs that 4 divides. Received: .* \(3, 3, 3, 8\). Excl"),
        ("2:4", KERNELS["depthwise"][1], (3, 3, 4, 4), "needs an axis of inputs that 4 divides"),
        ("2:4", None, (4,), "needs an axis of inputs"),
        ("pattern", None, (5, 5, 2, 2), "'pattern' needs a kernel of 3x3 places. Received: .*Exclude it"),
        ("pattern", None, (3, 2), "'pattern' needs a kernel of 3x3 places"),
        ("filter", None, (4,), "'filter' needs an axis of inputs and one of outputs"),
        ("column", None, (4,), "'column' needs an axis of inputs and one of outputs"),
        ("block(1,4)", None, (), "needs two axes"),
    ],
)
def test_what_does_not_fit_gets_a_sentence(structure, axes, shape, sentence):
    constraint = Sparse(structure=structure, axes=axes) if ":" in structure else Sparse(0.5, structure, axes)
    with pytest.raises(ValueError, match=sentence):
        constraint(np.ones(shape, "float32"))


@pytest.mark.parametrize("structure", ["2:4", "filter", "row", "column", "pattern"])
def test_as_a_kernel_constraint_in_a_compiled_step_and_in_a_file(structure):
    constraint = Sparse(None if ":" in structure else 0.5, structure)
    layers = [keras.Input((5, 5, 4)), keras.layers.Conv2D(6, 3, kernel_constraint=constraint)]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(drawn((8, 5, 5, 4)), np.ones((8, 3, 3, 6)), verbose=0)
    w = ops.convert_to_numpy(model.layers[0].kernel)
    again = keras.constraints.deserialize(keras.constraints.serialize(constraint.along(Axes())))
    np.testing.assert_array_equal(again(w), w)
    assert constraint.living(w) == constraint.kept(w.shape)[0] < constraint.kept(w.shape)[1]
    assert (again.structure, again.sparsity, again.axes) == (structure, constraint.sparsity, Axes())
