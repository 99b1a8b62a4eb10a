"""`sensitivity`: what each layer bears: it alone is pruned, without training, and the model evaluated."""

from collections.abc import Sequence
from typing import NamedTuple

import keras

from keras_admm import checks, hints, inference, weights
from keras_admm.constraints import Sparse
from keras_admm.files import check_place
from keras_admm.plan import ascending
from keras_admm.studies.evaluation import Evaluation
from keras_admm.tables import aligned

SPARSITIES = (0.5, 0.75, 0.9, 0.95, 0.98, 0.99)


class Sensitivity(NamedTuple):
    """What a model is worth with each of its kernels pruned alone; printing it gives a table.

    Attributes:
        monitor: str, the metric that table and picture show.
        sparsities: tuple of floats, rising.
        dense: dict of metrics, of the model as it is.
        scores: dict of kernels' names to a tuple of such dicts, one for each sparsity.
    """

    monitor: str
    sparsities: tuple
    dense: dict
    scores: dict

    def __str__(self):
        head = [f"{self.monitor}, dense {self.dense[self.monitor]:.4f}", *(f"{s:.4g}" for s in self.sparsities)]
        lines = [[name, *(f"{each[self.monitor]:.4f}" for each in row)] for name, row in self.scores.items()]
        return aligned([head, *lines])

    def to_dict(self):
        """The numbers alone, ready for `json.dumps`."""
        return {
            **self._asdict(),
            "sparsities": list(self.sparsities),
            "scores": {n: [*r] for n, r in self.scores.items()},
        }

    def plot(self, path):
        """Draws a line for each kernel over the sparsities, and saves the picture.

        Args:
            path: where the picture goes; the ending says the format, `.png` or `.svg`.

        Raises:
            ImportError: without matplotlib.
            ValueError: for a path that cannot be written.
        """
        from keras_admm.pictures import new_figure, plain, save_figure

        check_place(path)
        figure = new_figure((8, 4.5))
        axes = figure.subplots()
        places = range(len(self.sparsities))
        axes.axhline(self.dense[self.monitor], color="gray", linestyle="--", linewidth=1, label="dense")
        for i, (name, row) in enumerate(self.scores.items()):
            line = "-" if i < 10 else ":"  # matplotlib's colours come again after ten
            axes.plot(places, [each[self.monitor] for each in row], line, marker=".", label=plain(name))
        axes.set_xticks(list(places), [f"{s:.4g}" for s in self.sparsities])
        axes.set_xlabel("sparsity of this kernel alone")
        axes.set_ylabel(plain(self.monitor))
        axes.grid(alpha=0.3)
        figure.legend(loc="outside right upper", fontsize="x-small")
        save_figure(figure, path)


def sensitivity(
    model: hints.Model,
    validation_data: hints.Data,
    sparsities: Sequence[float] = SPARSITIES,
    *,
    layers: hints.Weights = None,
    exclude: hints.Weights = None,
    monitor: str | None = None,
    batch_size: int = 256,
    verbose: int = 1,
) -> Sensitivity:
    """How much each layer can be pruned: accuracy with one kernel pruned at a time, without any training.

    At each point one kernel W is replaced by its projection on the set of sparse tensors, `argmin ||V - W|| subject to
    card(V) <= (1 - sparsity) * n`, the others being dense, and the model is evaluated once. Layers whose lines fall
    early are those that an allocation should spare. What training wins back is not in these numbers.

    The model's variables have their values again afterwards, by an exception too.

    Args:
        model: a built, compiled model, of Keras 3 or tf_keras; its loss and metrics are what is measured.
        validation_data: data that are not trained on: a pair `(x, y)` of arrays, `(x, y, sample_weight)`, or a dataset.
        sparsities: floats in `[0, 1)`, rising.
        layers: what to prune; see `keras_admm.ADMM`. By default every kernel and embedding.
        exclude: what to leave out.
        monitor: name of the metric that table and picture show; None: the metric, where the model has one; its loss,
            where it has none or several.
        batch_size: int, of arrays.
        verbose: 1: a progress bar over the points; 0: nothing is printed.

    Returns:
        A `Sensitivity`: its `scores` have all metrics, `print` shows a table, `plot(path)` draws a picture.

    Raises:
        ValueError, TypeError: with what is wrong and what to do: before anything is evaluated, but for a monitor that
            the first evaluation has not.

    Example:

    >>> import numpy as np
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, use_bias=False, name="head")], name="m")
    >>> model.set_weights([np.array([[3.0], [2.0], [1.0], [0.5]])])
    >>> model.compile(loss="mse")
    >>> x, y = np.eye(4), np.array([3.0, 2.0, 1.0, 0.5])
    >>> print(sensitivity(model, (x, y), [0.25, 0.5], verbose=0))
    loss, dense 0.0000    0.25     0.5
    m/head/kernel       0.0625  0.3125

    Reference: Han et al., "Learning both Weights and Connections for Efficient Neural Networks", arXiv:1506.02626.
    """
    name = "sensitivity"
    sparsities = tuple(ascending(name, sparsities))
    checks.integer(name, "batch_size", batch_size)
    checks.integer(name, "verbose", verbose, 0, 1, "Pass 0 to print nothing.")
    evaluation = Evaluation(name, model, validation_data, batch_size, monitor)
    chosen = weights.select(model, layers, exclude, training=False)
    bar = keras.utils.Progbar(1 + len(chosen) * len(sparsities), unit_name="evaluation") if verbose else None

    def evaluated():
        scores = evaluation()
        if bar:
            bar.add(1)
        return scores

    with inference.unchanged(model):
        dense = evaluated()
        scores = {each: _pruned_alone(variable, sparsities, evaluated) for each, variable in chosen.items()}
    return Sensitivity(evaluation.monitor, sparsities, dense, scores)


def _pruned_alone(variable, sparsities, evaluated):
    """The metrics of the model at each sparsity of one kernel, which has its values again afterwards."""
    scores, w = [], weights.read(variable)
    with inference.kept([variable]):
        for sparsity in sparsities:
            weights.write(variable, Sparse(sparsity).project(w))
            scores.append(evaluated())
    return tuple(scores)
