"""A model made again with other layers in it: same outputs, what is shared and frozen stays so."""

import keras
import numpy as np
import pytest
from cases import some
from keras import layers, ops
from maskable import KINDS, ONES, assert_close, outputs, pruned, sequential

from keras_admm import weights
from keras_admm.graph import Replacement, owners, rebuild
from keras_admm.layers import Masked


def arrays(model):
    return [weights.read(v) for v in model.variables]


@pytest.mark.every_backend
@pytest.mark.parametrize("kind", some(KINDS, "graph"))
def test_the_same_model_with_weights_of_its_own(kind):
    model, x = pruned(kind)
    model.trainable_variables[0].trainable = False
    model.layers[-1].trainable = False
    new = rebuild(model)
    assert [type(layer) for layer in new._flatten_layers()] == [type(layer) for layer in model._flatten_layers()]
    assert [v.name for v in new.variables] == [v.name for v in model.variables]
    assert [v.trainable for v in new.variables] == [v.trainable for v in model.variables]
    assert not {id(v) for v in new.variables} & {id(v) for v in model.variables}
    assert_close(arrays(new), arrays(model))
    assert_close(outputs(new, x), outputs(model, x))


def test_each_layer_is_asked_for_once_and_models_are_opened():
    model, asked = KINDS["graph"](), []
    rebuild(model, lambda layer, again: asked.append(layer) or again())
    names = [layer.name for layer in asked]
    assert len({id(layer) for layer in asked}) == len(names) and names.count("shared") == 1
    assert not any(isinstance(layer, keras.Model) for layer in asked)
    assert {"tanh", "add", "a", "dense_1"} <= set(names)


def test_another_config():
    model, x = pruned("graph")
    new = rebuild(model, lambda layer, again: again(**({"activation": "tanh"} if layer.name == "shared" else {})))
    assert [new.get_layer(name).activation.__name__ for name in ("shared", "x")] == ["tanh", "linear"]
    assert model.get_layer("shared").activation.__name__ == "relu"
    assert_close(arrays(new), arrays(model))
    with pytest.raises(ValueError, match="shared: it must be possible to make a layer again from its config.*no_such"):
        rebuild(model, lambda layer, again: again(no_such=1) if layer.name == "shared" else again())


def two_thin_ones(layer, again):
    """In the place of a Dense layer two of rank 1."""
    if not isinstance(layer, layers.Dense):
        return again()
    u, s, v = np.linalg.svd(weights.read(layer.kernel), full_matrices=False)
    first = layers.Dense(1, use_bias=False, name="first")
    second = layers.Dense(layer.units, activation=layer.activation, name="second")
    both = keras.Sequential([first, second], name=layer.name)
    return Replacement(both, [u[:, :1] * s[0], v[:1], weights.read(layer.bias)])


@pytest.mark.every_backend
def test_a_replacement_says_what_its_weights_are():
    rng, x = np.random.default_rng(0), np.ones((4, 6), "float32")
    dense = layers.Dense(5, activation="relu", name="dense")
    model = sequential(dense, shape=(6,))
    weights.write(dense.kernel, np.outer(rng.normal(size=6), rng.normal(size=5)))
    weights.write(dense.bias, rng.normal(size=5))
    dense.trainable = False
    new = rebuild(model, two_thin_ones)
    assert [v.shape for v in new.variables] == [(6, 1), (1, 5), (5,)] and not new.trainable_variables
    np.testing.assert_allclose(outputs(new, x)[0], outputs(model, x)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("received", [[], [np.ones((3, 2)), np.ones(3)]])
def test_weights_of_a_replacement_must_fit(received):
    model = sequential(layers.Dense(2, name="d"), shape=(3,))
    with pytest.raises(ValueError, match=r"d: .* shapes of d.weights, \[\(3, 2\), \(2,\)\]. .* Correct Replacement"):
        rebuild(model, lambda layer, again: Replacement(again(), received) if layer.name == "d" else again())


def without_the_last_channel(model):
    """Each Dense layer but those at the end loses its last output, and the layers after it the input."""
    ends = {layer.name for layer in model.layers[-1:]}

    def layer_for(layer, again):
        if isinstance(layer, layers.InputLayer) and layer.name == "inner_in":
            return again(batch_shape=(None, layer.batch_shape[-1] - 1))
        return again(units=layer.units - 1) if isinstance(layer, layers.Dense) and layer.name not in ends else again()

    def value(variable):
        array = weights.storable(variable)
        last, first = variable.path.split("/")[0] in ends, variable.path.startswith("first")
        array = array if last else array[..., :-1]
        return array if array.ndim == 1 or first else array[:-1]

    return rebuild(model, layer_for, value=value)


def test_layers_of_other_shapes_with_parts_of_the_weights():
    """Channels that are zero leave the model, through a model in it."""
    inner_in = keras.Input((5,), name="inner_in")
    inner = keras.Model(inner_in, layers.Dense(4, name="middle", activation="relu", **ONES)(inner_in), name="inner")
    x = keras.Input((3,))
    model = keras.Model(x, layers.Dense(2, name="last", **ONES)(inner(layers.Dense(5, name="first", **ONES)(x))))
    for name, layer in (("first", model.get_layer("first")), ("middle", inner.layers[-1])):
        kernel = np.random.default_rng(len(name)).normal(size=layer.kernel.shape)
        weights.write(layer.kernel, kernel * (np.arange(layer.units) < layer.units - 1))
    small, data = without_the_last_channel(model), np.eye(4, 3, dtype="float32")
    assert [tuple(v.shape) for v in small.variables] == [(3, 4), (4,), (4, 3), (3,), (3, 2), (2,)]
    assert_close(outputs(small, data), outputs(model, data))
    with pytest.raises(ValueError, match=r"last: .* of shapes \[\(4, 2\), \(2,\)\]. Received: \[\(4, 3\)"):
        rebuild(model, lambda layer, again: again(units=3) if layer.name == "last" else again())


def test_calls_can_be_made_in_another_way():
    model, seen = KINDS["graph"](), []
    line = next(layer for layer in model._flatten_layers() if isinstance(layer, keras.Sequential))

    def call(old, new, *args, **kwargs):
        seen.append(old.name)
        outputs = new(*args, **kwargs)
        return ops.negative(outputs) if old.name in ("x", line.layers[-1].name) else outputs

    new, x = rebuild(model, call=call), {"a": np.ones((2, 6), "float32"), "b": np.ones((2, 6), "float32")}
    assert seen.count("shared") == 2 and seen.count("inner") == 2 and {layer.name for layer in line.layers} < set(seen)
    assert list(new(x)) == list(model(x)) == ["x", "y"]
    again = new.get_layer("inner").get_layer(line.name)
    np.testing.assert_allclose(again(x["a"]), -ops.convert_to_numpy(line(x["a"])))


class Doubled(layers.Wrapper):
    """A wrapper with a weight of its own."""

    def build(self, shape):
        super().build(shape)
        self.scale = self.add_weight(shape=(), initializer="ones")

    def call(self, x):
        return 2 * self.scale * self.layer(x)

    def compute_output_shape(self, shape):
        return self.layer.compute_output_shape(shape)


def test_wrappers_are_taken_off_anywhere():
    def dense():
        return layers.Dense(3, **ONES)

    inside = Doubled(sequential(Doubled(dense()), shape=(4, 3)))
    model = sequential(Doubled(Doubled(dense())), layers.TimeDistributed(Doubled(dense())), inside, shape=(4, 3))
    new = rebuild(model, without=[Doubled])
    assert len(model.weights) == 6 + 5 and len(new.weights) == 6
    x = np.ones((2, 4, 3), "float32")
    assert not any(isinstance(layer, Doubled) for layer in new._flatten_layers())
    np.testing.assert_allclose(32 * outputs(new, x)[0], outputs(model, x)[0])


def test_inputs_are_of_the_same_kind():
    given = {"sparse": True}, {"optional": True}, {"batch_size": 4, "dtype": "float16"}
    inputs = [keras.Input((3,), name=f"input_{n}", **each) for n, each in enumerate(given)]
    model = keras.Model(inputs, [layers.Dense(2)(x) for x in inputs[::2]])
    made = [layer for layer in rebuild(model).layers if isinstance(layer, layers.InputLayer)]
    own = [layer for layer in model.layers if isinstance(layer, layers.InputLayer)]
    assert [layer.get_config() for layer in made] == [layer.get_config() for layer in own]
    assert sorted(layer.sparse for layer in made) == sorted(layer.optional for layer in made) == [False, False, True]


class Counted(layers.Layer):
    """A layer that keeps a file."""

    words = ()

    def save_assets(self, folder):
        with open(f"{folder}/words.txt", "w") as file:
            file.write("\n".join(self.words))

    def load_assets(self, folder):
        with open(f"{folder}/words.txt") as file:
            self.words = file.read().split("\n")

    def call(self, x):
        return x


@pytest.mark.parametrize("around", [lambda layer: layer, Masked, layers.TimeDistributed], ids=["", "Masked", "held"])
def test_files_are_handed_on(around):
    counted = Counted(name="counted")
    model = sequential(around(counted), layers.Dense(2), shape=(3, 3))
    counted.words = ["a", "b"]
    found = [layer for layer in rebuild(model)._flatten_layers() if isinstance(layer, Counted)]
    assert [layer.words for layer in found] == [["a", "b"]] and found[0] is not counted


@pytest.mark.parametrize("first", [0, 1])
def test_owners_are_the_layers_that_hold_no_other(first):
    dense, x = layers.Dense(3, **ONES), keras.Input((4, 3))
    in_order = [layers.TimeDistributed(dense), dense]
    model = keras.Model(x, in_order[1 - first](in_order[first](x)))
    assert {id(layer) for layer in owners(model).values()} == {id(dense)} and len(owners(model)) == 2


class OwnConstructor(keras.Model):
    """A model that is made from its settings; of 3 units and more with a wrapper in it."""

    def __init__(self, units=2, **kwargs):
        x, dense = keras.Input((3,)), layers.Dense(units)
        super().__init__(x, (Doubled(dense) if units > 2 else dense)(x), **kwargs)
        self.units = units

    def heard(self):
        return True

    def get_config(self):
        return {"units": self.units}


def own_loss(y, p):
    return ops.mean(y - p)


def test_a_class_that_makes_its_own_layers_comes_back_whole():
    model = OwnConstructor()
    model.compile("sgd", own_loss)  # which is not registered
    around = sequential(layers.Dense(3), model, shape=(3,))
    for new, old in ((rebuild(model), model), (rebuild(around).layers[-1], model)):
        assert type(new) is OwnConstructor and not new.compiled
        assert_close(arrays(new), arrays(old))
    assert model.compiled


@pytest.mark.parametrize(
    "units, changes",
    [
        (2, {"layer_for": lambda layer, again: Masked(again())}),
        (2, {"call": lambda old, new, x: new(x)}),
        (3, {"without": [Doubled]}),
    ],
)
def test_a_class_that_makes_its_own_layers_takes_no_others(units, changes):
    with pytest.raises(ValueError, match=r"Received: a OwnConstructor, .* would be lost, .* heard.*, or hope"):
        rebuild(OwnConstructor(units), otherwise="hope", **changes)


def test_a_config_within_a_config():
    """A layer in a layer is built anew for what comes to it."""

    def layer_for(layer, again):
        if isinstance(layer, layers.Bidirectional):
            return again(layer={"config": {"units": 2}}, backward_layer={"config": {"units": 2}})
        return again(units=3) if layer.name == "first" else again()

    first, both = layers.Dense(4, name="first"), layers.Bidirectional(layers.LSTM(3), name="both")
    model = sequential(first, both, shape=(5, 6))
    shapes = {"first": [(6, 3), (3,)], "both": 2 * [(3, 8), (2, 8), (8,)]}
    pairs = [pair for layer in model.layers for pair in zip(layer.weights, shapes[layer.name], strict=True)]
    values = {id(variable): np.ones(shape) for variable, shape in pairs}
    new = rebuild(model, layer_for, value=lambda v: values.get(id(v), weights.storable(v)))
    assert new.output_shape == (None, 4) and [tuple(v.shape) for v in new.weights] == sum(shapes.values(), [])
