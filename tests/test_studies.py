"""Studies: sensitivity of layers by hand; the model is as it was; bad input."""

import keras
import numpy as np
import pytest

import keras_admm as ka
from keras_admm import weights

# Compiled they take longer to begin than to end.
EAGER = {"run_eagerly": True} if keras.backend.backend() == "tensorflow" else {"jit_compile": "auto"}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 6)).astype("float32")
Y = X[:, :3].argmax(axis=1).astype("int32")


def network():
    layers = [
        keras.layers.Dense(8, "relu", name="a"),
        keras.layers.BatchNormalization(),
        keras.layers.Dense(3, name="b"),
    ]
    model = keras.Sequential([keras.Input((6,)), *layers], name="m")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss, metrics=["accuracy"], **EAGER)
    return model


def linear():
    """y = 3 a + 2 b + c + d / 2, without a bias."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, use_bias=False, name="head")], name="m")
    model.layers[0].kernel.assign([[3.0], [2.0], [1.0], [0.5]])
    model.compile("sgd", "mse", metrics=["mae"], **EAGER)
    return model, (np.eye(4), np.array([3.0, 2.0, 1.0, 0.5]))


def state(model):
    return [np.array(keras.ops.convert_to_numpy(v)) for v in [*model.variables, *model.optimizer.variables]]


def same(before, after):
    return all(a.tobytes() == b.tobytes() for a, b in zip(before, after, strict=True))


# ---- sensitivity


@pytest.mark.every_backend
def test_sensitivity_by_hand():
    """Of weights 3, 2, 1 and 1/2 the least go: squared errors 1/4, 1 + 1/4, 4 + 1 + 1/4, of four samples."""
    model, data = linear()
    found = ka.sensitivity(model, data, [0.25, 0.5, 0.75], verbose=0)
    assert found.monitor == "mae" and found.dense == {"loss": 0.0, "mae": 0.0}
    (row,) = found.scores.values()
    assert np.allclose([each["loss"] for each in row], [0.0625, 0.3125, 1.3125])
    assert np.allclose([each["mae"] for each in row], [0.125, 0.375, 0.875])
    assert str(found).splitlines() == [
        "mae, dense 0.0000    0.25     0.5    0.75",
        "m/head/kernel      0.1250  0.3750  0.8750",
    ]


@pytest.mark.every_backend
def test_a_layer_is_pruned_alone_and_all_is_as_it_was():
    model = network()
    model.fit(X, Y, epochs=2, verbose=0)
    before, expected = state(model), {}
    for layer in ("a", "b"):
        kernel = model.get_layer(layer).kernel
        w = weights.read(kernel)
        weights.write(kernel, ka.constraints.Sparse(0.75).project(w))
        expected[f"m/{layer}/kernel"] = model.evaluate(X, Y, batch_size=256, verbose=0, return_dict=True)
        weights.write(kernel, w)
    model.reset_metrics()
    before = state(model)
    found = ka.sensitivity(model, (X, Y), [0.75], verbose=0)
    assert {name: row[0] for name, row in found.scores.items()} == expected
    assert same(before, state(model))


def test_each_point_is_one_evaluation_shown_by_a_bar(monkeypatch, capsys):
    model, data = linear()
    calls, evaluate = [], model.evaluate
    monkeypatch.setattr(model, "evaluate", lambda *args, **how: calls.append(1) or evaluate(*args, **how))
    ka.sensitivity(model, data, [0.25, 0.5])
    assert len(calls) == 3 and "3/3" in capsys.readouterr().out
    ka.sensitivity(model, data, [0.25, 0.5], verbose=0)
    assert not capsys.readouterr().out


@pytest.mark.parametrize("at", [1, 2, 4])
def test_an_exception_leaves_the_model_as_it_was(at, monkeypatch):
    model = network()
    before, calls, evaluate = state(model), [], model.evaluate

    def interrupted(*args, **how):
        calls.append(1)
        if len(calls) > at:
            raise KeyboardInterrupt
        return evaluate(*args, **how)

    monkeypatch.setattr(model, "evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ka.sensitivity(model, (X, Y), [0.5, 0.9], verbose=0)
    assert same(before, state(model)[: len(before)])


def test_layers_metrics_and_forms_of_data():
    model = network()
    pair = ka.sensitivity(model, (X, Y), [0.9], layers="a", verbose=0)
    assert list(pair.scores) == ["m/a/kernel"] and pair.monitor == "accuracy"
    assert ka.sensitivity(model, (X, Y), [0.9], exclude="a", monitor="loss", verbose=0).monitor == "loss"
    weighted = ka.sensitivity(model, (X, Y, np.r_[np.ones(32), np.zeros(32)]), [0.9], layers="a", verbose=0)
    assert weighted.dense["loss"] != pair.dense["loss"]

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, i):
            return X[32 * i : 32 * i + 32], Y[32 * i : 32 * i + 32]

    batched = ka.sensitivity(model, Batches(), [0.9], layers="a", verbose=0)
    assert np.isclose(batched.dense["loss"], pair.dense["loss"])


def test_numbers_and_picture(tmp_path):
    import json

    found = ka.sensitivity(network(), (X, Y), [0.5, 0.9], verbose=0)
    told = json.loads(json.dumps(found.to_dict()))
    assert told["sparsities"] == [0.5, 0.9] and set(told["scores"]) == {"m/a/kernel", "m/b/kernel"}
    found.plot(tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    found.plot(tmp_path / "p.svg")
    assert "<svg" in (tmp_path / "p.svg").read_text()


@pytest.mark.tensorflow_only
def test_sensitivity_of_tf_keras():
    tf_keras = pytest.importorskip("tf_keras")
    model = tf_keras.Sequential([tf_keras.layers.Dense(3, input_shape=(6,), name="a")])
    model.compile(
        "sgd", tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True), ["accuracy"], run_eagerly=True
    )
    before = model.get_weights()
    found = ka.sensitivity(model, (X, Y), [0.5, 0.9], verbose=0)
    assert found.monitor == "accuracy" and same(before, model.get_weights())


def test_of_several_outputs_the_loss_of_all_counts_unless_one_is_named():
    """Each output has a loss, and `b` a metric, in whose name its own comes first."""
    inputs = keras.Input((6,))
    model = keras.Model(inputs, {name: keras.layers.Dense(1, name=name)(inputs) for name in "ab"}, name="m")
    data = X, {"a": X[:, :1], "b": X[:, :1]}
    metrics = {"none": {}, "one": {"b": ["mae"]}, "two": {"a": ["mae"], "b": ["mae"]}}
    counts = {"none": "loss", "one": "b_mae", "two": "loss"}
    for case in metrics:
        model.compile("sgd", {"a": "mse", "b": "mse"}, metrics=metrics[case], **EAGER)
        found = ka.sensitivity(model, data, [0.5], verbose=0)
        assert found.monitor == counts[case] and {"a_loss", "b_loss"} <= set(found.dense)


@pytest.mark.parametrize(
    "how, match",
    [
        ({"sparsities": [0.9, 0.5]}, "must ascend"),
        ({"monitor": "val_accuracy"}, "must be a metric of one number that the model is compiled with.*'accuracy'"),
        ({"validation_data": iter([(X, Y)])}, "A generator is read once"),
        ({"validation_data": (X, Y[:5])}, r"shapes \[\(64, 6\), \(5,\)\]"),
        ({"layers": "c"}, "must choose at least one variable"),
    ],
)
def test_what_is_wrong_is_said(how, match):
    with pytest.raises((ValueError, TypeError), match=match):
        ka.sensitivity(network(), **{"validation_data": (X, Y), "sparsities": [0.5], "verbose": 0, **how})


def test_a_model_must_be_compiled():
    with pytest.raises(ValueError, match="must be compiled"):
        ka.sensitivity(keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)]), (X, Y))
