"""What every callback of ours is: one of Keras 3, that a fit of tf_keras can call too."""

import keras

from keras_admm import checks
from keras_admm.callbacks.arguments import check_known


class Callback(keras.callbacks.Callback):
    """A Keras 3 callback that answers what tf_keras asks every callback: whether it wants to hear of batches. Its
    `repr` is the call that made it."""

    def __new__(cls, *args, **kwargs):
        check_known(cls, kwargs)
        made = super().__new__(cls)
        made._given = args, kwargs
        return made

    def __repr__(self):
        args, kwargs = self._given
        given = [checks.shown(value) for value in args]
        given += [f"{name}={checks.shown(value)}" for name, value in kwargs.items()]
        return f"{type(self).__name__}({', '.join(given)})"

    def _implements_no_batch_hooks(self):
        return False

    _implements_train_batch_hooks = _implements_test_batch_hooks = _implements_no_batch_hooks
    _implements_predict_batch_hooks = _implements_no_batch_hooks
