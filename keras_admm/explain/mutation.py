"""In-silico mutagenesis: every letter in every place of a sequence."""

import numpy as np
from numpy.typing import ArrayLike

from keras_admm import hints
from keras_admm.explain import channels, sequences, targets
from keras_admm.explain.named_array import NamedArray
from keras_admm.gradients import Forward


def mutagenesis(model: hints.Model, x: ArrayLike, target: targets.Score = None, batch_size: int = 256) -> NamedArray:
    """How the score of a sequence changes with every letter in every place.

    Args:
        model: a built model of Keras 3 or tf_keras with one input of one-hot sequences.
        x: array `(samples, positions, letters)`, a one for each letter.
        target: which score, see `saliency`.
        batch_size: int, sequences in one run.

    Returns:
        A `NamedArray` of the shape of `x`, axes `("sample", "position", "letter")`: the score with this letter in this
        place less the score as it is.

    Raises:
        TypeError, ValueError: for arrays that do not fit.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((1, 2)), keras.layers.Flatten(), keras.layers.Dense(1, use_bias=False)])
    >>> model.set_weights([np.array([[1.0], [3.0]])])
    >>> mutagenesis(model, np.array([[[1.0, 0.0]]])).values.tolist()
    [[[0.0, 2.0]]]
    """
    x = sequences.check("mutagenesis", x)
    channels.check_last("mutagenesis", model)
    forward = Forward("mutagenesis", model, batch_size)
    chosen = targets.choose("mutagenesis", target, forward(x))
    _, length, letters = x.shape
    changes = np.zeros(x.shape, "float32")
    for i, sample in enumerate(x):
        variants = np.broadcast_to(sample, (length, letters, *sample.shape)).copy()
        places = np.arange(length)
        variants[places, :, places] = np.eye(letters)
        one = chosen.take(np.full(length * letters + 1, i))
        scores = one.values(forward(np.concatenate([sample[None], variants.reshape(-1, *sample.shape)])))
        changes[i] = (scores[1:] - scores[0]).reshape(length, letters)
    return NamedArray(changes, ("sample", "position", "letter"))
