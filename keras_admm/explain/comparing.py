"""`compare`: whether compressed models still look at the same things."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from keras_admm import checks, graph, hints, weights
from keras_admm.explain import channels, ranks, targets
from keras_admm.explain.comparison import MOST, Compared, Comparison
from keras_admm.explain.cut import inner
from keras_admm.explain.maps import Method, saliency
from keras_admm.explain.motifs import Motif, check_motifs, match_motifs
from keras_admm.explain.windows import activating_windows
from keras_admm.gradients import Forward

NAME = "compare"
LEAST_WINDOWS = 5  # of a filter whose motif is looked up
SIGNIFICANT = 0.01


def compare(
    models: Mapping[str, hints.Model],
    x: ArrayLike,
    y: ArrayLike,
    method: Method = "saliency",
    top: float = 0.1,
    truth: ArrayLike | None = None,
    motifs: Sequence[Motif] | None = None,
    batch_size: int = 128,
) -> Comparison:
    """Compares models of one task, such as a dense and a pruned one: accuracy, and what they look at.

    The first model is the one that the others are compared with. The saliency of a place is the sum of the absolute
    map of the class `y` over the channels.

    Args:
        models: dict of names to built models of Keras 3 or tf_keras, with one input: `{"dense": a, "pruned": b}`.
        x: array of samples.
        y: their classes, ints `(samples,)`, or one-hot `(samples, classes)`. Of several labels, or of a number, look at
            one at a time by `keras_admm.explain.saliency`.
        method: which map, see `keras_admm.explain.saliency`.
        top: float in (0, 1), the share of the places whose overlap is told.
        truth: bools `(samples, positions)`, where a sample has what makes its class (of images `(samples, rows,
            columns)`, of tables `(samples, features)`); the AUPRC of the saliency is then told, of samples that have
            such a place.
        motifs: list of `keras_admm.explain.Motif`: those that filters of the first convolution match are then told,
            with p <= 0.01, and those that the first model's filters match and another one's do not.
        batch_size: int, samples in one run.

    Returns:
        A `Comparison`; `print` it for a table.

    Raises:
        TypeError, ValueError: for arrays that do not fit, or a model without a gradient to its inputs.

    Example: a model beside itself.

    >>> import keras
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, "softmax")])
    >>> found = compare({"dense": model, "same": model}, np.eye(3), np.array([0, 1, 1]))
    >>> found.rows[1].agreement, round(found.rows[1].rank_correlation, 3)
    (1.0, 1.0)
    """
    models = check_models(NAME, models)
    x, y = checks.array(NAME, "x", x), checked_classes(NAME, y)
    _check_share(top)
    check_motifs(NAME, motifs)
    truth = None if truth is None else checks.array(NAME, "truth", truth)
    outputs = {name: Forward(NAME, model, batch_size)(x) for name, model in models.items()}
    chosen = {name: targets.choose(NAME, y, each) for name, each in outputs.items()}
    columns = {name: targets.columns_of(NAME, each) for name, each in outputs.items()}
    classes = {name: targets.predicted(model, columns[name]) for name, model in models.items()}
    scores = {name: each.values(outputs[name]) for name, each in chosen.items()}
    maps = {name: _places(saliency(model, x, y, method, batch_size=batch_size)) for name, model in models.items()}
    first = next(iter(models))
    truth = None if truth is None else _checked_truth(truth, maps[first])
    maps = {name: each.reshape(len(each), -1) for name, each in maps.items()}
    filters = {name: _matched(model, x, motifs) for name, model in models.items()} if motifs else {}
    found = {name: _labels(each) for name, each in filters.items()}
    rows = []
    for name in models:
        alike = ranks.rank_correlation(maps[name], maps[first])
        told = {
            **_accuracy(columns[name], classes[name], y),
            "agreement": float((classes[name] == classes[first]).mean()),
            "rank_correlation": float(alike.mean()),
            "overlap": float(ranks.overlap(maps[first], maps[name], top).mean()),
            "auprc": None if truth is None else _auprc(truth, maps[name]),
            "motifs": found.get(name),
            "lost": tuple(each for each in found.get(first, ()) if each not in found[name]),
            "prediction_changed": _most(np.abs(scores[name] - scores[first])),
            "explanation_changed": _most(-alike),
        }
        rows.append(Compared(name, **told))
    return Comparison(tuple(rows), maps, scores, y, filters)


def check_models(name, models):
    """A dict of names to models, or what is wrong with it."""
    must = "a dict of names to models"
    remedy = "Pass for example {'dense': dense, 'pruned': pruned}."
    if not isinstance(models, dict) or not models or not all(isinstance(key, str) for key in models):
        raise TypeError(checks.refused(name, "models", must, models, remedy))
    for model in models.values():
        weights.check_model(name, model, "models", f"{must} of Keras 3 or tf_keras")
        channels.check_last(name, model)
    return models


def checked_classes(name, y):
    """Classes as ints `(samples,)`, of one-hot ones too."""
    array = checks.array(name, "y", y)
    if array.ndim == 2 and array.size:
        one_hot = ((array == 0) | (array == 1)).all() and (array.sum(1) == 1).all()
        array = array[:, 0] if array.shape[1] == 1 else array.argmax(1) if one_hot else array
    if array.ndim != 1 or not len(array) or not np.array_equal(array, np.round(array)):
        must = "the class of each sample, an int, or one-hot: in each row one 1, and 0 else"
        remedy = "Pass for example y_test[:20]; of several labels the column of one, and a model of that output."
        raise ValueError(checks.refused(name, "y", must, y, remedy))
    return array.astype(int)


def _check_share(top):
    must = "a float in (0, 1)"
    if checks.share(NAME, "top", top, must) == 0:
        raise ValueError(checks.refused(NAME, "top", must, top, checks.IN_RANGE))


def _checked_truth(truth, places):
    if truth.shape != places.shape:
        raise ValueError(
            f"{NAME}: `truth` must be bools of the samples' places, shape {places.shape}. Received: shape "
            f"{truth.shape}. Say of each place whether it counts."
        )
    return truth.reshape(len(truth), -1) > 0


def _places(found):
    """The absolute saliency of each place: the sum over the channels, the last axis of sequences and images."""
    if isinstance(found, dict):
        raise ValueError(
            f"{NAME}: the models must have one input. Received: one of {', '.join(found)}. Look at each by "
            "keras_admm.explain.saliency."
        )
    values = np.abs(found.values)
    return values.sum(-1) if values.ndim > 2 else values


def _accuracy(columns, classes, y):
    two = columns.shape[1] <= 2
    return {
        "accuracy": float((classes == y).mean()),
        "auc": ranks.auc(y == 1, columns[:, -1] - (columns[:, 0] if columns.shape[1] == 2 else 0)) if two else None,
    }


def _auprc(truth, maps):
    rows = [ranks.average_precision(t, m) for t, m in zip(truth, maps, strict=True) if t.any()]
    return float(np.mean(rows)) if rows else float("nan")


def _most(changes):
    return tuple(np.argsort(-changes, kind="stable")[:MOST].tolist())


def _matched(model, x, motifs):
    """The filters of a model's first convolution that match known motifs, the best first."""
    calls = graph.calls.of(model, "its filters are named by motifs").needed()
    first = next((call.layer for call in calls if weights.of_class(inner(call.layer), "Conv1D")), None)
    if first is None:
        return ()
    found = [each for each in activating_windows(model, first, x) if len(each.values) >= LEAST_WINDOWS]
    best = [(each, match_motifs(each.pwm, motifs, most=1, shuffles=199)[0]) for each in found]
    significant = [each for each in best if each[1].p_value <= SIGNIFICANT]
    return tuple(sorted(significant, key=lambda each: (each[1].p_value, -each[1].correlation)))


def _labels(matched):
    return tuple(sorted({match.motif.label for _, match in matched}))
