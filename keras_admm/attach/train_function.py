"""The train function of a model whose `fit` is changed: renewed, watched for exceptions, and left as it was."""

import weakref


class TrainFunction:
    """Renews the train function of a model, and tells of fits that end in an exception.

    No train function is kept here: Keras makes another whenever it likes.

    Args:
        model: a `keras.Model`, or a model of tf_keras.
        interrupted: function that is called when an exception leaves a training step of `fit`.
    """

    def __init__(self, model, interrupted):
        self._model = model
        self._interrupted = interrupted
        self.is_running = False

    def renew(self):
        """Have the next training step compiled anew."""
        # Past a guard of `release_with`, which is for the fits of others.
        type(self._model).make_train_function(self._model, force=True)
        self._model.train_function = self._guarded(self._model.train_function)

    def release_with(self, callbacks, interrupted, release, undo):
        """Call a function when the fit of a `CallbackList` ends in an exception, which it tells no callback of.

        With the frames of the fit goes the list; where they are kept, the next fit releases the model first.

        Args:
            callbacks: the `CallbackList`.
            interrupted: function that is called when the fit has ended so.
            release: function that leaves the model as it was found.
            undo: `contextlib.ExitStack` that takes this away.
        """
        self._interrupted = interrupted
        weakref.finalize(callbacks, interrupted).atexit = False
        model, make = self._model, self._model.make_train_function

        def make_train_function(force=False):
            release()
            return make(force=force)

        object.__setattr__(model, "make_train_function", make_train_function)
        undo.callback(model.__dict__.pop, "make_train_function", None)

    def _guarded(self, train_function):
        def guarded(*args, **kwargs):
            self.is_running = True
            try:
                return train_function(*args, **kwargs)
            except BaseException as error:
                # The end of the data is no error: Keras says it with StopIteration, TensorFlow with OutOfRangeError.
                if type(error).__name__ not in ("StopIteration", "OutOfRangeError"):
                    self._interrupted()
                raise
            finally:
                self.is_running = False

        return guarded
