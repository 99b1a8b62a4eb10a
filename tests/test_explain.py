"""What a model looks at: each view against its formula by hand, or against running the model."""

import logging

import keras
import numpy as np
import pytest
from cases import HERE, some
from keras import layers, ops

import keras_admm as ka
from keras_admm import explain
from keras_admm.layers import Masked

RNG = np.random.default_rng(0)
LINEAR = np.array([[1.0, -3.0], [2.0, 4.0], [0.0, 1.0]], "float32")
X = np.array([[1.0, 5.0, 2.0], [3.0, -1.0, 0.5]], "float32")


def linear(activation=None):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, activation, use_bias=False)])
    model.set_weights([LINEAR])
    return model


def square():
    """The score of class 1 is the square of its linear one."""
    return keras.Sequential([linear(), layers.Lambda(lambda y: y * y)])


def of_class_1():
    return np.tile(LINEAR[:, 1], (2, 1))


# By the method: a model, and what a map of class 1 must be.
MAPS = {
    "saliency": (linear, lambda: np.abs(of_class_1()) * X),
    "gradient_x_input": (linear, lambda: of_class_1() * X),
    "integrated_gradients": (square, lambda: (X @ LINEAR[:, 1])[:, None] * of_class_1() * X),
    "smoothgrad": (linear, of_class_1),
}


@pytest.mark.every_backend
@pytest.mark.parametrize("method", MAPS)
def test_maps_by_hand(method):
    make, expected = MAPS[method]
    found = explain.saliency(make(), X, target=1, method=method, steps=4)
    assert found.axes == ("sample", "feature")
    np.testing.assert_allclose(found, expected(), rtol=1e-5)


@pytest.mark.tensorflow_only
def test_many_models_are_looked_at_without_a_warning_of_tracing():
    said = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logging.getLogger("tensorflow").addHandler(handler)
    try:
        for _ in range(6):
            explain.saliency(linear(), X)
    finally:
        logging.getLogger("tensorflow").removeHandler(handler)
    assert not said


def test_the_authors_map_is_that_of_the_likelihood_of_a_log_softmax():
    model = linear("log_softmax")
    p = np.exp(X @ LINEAR - np.log(np.exp(X @ LINEAR).sum(1, keepdims=True)))
    gradient = LINEAR[:, 1] - p @ LINEAR.T  # of log p of class 1
    found = explain.saliency(model, X, target=np.array([1, 1]))
    np.testing.assert_allclose(found, np.abs(gradient) * X, rtol=1e-4, atol=1e-5)


# Targets, and the score whose gradient is asked for.
TARGETS = {
    "predicted": (None, lambda y: y.argmax(1)),
    "one for each": ([1, 0], lambda y: np.array([1, 0])),
    "function": (lambda y: y[:, 0], lambda y: np.zeros(2, int)),
}


@pytest.mark.parametrize("case", TARGETS)
def test_targets(case):
    target, classes = TARGETS[case]
    found = explain.saliency(linear(), X, target, "gradient_x_input")
    np.testing.assert_allclose(found, LINEAR.T[classes(X @ LINEAR)] * X, rtol=1e-5)


def test_several_inputs_and_an_embedding():
    a, ids = keras.Input((2,), name="a"), keras.Input((3,), dtype="int32", name="ids")
    letters = layers.GlobalAveragePooling1D()(layers.Embedding(4, 2, name="letters")(ids))
    found = explain.saliency(keras.Model([a, ids], a + letters), [X[:, :2], np.ones((2, 3), int)], 0)
    assert {name: each.axes[-1] for name, each in found.items()} == {"a": "feature", "letters": "channel"}
    np.testing.assert_allclose(found["a"], X[:, :2] * [1, 0])


def test_a_sequence_summed_over_its_letters():
    array = explain.NamedArray(np.ones((2, 3, 4)), ("sample", "position", "channel"))
    assert (
        array.sum_over("channel").axes == ("sample", "position") and (np.asarray(array.sum_over("channel")) == 4).all()
    )


ONES = {"kernel_initializer": "ones", "recurrent_initializer": "ones", "use_bias": False, "activation": None}
SEQUENCES = RNG.normal(size=(2, 5, 3)).astype("float32")
IDS = np.array([[1, 2, 3, 0, 0], [3, 1, 1, 2, 0]])


def gru(**kwargs):
    return layers.GRU(2, **kwargs)


def model_of(*parts, length=None, shape=None, dtype=None):
    return keras.Sequential([keras.Input(shape or (length, 3), dtype=dtype), *parts, layers.Dense(2, "softmax")])


def both_ways(**kwargs):
    return layers.Bidirectional(gru(return_sequences=True, **kwargs))


def masked():
    layer = both_ways()
    layer.build((None, None, 3))
    return Masked(layer)


def averaged():
    x = keras.Input((None, 3))
    y = both_ways()(x)
    return keras.Model(x, layers.Dense(2, "softmax")(ops.mean(y, 1)))


# Models that begin with their recurrent layer: the last state, one way or the other; averages; what no mask reaches.
RECURRENT = {
    "forward": lambda: model_of(gru()),
    "backward": lambda: model_of(gru(go_backwards=True)),
    "both ways": lambda: model_of(layers.Bidirectional(gru())),
    "averaged": lambda: model_of(both_ways(), layers.Dropout(0.5), layers.Dense(3), layers.GlobalAveragePooling1D()),
    "stacked": lambda: model_of(both_ways(), gru()),
    "masked": lambda: model_of(masked(), layers.GlobalAveragePooling1D()),
    "maximum": lambda: model_of(both_ways(), layers.GlobalMaxPooling1D()),
    "averaged by an operation": averaged,
}


def cuts(values, i):
    """The beginning up to a place and the end from it on."""
    return values[:, : i + 1], values[:, i:]


def run(model, x, target):
    return ops.convert_to_numpy(model(x))[:, target]


def expected(model, values, target=1):
    pairs = [[run(model, cut, target) for cut in cuts(values, i)] for i in range(values.shape[1])]
    return np.array(pairs).transpose(2, 1, 0)


@pytest.mark.every_backend
@pytest.mark.parametrize("case", some(RECURRENT, "forward", "averaged"))
def test_temporal_scores_are_those_of_every_cut(case):
    model = RECURRENT[case]()
    found = explain.temporal_scores(model, SEQUENCES, 1)
    assert found.axes == ("sample", "direction", "position")
    np.testing.assert_allclose(found, expected(model, SEQUENCES), rtol=1e-4, atol=1e-6)
    again = explain.temporal_scores(model, SEQUENCES, 1, mode="input")
    np.testing.assert_allclose(found, again, rtol=1e-4, atol=1e-6)


@pytest.mark.every_backend
@pytest.mark.parametrize("length", some({None: 0, 5: 0}, None))
def test_the_cuts_of_a_map_go_to_the_rest(length):
    conv, rest = layers.Conv1D(4, 3, padding="same", activation="relu"), [both_ways(), layers.GlobalAveragePooling1D()]
    model = model_of(conv, *rest, length=length)
    after = keras.Sequential([keras.Input((None, 4)), *rest, model.layers[-1]])
    found = explain.temporal_scores(model, SEQUENCES, 1)
    np.testing.assert_allclose(found, expected(after, ops.convert_to_numpy(conv(SEQUENCES))), rtol=1e-4, atol=1e-6)


@pytest.mark.tensorflow_only
def test_a_model_of_tf_keras():
    tk = pytest.importorskip("tf_keras")
    both = tk.layers.Bidirectional(tk.layers.GRU(2, return_sequences=True))
    last = [both, tk.layers.GlobalAveragePooling1D(), tk.layers.Dense(2, "softmax")]
    model = tk.Sequential([tk.Input((None, 3)), tk.layers.Conv1D(4, 3, padding="same", name="conv"), *last])
    after = tk.Sequential([tk.Input((None, 4)), *last])
    found = explain.temporal_scores(model, SEQUENCES, 1)
    np.testing.assert_allclose(found, expected(after, model.layers[0](SEQUENCES).numpy()), rtol=1e-4, atol=1e-6)
    assert explain.saliency(model, SEQUENCES).shape == SEQUENCES.shape
    assert len(explain.activating_windows(model, "conv", SEQUENCES)) == 4
    assert explain.optimize_input(model, 1, SEQUENCES, steps=2).shape == (1, 5, 3)


def test_an_input_is_cut_by_length_or_with_zeros():
    parts = [layers.Conv1D(4, 3, padding="same"), both_ways(), layers.GlobalAveragePooling1D()]
    model = model_of(*parts)
    found = explain.temporal_scores(model, SEQUENCES, 1, mode="input")
    np.testing.assert_allclose(found, expected(model, SEQUENCES), rtol=1e-4, atol=1e-6)
    fixed = model_of(*parts, length=5)
    found = explain.temporal_scores(fixed, SEQUENCES, 1, mode="input")
    zeroed = SEQUENCES * (np.arange(5) < 2)[:, None], SEQUENCES * (np.arange(5) >= 1)[:, None]
    for direction, x in enumerate(zeroed):
        np.testing.assert_allclose(found[:, direction, 1], run(fixed, x, 1), rtol=1e-4)


def test_what_is_too_short_for_a_model_has_no_score():
    model = model_of(layers.Conv1D(4, 3), layers.GlobalAveragePooling1D())
    found = explain.temporal_scores(model, SEQUENCES, 1, mode="input")
    assert np.isnan(found[:, 0, :2]).all() and np.isnan(found[:, 1, 3:]).all()
    np.testing.assert_allclose(found[:, 0, 2], run(model, SEQUENCES[:, :3], 1), rtol=1e-5)


@pytest.mark.every_backend
def test_an_embeddings_mask_holds_in_the_cuts():
    model = model_of(layers.Embedding(4, 3, mask_zero=True), gru(), shape=(5,), dtype="int32")
    found = explain.temporal_scores(model, IDS, 1)
    np.testing.assert_allclose(found[0, 0, 2:], found[0, 0, 2])
    np.testing.assert_allclose(found[:, 1, 0], run(model, IDS, 1), rtol=1e-5)
    np.testing.assert_allclose(found[:, 0, 1], run(model, IDS * (np.arange(5) < 2), 1), rtol=1e-5)


def test_one_run_of_all_places_where_a_layer_goes_one_way(monkeypatch):
    from keras_admm.explain import cut

    seen, after = [], cut.Cut.after
    monkeypatch.setattr(cut.Cut, "after", lambda self, values, *mask: seen.append(values) or after(self, values, *mask))
    explain.temporal_scores(model_of(gru()), SEQUENCES, 1)
    assert {tuple(values.shape) for values in seen} == {(5 * len(SEQUENCES), 5, 3)}  # the ends alone


@pytest.mark.parametrize("layer", [gru, both_ways])
def test_cuts_in_batches_of_another_size_score_the_same(layer):
    """Of all sequences at once, of one at a time with a rest, and of parts of one."""
    model = model_of(layer(), *([] if layer is gru else [layers.GlobalAveragePooling1D()]))
    x = np.concatenate([SEQUENCES, -SEQUENCES])[: 2 * len(SEQUENCES) - 1]
    whole = explain.temporal_scores(model, x, 1)
    for size in (4, 11):
        np.testing.assert_allclose(explain.temporal_scores(model, x, 1, batch_size=size), whole, rtol=1e-5)


@pytest.mark.every_backend
def test_an_optimised_input_is_the_authors():
    """Of a linear score the optimum is known: its gradient w / (1 + e^(w x)) is that of the penalty, 2 * 0.009 x."""
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1, use_bias=False)])
    model.set_weights([np.array([[2.0], [0.0], [-1.0]])])
    wide = np.array([[-100.0] * 3, [100.0] * 3], "float32")
    (found,) = explain.optimize_input(model, 1, like=wide, steps=600, learning_rate=0.02)
    w = np.array([2.0, 0, -1])
    np.testing.assert_allclose(found, w / (1 + np.exp(w @ found)) / 0.018, atol=0.05)


def test_an_optimised_input_of_one_label_of_several():
    """Of sigmoids: the gradient of -log p is -(1 - p) w, that of the penalty 0.018 x, whatever the other labels are."""
    model = keras.Sequential([keras.Input((1,)), layers.Dense(3, "sigmoid", use_bias=False)])
    model.set_weights([np.array([[2.0, 2.0, 2.0]])])
    ((found,),) = explain.optimize_input(model, 0, like=np.array([[-100.0], [100.0]]), steps=600, learning_rate=0.02)
    np.testing.assert_allclose(found, 2 / (1 + np.exp(2 * found)) / 0.018, atol=0.05)


def test_an_optimised_sequence_is_a_matrix_of_shares():
    model = keras.Sequential([keras.Input((2, 3)), layers.Flatten(), layers.Dense(2, "softmax", use_bias=False)])
    kernel = np.zeros((2, 3, 2), "float32")
    kernel[0, 1, 1] = kernel[1, 2, 1] = 5
    model.set_weights([kernel.reshape(6, 2)])
    found = explain.optimize_input(model, 1, like=np.zeros((1, 2, 3)), count=2, steps=300)
    assert found.shape == (2, 2, 3) and found.axes == ("sample", "position", "channel")
    np.testing.assert_allclose(np.sum(found, -1), 1, rtol=1e-5)
    assert np.asarray(found).argmax(-1).tolist() == [[1, 2]] * 2


@pytest.mark.parametrize(
    "like",
    [np.array([[-2.0], [3.0]]), np.array([[0.1, 0.3], [0.2, 0.1]]), np.eye(2) * 2, np.eye(2) - 0.5],
    ids=["one channel", "sums", "twos", "below 0"],
)
def test_an_optimised_input_of_three_axes_is_clamped_to_the_range_of_what_it_is_like(like):
    model = keras.Sequential([keras.Input(like.shape), layers.Flatten(), layers.Dense(1, use_bias=False)])
    kernel = np.resize([1.0, -1.0], (like.size, 1))
    model.set_weights([kernel])
    found = explain.optimize_input(model, 1, like[None], steps=100, learning_rate=0.3, penalty=0).values.ravel()
    np.testing.assert_allclose(found, np.where(kernel[:, 0] > 0, like.max(), like.min()), rtol=1e-6)


def test_the_noise_of_a_sample_does_not_depend_on_its_neighbours():
    wide = np.concatenate([X, 100 * X])
    few, many = (explain.saliency(square(), x, 1, "smoothgrad", steps=64).values for x in (X, wide))
    expected = 2 * (X @ LINEAR[:, 1])[:, None] * of_class_1()
    np.testing.assert_allclose(few, expected, rtol=0.4)
    np.testing.assert_allclose(many[:2], expected, rtol=0.4)


@pytest.mark.every_backend
def test_mutagenesis_is_every_letter_in_every_place():
    model = keras.Sequential([keras.Input((2, 3)), layers.Flatten(), layers.Dense(1, use_bias=False)])
    kernel = np.arange(6.0).reshape(2, 3) ** 2
    model.set_weights([kernel.reshape(6, 1)])
    x = np.eye(3)[[[0, 2], [1, 1]]]
    expected = kernel - (x * kernel).sum(-1, keepdims=True)
    np.testing.assert_allclose(explain.mutagenesis(model, x), expected, rtol=1e-6)


def conv(kernel, **kwargs):
    layer = layers.Conv1D(kernel.shape[-1], kernel.shape[0], use_bias=False, **kwargs)
    layer.build((None, None, kernel.shape[1]))
    layer.set_weights([kernel])
    return layer


@pytest.mark.every_backend
def test_windows_of_a_filter_deep_in_a_model():
    """Two convolutions and a pooling between: each window, run by itself, gives what the filter gave for it."""
    first, second = conv(RNG.normal(size=(3, 3, 4)), padding="same"), conv(RNG.normal(size=(2, 4, 2)))
    parts = [first, layers.MaxPooling1D(2), second, layers.GlobalMaxPooling1D()]
    model = keras.Sequential([keras.Input((12, 3)), *parts])
    alone = conv(first.get_weights()[0])
    x = RNG.normal(size=(4, 12, 3)).astype("float32")
    for found in explain.activating_windows(model, second.name, x, share=0.1):
        assert found.values.shape[1:] == (6, 3) and len(found.values) > 1
        inside = (found.starts[:, 0] >= 0) & (found.starts[:, 0] <= 6)
        again = second(layers.MaxPooling1D(2)(alone(found.values[inside])))
        np.testing.assert_allclose(
            ops.convert_to_numpy(again)[:, 0, found.filter], found.activations[inside], rtol=1e-4
        )
        assert (np.diff(found.activations) <= 0).all()


# Places, the width of the window, strides, and layers of these: of convolutions, pooling, one on the other.
FIELDS = [
    (8, 3, 2, "c"),
    (7, 3, 2, "c"),
    (16, 7, 2, "c"),
    (8, 4, 1, "c"),
    (9, 2, 3, "c"),
    (9, 3, 4, "cp"),
    (11, 4, 3, "pc"),
    (13, 5, 2, "cc"),
    (12, 3, 2, "ccp"),
    (16, 3, 2, "cvc"),
]


@pytest.mark.every_backend
@pytest.mark.parametrize("field", FIELDS, ids=str)
@pytest.mark.parametrize("length", [True, False])
def test_windows_begin_where_keras_pads(field, length):
    """Each filter gives its first place, of 1, 2, 3 and so on, and pooling the largest: the last of the window."""
    places, size, strides, kinds = field
    first = np.eye(size)[0][:, None, None]
    make = {
        "c": lambda: conv(first, strides=strides, padding="same"),
        "v": lambda: conv(first, strides=strides),
        "p": lambda: layers.MaxPooling1D(size, strides, padding="same"),
    }
    parts = [*(make[kind]() for kind in kinds), conv(np.ones((1, 1, 1)), name="last")]
    model = keras.Sequential([keras.Input((places if length else None, 1)), *parts])
    x = np.arange(1.0, places + 1)[None, :, None]
    (found,) = explain.activating_windows(model, "last", x, share=0.0)
    at, step = 0, 1  # of what is seen in the window
    for kind in kinds:
        at, step = at + (size - 1) * step * (kind == "p"), step * strides
    inside = found.values[:, at, 0] > 0  # the largest of a window over the edge is another one
    assert inside.any()
    np.testing.assert_allclose(found.values[inside, at, 0], found.activations[inside])


def test_a_filter_that_never_fires_has_no_window():
    model = keras.Sequential([keras.Input((4, 3)), conv(-np.ones((2, 3, 1)), activation="relu", name="conv")])
    (found,) = explain.activating_windows(model, "conv", np.ones((2, 4, 3)))
    assert found.values.shape == (0, 2, 3)
    np.testing.assert_allclose(found.pwm, 1 / 3)


def test_windows_of_images():
    layer = layers.Conv2D(1, 2, use_bias=False, name="conv")
    model = keras.Sequential([keras.Input((3, 4, 1)), layer])
    layer.set_weights([np.array([[1.0, 0], [0, 1]])[..., None, None]])
    image = np.zeros((1, 3, 4, 1))
    image[0, [1, 2], [1, 2]] = 1
    (found,) = explain.activating_windows(model, layer, image, share=0.9)
    assert found.starts.tolist() == [[1, 1]] and found.values[0, ..., 0].tolist() == [[1, 0], [0, 1]]


WHERE = {"data_format": "channels_first"}


def channels_first(*after):
    parts = [layers.Conv2D(5, 3, name="conv", **WHERE), layers.AveragePooling2D(2, **WHERE)]
    return keras.Sequential([keras.Input((3, 6, 8)), keras.Sequential(parts), *after, layers.Flatten()])


IMAGES = RNG.random((2, 6, 8, 3)).astype("float32")
FIRST = IMAGES.transpose(0, 3, 1, 2)
VIEWS = {
    "saliency": lambda model, x: explain.saliency(model, x, 1),
    "optimize_input": lambda model, x: explain.optimize_input(model, 1, x, steps=1),
    "compare": lambda model, x: ka.compare({"a": model}, x, [0, 1]),
    "temporal_scores": lambda model, x: explain.temporal_scores(model, x, 1),
    "mutagenesis": lambda model, x: explain.mutagenesis(model, x[0], 1),
    "activating_windows": lambda model, x: explain.activating_windows(model, "conv", x),
    "dashboard": lambda model, x: ka.dashboard({"a": model}, x, [0, 1], "page.html"),
}


@pytest.mark.parametrize("view", VIEWS)
def test_the_channels_are_the_last_axis(view, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"{view}: the channels must be the last axis .*: conv, a Conv2D .* a Permute"):
        VIEWS[view](channels_first(), FIRST)
    assert not list(tmp_path.iterdir())


def test_a_permute_layer_must_stand_before_them():
    with pytest.raises(ValueError, match="Received: conv, a Conv2D"):
        explain.saliency(channels_first(layers.Permute((2, 3, 1))), FIRST, 1)
    parts = [layers.Permute((3, 1, 2)), layers.GlobalAveragePooling2D(**WHERE), layers.Dense(2)]
    model = keras.Sequential([keras.Input((6, 8, 3)), *parts])
    assert explain.saliency(model, IMAGES, 1).shape == IMAGES.shape
    assert ka.compare({"a": model}, IMAGES, [0, 1]).maps["a"].shape == (2, 48)


def test_a_flatten_layer_is_of_no_axis():
    model = keras.Sequential([keras.Input((3,)), layers.Flatten(data_format="channels_first"), layers.Dense(2)])
    assert explain.saliency(model, X, 1).shape == X.shape


def around():
    x = keras.Input((5, 3))
    y = gru(return_sequences=True)(layers.Conv1D(2, 3, padding="same")(x))
    return keras.Model(x, layers.Dense(2)(layers.GlobalAveragePooling1D()(layers.Concatenate()([x, y]))))


def images():
    return keras.Sequential([keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(2)])


WRONG = {
    "no temporal axis": (lambda: explain.temporal_scores(images(), np.zeros((1, 4, 4, 1))), "a temporal axis"),
    "features": (lambda: explain.temporal_scores(linear(), X), "a temporal axis"),
    "nothing recurrent": (
        lambda: explain.temporal_scores(model_of(layers.Flatten(), length=5), SEQUENCES),
        "must have a recurrent layer. .*Choose mode='input'",
    ),
    "a way around": (lambda: explain.temporal_scores(around(), SEQUENCES), "reads .* too. Choose mode='input'"),
    "one length": (
        lambda: explain.temporal_scores(
            model_of(both_ways(), layers.Flatten(), length=5),
            SEQUENCES,
        ),
        "must take sequences of several lengths|score",
    ),
    "no class": (lambda: explain.saliency(linear(), X, 2), "one class for each of the 2 samples, from 0 to 1"),
    "a class too many": (lambda: explain.saliency(linear(), X, [1, 0, 1]), "one class for each of the 2 samples"),
    "no such class": (lambda: explain.saliency(linear(), X, "cat"), "Pass the number of a class"),
    "no sequence": (lambda: explain.mutagenesis(linear(), X), r"`x` must be sequences.*\(2, 3\)"),
    "no convolution": (lambda: explain.activating_windows(linear(), "dense", X), "must be a convolution"),
    "NaN": (lambda: explain.saliency(linear(), X * np.nan), "`x` must be finite"),
}


@pytest.mark.skipif(not HERE, reason="the sentences are the same")
@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(case):
    call, sentence = WRONG[case]
    with pytest.raises((ValueError, TypeError), match=sentence):
        call()
