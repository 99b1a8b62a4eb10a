"""Random inputs of a model, and whether two models give the same for them."""

import keras
import ml_dtypes
import numpy as np
from keras import ops

from keras_admm import graph, inference
from keras_admm.errors import reason

OPEN = (96, 24, 5)  # sizes for axes whose size is open, the first that the model takes
LARGEST = 2**31 - 1  # number of words
# Where a model makes NaN of some of the first (a logarithm, a root, an inverse of a sine), of the others.
DRAWS = (
    lambda rng, shape: rng.normal(size=shape),
    lambda rng, shape: rng.uniform(0.1, 0.9, shape),
    lambda rng, shape: rng.uniform(1.1, 1.9, shape),
)
TOLERANCE = 1e-5  # of the largest output, or of 1


def drawn(model, call):
    """Random inputs that a model takes, and what `call` gives for them, of which none is NaN.

    Args:
        model: a built Sequential or Functional model.
        call: function of the inputs that gives a list of arrays.
    """
    for draw in DRAWS:
        inputs, given = _taken(model, call, draw)
        if not any(np.isnan(y).any() for y in given):
            return inputs, given
    raise ValueError(
        f"{model.name}: the model must give numbers for random inputs, on which its outputs are compared with those of "
        "the smaller one. Received: NaN for normal ones, for those between 0 and 1 and for those between 1 and 2. Pass "
        "the part of it behind the layer that makes NaN of them, and call that in front of the smaller model."
    )


def _taken(model, call, draw):
    for size in OPEN:
        inputs = _inputs(model, size, draw)
        try:
            return inputs, call(inputs)
        except Exception as error:  # whatever a layer raises for such a size
            last = error
            if not any(None in x.shape[1:] for x in model.inputs):
                break
    raise ValueError(
        f"{model.name}: the model must run on random inputs, on which its outputs are compared with those of the "
        f"smaller one. Received: {reason(last)}."
    ) from last


def _inputs(model, size, draw):
    rng, words = np.random.default_rng(0), _words(model)
    given = model.inputs[0] if isinstance(model, keras.Sequential) else model.input

    def array(x):
        shape = tuple(n or (size if axis else 2) for axis, n in enumerate(x.shape))
        if x.dtype == "string":
            return np.array(["a", "b"])[rng.integers(2, size=shape)]
        if "float" in x.dtype and id(x) not in words:
            return draw(rng, shape).astype("float32")
        return rng.integers(words.get(id(x), 2), size=shape).astype("float32" if "float" in x.dtype else x.dtype)

    return keras.tree.map_structure(array, given)


def _words(model):
    """Of the inputs that are looked up, by the ids of their symbols, the least number of words."""
    words = {}
    for call in reversed(graph.calls.of(model, "its inputs can be drawn").calls):
        passed = [words[id(x.symbol)] for x in call.outputs if id(x.symbol) in words and not call.variables]
        least = min(passed + ([call.layer.input_dim] if isinstance(call.layer, keras.layers.Embedding) else [LARGEST]))
        for x in call.reads() if least < LARGEST else ():
            words[id(x.symbol)] = min(least, words.get(id(x.symbol), LARGEST))
    return words


def outputs(model, inputs):
    """What a model gives at inference, a flat list of float32 arrays."""
    given = keras.tree.flatten(inference.call(model, inputs))
    return [ops.convert_to_numpy(ops.cast(ops.stop_gradient(y), "float32")) for y in given]


def apart(before, after):
    """How far outputs are apart at most, in units of the largest number of `before`, or of 1 where that is smaller.

    Args:
        before, after: lists of arrays. Infinities that are the same are not apart; NaN, which nothing is near, is NaN.
    """
    with np.errstate(invalid="ignore"):
        most = [np.where(a == b, 0, np.abs(a - b)).max(initial=0) for a, b in zip(before, after, strict=True)]
    return float(np.max(most) / max(np.abs(y[np.isfinite(y)]).max(initial=1) for y in before))


def check_equal(model, before, after):
    """Raises unless outputs are the same up to rounding.

    Args:
        model: whose they are before.
        before, after: lists of arrays.
    """
    differs, allowed = apart(before, after), _tolerance(model)
    if not differs <= allowed:
        raise ValueError(
            f"{model.name}: the smaller model must give the same outputs within {allowed:.0e} of their largest, or of "
            f"1. Received: a difference of {differs:.1e} on random inputs. A layer with a rule of its own (see "
            "keras_admm.graph.register) may tell it wrong; leave its channels out with `layers`."
        )


def _tolerance(model):
    """Of layers that compute in half precision, some of its steps."""
    types = {layer.compute_dtype for layer in model._flatten_layers()} & {"float16", "bfloat16"}
    return max([TOLERANCE, *(8 * float(ml_dtypes.finfo(each).eps) for each in types)])
