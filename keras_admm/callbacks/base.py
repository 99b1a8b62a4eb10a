"""What every callback of ours is: one of Keras 3, that a fit of tf_keras can call too."""

import keras


class Callback(keras.callbacks.Callback):
    """A Keras 3 callback that answers what tf_keras asks every callback: whether it wants to hear of batches."""

    def _implements_no_batch_hooks(self):
        return False

    _implements_train_batch_hooks = _implements_test_batch_hooks = _implements_no_batch_hooks
    _implements_predict_batch_hooks = _implements_no_batch_hooks
