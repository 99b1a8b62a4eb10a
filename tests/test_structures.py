"""`ADMMPrune(structure=...)` on a convolutional model: what each kernel keeps, and what a structure does not fit."""

import warnings

import keras
import numpy as np
import pytest

import keras_admm as ka
from keras_admm import weights

pytestmark = pytest.mark.every_backend


def network(channels=1):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6, 6, channels)),
            keras.layers.Conv2D(8, 3, name="first"),
            keras.layers.SeparableConv2D(4, 3, name="separable"),
            keras.layers.Conv2DTranspose(8, 2, name="up"),
            keras.layers.Flatten(),
            keras.layers.Dense(12, name="dense"),
            keras.layers.Dense(6, activation="tanh", name="head"),
            keras.layers.Dropout(0.1),
        ],
        name="m",
    )
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return model


def pruned(channels=1, epochs=2, **arguments):
    """The weights of a fit's kernels by their layers' names, its callback, and what it warned of."""
    model, callback = network(channels), ka.ADMMPrune(verbose=0, **arguments)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 6, 6, channels)), rng.normal(size=(8, 6))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(x, y, batch_size=2, epochs=epochs, verbose=0, callbacks=[callback])
    told = [str(w.message) for w in caught if "ADMMPrune" in str(w.message)]
    arrays = {name.split("/", 1)[1]: weights.read(v) for name, v in weights.select(model).items()}
    return arrays, callback, told, model


def windows(w, axis):
    """How many weights live in each window of 4 along an axis."""
    return set(np.count_nonzero(np.moveaxis(w, axis, -1).reshape(-1, 4), axis=1).tolist())


def test_two_of_four_needs_no_sparsity_and_leaves_out_what_it_does_not_divide():
    w, callback, told, model = pruned(structure="2:4")
    assert windows(w["separable/pointwise_kernel"], 2) == windows(w["dense/kernel"], 0) == {2}
    assert windows(w["up/kernel"], 3) == {2} and windows(w["up/kernel"], 2) != {2}
    assert windows(w["head/kernel"], 0) == {2}
    assert w["first/kernel"].all() and w["separable/depthwise_kernel"].all()
    assert list(callback.engine.left_out) == ["m/first/kernel", "m/separable/depthwise_kernel"]
    (said,) = told
    assert "not fit stay as they are. Received: m/first/kernel; m/separable/depthwise_kernel. Of the first: " in said
    assert "needs an axis of inputs that 4 divides. Received: a tensor of shape (3, 3, 1, 8). Exclude it" in said
    assert model.history.history["sparsity"][-1] == 0.5
    note = ka.report(model, structure="2:4").note
    assert "held by m/separable/pointwise_kernel; m/up/kernel; m/dense/kernel; m/head/kernel. Structure 2:4" in note
    assert note.endswith("Structure 2:4 does not fit m/first/kernel; m/separable/depthwise_kernel.")
    assert "Not held by m/up/kernel." in ka.report(model, layers="up", structure="3:4").note


@pytest.mark.parametrize(
    "structure, members, groups",
    [
        # what of each kernel, and of how many such groups a half stays
        ("filter", ((0, 1, 2), (0, 1), (0, 1, 2), (0, 1, 3), (0,)), (8, 8, 4, 8, 12)),
        ("row", ((2,), (), (2,), (3,), (0,)), (72, 72, 4, 32, 12)),
        ("column", ((3,), (3,), (3,), (2,), (1,), (1,)), (9, 72, 8, 16, 72, 12)),
    ],
)
def test_half_of_the_slices_of_each_kernel_stay(structure, members, groups):
    """All of the last layer's filters and rows: what is an output of the model may not end."""
    arrays, callback, told, model = pruned(sparsity=0.5, structure=structure)
    for w, axes, count in zip(arrays.values(), members, groups, strict=False):
        living = w.any(axis=axes)
        assert (living.size, np.count_nonzero(living)) == (count, count // 2)
    if structure != "column":
        assert arrays["head/kernel"].all() and list(callback.engine.left_out) == ["m/head/kernel"]
        assert len(told) == 1 and "which would be constant. Received: a tensor of shape (12, 6). Exclude it" in told[0]
    note = ka.report(model, structure=structure).note
    assert f"Left of {structure}s: m/first/kernel {groups[0] // 2} of {groups[0]}; m/separable" in note


def test_3x3_patterns_and_their_connectivity():
    arrays, callback, told, _ = pruned(channels=2, sparsity=0.5, structure="pattern", exclude=["up", "dense", "head"])
    slices = np.concatenate([arrays[n].reshape(9, -1).T for n in ("first/kernel", "separable/depthwise_kernel")])
    kept = np.count_nonzero(slices, axis=1)
    assert sorted(set(kept.tolist())) == [0, 4] and np.count_nonzero(kept) == 12
    assert not slices[:, [0, 2, 6, 8]].any() and slices[kept == 4, 4].all()
    assert list(callback.engine.left_out) == ["m/separable/pointwise_kernel"] and len(told) == 1


def test_progressive_filters():
    arrays, callback, _, model = pruned(sparsity=[0.25, 0.5], structure="filter", layers=["first", "up"], epochs=4)
    assert [np.count_nonzero(arrays[f"{n}/kernel"].any(axis=(0, 1, a))) for n, a in (("first", 2), ("up", 3))] == [4, 4]
    assert model.history.history["sparsity"][1:] == [0.25, 0.25, 0.5]


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (
            {"structure": "2:4", "layers": ["first", "up"]},
            "m/first/kernel: structure='2:4' needs .*shape .3, 3, 1, 8.*",
        ),
        ({"structure": "5:7"}, "m/first/kernel: structure='5:7' needs .* The same is true of .* and 2 more"),
        (
            {"sparsity": 0.5, "structure": "pattern", "exclude": ["first", "separable"]},
            "m/up/kernel: structure='pattern'",
        ),
    ],
)
def test_a_structure_that_fits_nothing_or_not_what_was_named_gets_a_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=f"ADMMPrune: {sentence}"):
        pruned(**arguments)


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ({"sparsity": 0.5, "structure": "2:4"}, "exactly one of `sparsity`.*Received: sparsity=0.5, structure='2:4'"),
        ({}, "exactly one of `sparsity`.*Received: sparsity=None, structure='element'"),
        ({"structure": "4:2"}, "must be 'm:n' with 0 < m < n.* Received: structure='4:2'"),
        ({"structure": "2:4", "path": "cubic"}, "what each kernel keeps.*path='cubic'. Leave these out"),
        ({"structure": "2:4", "allocation": "erk"}, "what each kernel keeps.*allocation='erk'"),
    ],
)
def test_bad_arguments_get_a_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=f"ADMMPrune: .*{sentence}"):
        ka.ADMMPrune(**arguments)


def test_the_kernels_that_write_outputs():
    """Through whatever has no kernel: of two branches both, of a separable convolution the second."""
    x = keras.Input((8, 8, 3))
    a = keras.layers.SeparableConv2D(4, 3, name="a")(keras.layers.Conv2D(4, 3, name="inner")(x))
    b = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 5, name="b")(x))
    model = keras.Model(x, keras.layers.Softmax()(keras.layers.GlobalMaxPooling2D()(keras.layers.Add()([a, b]))))
    ids = {id(model.get_layer("a").pointwise_kernel), id(model.get_layer("b").kernel)}
    assert {id(v) for v in weights.last(model)} == ids and len(weights.last(model)) == 2


def test_a_set_without_a_target_is_told_the_axes_too():
    model = network()
    model.fit(np.ones((4, 6, 6, 1)), np.ones((4, 6)), epochs=1, verbose=0)
    callback = ka.ADMM({"m/up/*": ka.constraints.Sparse(structure="2:4")}, retrain_epochs=0, verbose=0)
    model.fit(np.ones((4, 6, 6, 1)), np.ones((4, 6)), epochs=1, verbose=0, callbacks=[callback])
    assert windows(weights.read(model.get_layer("up").kernel), 3) == {2}
