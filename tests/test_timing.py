"""What is timed, in which order, and what is refused; no times are tested."""

import importlib

import keras
import numpy as np
import pytest
from keras import layers

from keras_admm.export import litert
from keras_admm.timing import latency

pytestmark = pytest.mark.tensorflow_only

room = importlib.import_module("keras_admm.timing")  # of which the package's attribute is the function
X = np.random.default_rng(0).normal(size=(2, 6)).astype("float32")


@pytest.fixture(scope="module")
def model():
    return keras.Sequential([keras.Input((6,)), layers.Dense(4)])


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("lite") / "m.tflite"
    litert(model, path)
    return path


def test_pairs_in_turn(monkeypatch):
    """By hand: a takes 3, 6 and 4 seconds, b 1, 3 and 4, and every other pair begins with b."""
    clock, order = [0.0], []
    times = {"a": iter([0.0] * room.WARM_UP + [3, 6, 4]), "b": iter([0.0] * room.WARM_UP + [1, 3, 4])}

    def run(name):
        order.append(name)
        clock[0] += next(times[name])

    monkeypatch.setattr(room.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(room, "_call", lambda model, data, threads: lambda: run(model))
    found = latency("a", "b", X, runs=3)
    assert order[2 * room.WARM_UP :] == ["a", "b", "b", "a", "a", "b"]
    assert found.ratio == 2 and found.quartiles == (1.5, 2.5) and found.medians == (4, 3)


def test_files_and_models(model, path):
    found = latency(path, str(path), X, runs=3)
    assert found.runs == 3 and found.threads == 1 and found.quartiles[0] <= found.ratio <= found.quartiles[1]
    assert not found.limits and "quartiles" in str(found) and "1 thread)" in str(found)
    assert "its backend was started with" in str(latency(model, path, X, runs=2, threads=2))


@pytest.mark.parametrize("of", [list, dict])
def test_several_inputs_by_name(of, tmp_path):
    """Their order is another one than that of their names, and their shapes differ."""
    inputs = {"b": keras.Input((3,), name="b"), "a": keras.Input((5,), name="a")}
    y = layers.Dense(2)(layers.Concatenate()([inputs["b"], inputs["a"]]))
    both = keras.Model(inputs if of is dict else [*inputs.values()], y)
    litert(both, tmp_path / "both.tflite")
    for given in (both, tmp_path / "both.tflite"):
        assert latency(given, given, {"a": X[:, :5], "b": X[:, :3], "more": X}, runs=2).runs == 2
        with pytest.raises(ValueError, match="keys (b, a|a, b), the inputs of .* Received: data=.'a', 'c'"):
            latency(given, given, {"a": X[:, :5], "c": X[:, :3]}, runs=2)


@pytest.mark.parametrize(
    "arguments, match",
    [
        ({"data": X[:, :3]}, "must have the shapes"),
        ({"data": X[:0]}, "must have the shapes"),
        ({"data": [X, X]}, "must have the shapes"),
        ({"data": X, "runs": 1}, "`runs` must be an integer >= 2"),
        ({"data": X, "threads": 0}, "`threads` must be an integer >= 1"),
    ],
)
def test_refused_in_a_sentence(arguments, match, model, path):
    for other in (model, path):
        with pytest.raises(ValueError, match=match):
            latency(other, other, **arguments)


def test_what_is_no_model(path, tmp_path):
    with pytest.raises(TypeError, match="must be a keras.Model.* or the path of a .tflite file"):
        latency(3, path, X)
    with pytest.raises(ValueError, match="which is none"):
        latency(path, tmp_path / "none.tflite", X)
