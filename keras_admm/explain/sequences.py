"""Checks of one-hot sequences and of alphabets."""

import numpy as np

from keras_admm import checks


def check(name, x):
    """Sequences as a float32 array `(samples, positions, letters)`, or what is wrong with them."""
    array = checks.array(name, "x", x).astype("float32")
    if array.ndim != 3 or not array.size:
        raise ValueError(
            f"{name}: `x` must be sequences, an array (samples, positions, letters). Received: shape {array.shape}. "
            "Give one-hot letters, for example of shape (20, 101, 4)."
        )
    return array


def are_letters(x):
    """Whether an array is of one-hot sequences, or of shares of letters; zeros for padding.

    Example:

    >>> are_letters(np.eye(3)[None]), are_letters(np.ones((1, 3, 1))), are_letters(np.ones((1, 3, 3)))
    (True, False, False)
    """
    if x.ndim != 3 or x.shape[-1] == 1 or x.min() < 0:
        return False
    sums = x.sum(-1)
    return bool(np.isclose(sums, np.round(sums), atol=1e-3).all() and sums.max() < 1.5)


def check_alphabet(name, alphabet, channels):
    """An alphabet of one letter for each channel."""
    must = f"a str of {channels} different letters, one for each channel"
    if not isinstance(alphabet, str):
        raise TypeError(checks.refused(name, "alphabet", must, alphabet, "Pass for example 'ACGT'."))
    if len(alphabet) != channels or len(set(alphabet)) != channels:
        raise ValueError(checks.refused(name, "alphabet", must, alphabet, "Name the letters in the channels' order."))
    return alphabet


def letters(sample, alphabet):
    """A one-hot sequence as a str; `-` for a place of zeros."""
    sample = np.asarray(sample)
    return "".join(alphabet[place.argmax()] if place.any() else "-" for place in sample)
