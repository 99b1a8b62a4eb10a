"""Temporal output scores: what a model says of every beginning and every end of a sequence."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from keras_admm import checks, hints
from keras_admm.errors import reason
from keras_admm.explain import channels, targets
from keras_admm.explain.cut import Cut
from keras_admm.explain.named_array import NamedArray
from keras_admm.gradients import Forward, Runner

NAME = "temporal_scores"
AXES = ("sample", "direction", "position")


def temporal_scores(
    model: hints.Model,
    x: ArrayLike,
    target: targets.Score = None,
    mode: Literal["map", "input"] = "map",
    batch_size: int = 256,
) -> NamedArray:
    """The score of every beginning and every end of a sequence: where a recurrent model makes up its mind.

    Of a sequence of T places, `[i, 0, t]` is the score of the places up to t, and `[i, 1, t]` that of those from t on.

    Args:
        model: a built model of Keras 3 or tf_keras, with one input of sequences.
        x: array `(samples, positions, channels)`, or `(samples, positions)` of whole numbers.
        target: which score, see `saliency`; the class that is predicted is that of the whole sequence.
        mode: what is cut.

            - `"map"`, as in the Deep Motif Dashboard: what the first recurrent layer reads. The layers before it run
              once on the whole sequence; the model must be Sequential or Functional.
            - `"input"`: the sequence itself, by length where the model leaves the length open, else with zeros in the
              places that are cut off. Of a cut that is too short for the model the score is NaN.
        batch_size: int, cuts in one run.

    Returns:
        A `NamedArray`, axes `("sample", "direction", "position")`, two directions: forward, backward. With `"map"`
        positions are those of the map, fewer than of the sequence where convolutions or pooling shorten it.

    Raises:
        TypeError, ValueError: for a model or arrays without a temporal axis.

    References:
        Deep Motif Dashboard (arXiv:1608.03644).

    Example: a recurrent layer that sums up.

    >>> import keras
    >>> cell = dict(activation=None, kernel_initializer="ones", recurrent_initializer="ones", use_bias=False)
    >>> model = keras.Sequential([keras.Input((None, 1)), keras.layers.SimpleRNN(1, **cell)])
    >>> temporal_scores(model, np.array([[[1.0], [2.0], [4.0]]])).values.tolist()
    [[[1.0, 3.0, 7.0], [7.0, 6.0, 4.0]]]
    """
    checks.choice(NAME, "mode", mode, ("map", "input"))
    runner = Runner(NAME, model, batch_size)
    channels.check_last(NAME, model)
    given = runner.read(x)
    _check_temporal(model, given)
    chosen = targets.choose(NAME, target, Forward(NAME, model, batch_size)(x))
    if mode == "map":
        return _of_map(runner, Cut(NAME, model), given, chosen)
    if _is_open(model):
        return _of_open_input(runner, given, chosen)
    return _of_zeroed_input(model, given, chosen, batch_size)


def _check_temporal(model, given):
    rank = given.arrays[0].ndim
    if len(given.arrays) != 1 or rank not in (2, 3) or rank == 2 and given.floats[0] and not _embeds(given):
        shapes = ", ".join(str(array.shape) for array in given.arrays)
        raise ValueError(
            f"{NAME}: `x` must be sequences, one array with a temporal axis: (samples, positions, channels). Received: "
            f"{shapes} for {model.name}. Give one-hot letters, or whole numbers of shape (samples, positions)."
        )


def _embeds(given):
    """Whether floats are whole numbers, which an Embedding layer takes."""
    return (given.arrays[0] == np.round(given.arrays[0])).all()


def _is_open(model):
    symbols = getattr(model, "inputs", None)
    return not symbols or symbols[0].shape[1] is None


def _of_map(runner, cut, given, chosen):
    def before(variables, x):
        with runner.scope(variables):
            return cut.before(x)

    found = runner.run(runner.autodiff.compiled(before), given.size, given.structure)
    return _of_cuts(runner, cut, chosen, found[0], found[1] > 0 if len(found) > 1 else None)


def _of_open_input(runner, given, chosen):
    try:
        cut = Cut(NAME, runner.model)
    except ValueError:  # without a recurrent layer, or without a graph
        cut = None
    if cut is not None and cut.maskable and cut.starts_with_it:
        return _of_cuts(runner, cut, chosen, given.arrays[0], None)
    run = runner.autodiff.of_lengths(lambda variables, x: runner.call(x, variables))
    return _by_length(runner, run, chosen, [given.arrays[0]])


def _of_cuts(runner, cut, chosen, values, mask):
    """The scores of all cuts of a map, `(samples, positions, channels)`, with its mask or None."""

    def after(variables, values, *mask):
        with runner.scope(variables):
            return cut.after(values, *(each > 0 for each in mask))

    if not cut.maskable:
        return _by_length(
            runner, runner.autodiff.of_lengths(after), chosen, [values] if mask is None else [values, np.float32(mask)]
        )
    length, after = values.shape[1], runner.autodiff.compiled(after)
    kept = _kept(length) if cut.one_way is None else _kept(length)[1 if cut.one_way == "forward" else 0][None]
    cuts, scores = kept.reshape(-1, length), np.empty((len(values), len(kept), length), "float32")
    for these in _groups(len(values), max(1, runner.batch_size // len(cuts))):
        rows, there = np.repeat(these, len(cuts)), np.tile(cuts, (len(these), 1))
        there = there if mask is None else there & mask[rows]
        # Of one sequence alone this is no copy.
        alike = np.broadcast_to(values[these, None], (len(these), len(cuts), *values.shape[1:]))
        outputs = runner.run(after, len(rows), alike.reshape(-1, *values.shape[1:]), np.float32(there))
        scores[these] = chosen.take(rows).values(outputs).reshape(-1, *scores.shape[1:])
    if cut.one_way is None:
        return NamedArray(scores, AXES)
    once = _one_pass(runner, cut, chosen, values, mask)
    both = [once, scores[:, 0]] if cut.one_way == "forward" else [scores[:, 0], once]
    return NamedArray(np.stack(both, 1), AXES)


def _one_pass(runner, cut, chosen, values, mask):
    """The scores in the direction of a layer that goes one way, from the states that it goes through."""

    def after_each(variables, values, *mask):
        with runner.scope(variables):
            return cut.after_each(values, *(each > 0 for each in mask))

    run, scores = runner.autodiff.compiled(after_each), np.empty(values.shape[:2], "float32")
    for these in _groups(len(values), runner.batch_size):
        outputs = runner.run_whole(run, values[these], *([] if mask is None else [np.float32(mask[these])]))
        scores[these] = chosen.take(np.repeat(these, scores.shape[1])).values(outputs).reshape(len(these), -1)
    return scores if cut.one_way == "forward" else scores[:, ::-1]


def _groups(count, size):
    """The numbers of samples, so many at a time."""
    return [np.arange(start, min(start + size, count)) for start in range(0, count, size)]


def _kept(length):
    """Which places each cut keeps, bools `(directions, cuts, places)`."""
    upwards = np.tri(length, dtype=bool)
    return np.stack([upwards, upwards.T])


def _by_length(runner, run, chosen, arrays):
    """The scores of all cuts, those of one length at once."""
    size, length = arrays[0].shape[:2]
    scores, failed = np.full((size, 2, length), np.nan, "float32"), None
    for n in range(1, length + 1):
        for direction, part in enumerate((slice(n), slice(length - n, None))):
            try:
                outputs = runner.run(run, size, *(np.ascontiguousarray(array[:, part]) for array in arrays))
            except Exception as error:  # of a cut that is too short, each backend says so in its own way
                if np.isfinite(scores).any():
                    raise
                failed = error
                continue
            scores[:, direction, n - 1 if direction == 0 else length - n] = chosen.values(outputs)
    if failed is not None and np.isnan(scores[:, 0, length // 2 : -1]).all():
        raise ValueError(
            f"{NAME}: the model must take sequences of several lengths. Received: {runner.model.name}, which says: "
            f"{reason(failed)}. Choose mode='input' for a model of one length."
        ) from failed
    return NamedArray(scores, AXES)


def _of_zeroed_input(model, given, chosen, batch_size):
    forward, array = Forward(NAME, model, batch_size), given.arrays[0]
    length = array.shape[1]
    kept = _kept(length).reshape(-1, length, *(1,) * (array.ndim - 2))
    scores = np.empty((len(array), 2, length), "float32")
    for i, sample in enumerate(array):
        outputs = forward(np.where(kept, sample, 0).astype(array.dtype))
        scores[i] = chosen.take(np.full(2 * length, i)).values(outputs).reshape(2, length)
    return NamedArray(scores, AXES)
