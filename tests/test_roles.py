"""Names of variables for resuming: the same for a model that is built again, whatever Keras has counted by then."""

import keras
import pytest
from test_optimizers import OPTIMIZERS

from keras_admm import attach, weights

LEGACY = {
    "tf_keras, SGD": lambda o: o.SGD(0.1, momentum=0.9),
    "tf_keras, Adam": lambda o: o.Adam(0.1, amsgrad=True),
    "tf_keras, averages": lambda o: o.Adam(0.1, use_ema=True),
    "tf_keras, Adafactor": lambda o: o.Adafactor(0.1),
    "tf_keras, RMSprop": lambda o: o.RMSprop(0.1, momentum=0.9, centered=True),
    "tf_keras, Ftrl": lambda o: o.Ftrl(0.1),
    "tf_keras, legacy Adam": lambda o: o.legacy.Adam(0.1, amsgrad=True),
    "tf_keras, legacy SGD": lambda o: o.legacy.SGD(0.1, momentum=0.9),
    "tf_keras, legacy Ftrl": lambda o: o.legacy.Ftrl(0.1),
}


def libraries(name):
    """The library and a function that makes the optimizer of a name."""
    if name in OPTIMIZERS:
        return keras, OPTIMIZERS[name]
    tf_keras = pytest.importorskip("tf_keras")
    return tf_keras, lambda: LEGACY[name](tf_keras.optimizers)


def model(library):
    """Layers that are named, that Keras names, and that it names alike in a model within."""
    dense = library.layers.Dense
    inner = library.Sequential([library.Input((4,)), dense(4), library.layers.BatchNormalization()])
    layers = [library.Input((4,)), dense(3, name="dense_99"), dense(4), inner, dense(4), library.layers.Dropout(0.1)]
    return library.Sequential(layers)


OWN = [name for name in OPTIMIZERS if ":" not in name]  # the others are of tf_keras
TABLE = [*OWN, *(pytest.param(name, marks=pytest.mark.tensorflow_only) for name in LEGACY)]


@pytest.mark.parametrize("name", TABLE)
def test_a_model_built_again_has_the_same_names(name):
    library, make = libraries(name)
    states = []
    for _ in range(2):
        again, optimizer = model(library), make()
        attach.build_optimizers(again, [optimizer], [[*attach.structural(weights.named(again))][:2]])
        assert not attach.built_for(again, [optimizer])[0]  # such names are of another model
        wanted = [*attach.structural(weights.named(again)).values()]
        trained = [wanted[i] for i, v in enumerate(weights.named(again).values()) if v.trainable]
        attach.build_optimizers(again, [optimizer], [trained])
        assert attach.built_for(again, [optimizer]) == [trained]
        found = attach.variables_by_role(again, [optimizer])
        assert len({id(v) for v in found.values()}) == len(found)
        states.append({key: tuple(v.shape) for key, v in found.items()})
    assert states[0] == states[1] and list(states[0]) == list(states[1])
    assert not any(key.startswith("optimizer") and "_1" in key for key in states[0])
