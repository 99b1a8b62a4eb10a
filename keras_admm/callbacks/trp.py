"""`TRP`, the callback for trained rank pruning: truncated SVD of the kernels every few steps, and the nuclear norm."""

import numpy as np

from keras_admm import attach, checks, hints, weights
from keras_admm.callbacks.arguments import checked_verbosity, verbosity
from keras_admm.callbacks.base import Callback
from keras_admm.constraints import check_energy, full_rank, truncated
from keras_admm.structure import LowRankTarget


class TRP(Callback):
    """Trains the kernels of a model to a low rank by trained rank pruning, during `model.fit`.

    Every `period` training steps each kernel, seen as a matrix, is cut to its largest singular values, and the step
    that follows adds `nuclear * U V^T` to its gradient, the sub-gradient of the nuclear norm `||W||_*`, which shrinks
    the small ones; the steps between are plain ones. At the end of `fit` the kernels are cut once more, and
    `keras_admm.factorize(model)` returns the smaller model. Kernels of layers that do not come apart into two stay as
    they are, which a warning says.

    The ranks follow from `energy` as the training makes them, and fall with `nuclear`; for given ranks, or a budget of
    MACs that the model must meet, see `keras_admm.ADMMLowRank`.

    Args:
        energy: float in `(0, 1]`, the share of the squared singular values of a kernel that a cut leaves.
        period: int, training steps from one cut to the next; with `steps_per_execution` the first of those that are
            taken together after them.
        nuclear: float >= 0, the strength of the nuclear norm.
        scheme: `"spatial"` or `"channel"`; see `keras_admm.ADMMLowRank`.
        layers, exclude, optimizer: see `keras_admm.ADMM`.
        verbose: `"auto"`, as `fit` has it; 0: nothing is printed; 1: the ranks at the end.

    Logs `rank_share`: the sum of the ranks of the last cut, as a share of that of the full ones.

    Raises:
        ValueError, TypeError: before any training, with what is wrong and what to do.

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(16), keras.layers.Dense(4)])
    >>> model.compile("sgd", "mse")
    >>> trp = TRP(energy=0.6, period=2)
    >>> history = model.fit(np.ones((32, 16)), np.ones((32, 4)), epochs=2, verbose=0, callbacks=[trp])
    >>> history.history["rank_share"][-1] < 1
    True

    Reference: Xu et al., "TRP: Trained Rank Pruning for Efficient Deep Neural Networks", arXiv:2004.14566.
    """

    def __init__(
        self,
        energy: float = 0.9,
        *,
        period: int = 1,
        nuclear: float = 0.0003,
        scheme: hints.Scheme = "spatial",
        layers: hints.Weights = None,
        exclude: hints.Weights = None,
        optimizer: hints.Optimizers = "auto",
        verbose: hints.Verbosity = "auto",
    ):
        super().__init__()
        self.energy = check_energy("TRP", energy)
        self.period = checks.integer("TRP", "period", period)
        self.nuclear = checks.number("TRP", "nuclear", nuclear, 0, "a finite number >= 0")
        self.target = LowRankTarget(energy=energy, scheme=scheme, name="TRP")
        self.layers = weights.check_choice("TRP", "layers", layers)
        self.exclude = weights.check_choice("TRP", "exclude", exclude)
        attach.check_optimizer("TRP", optimizer)
        self.optimizer = optimizer
        self.verbose = checked_verbosity("TRP", verbose)

    def on_train_begin(self, logs=None):
        attach.check_strategy("TRP", self.model)
        attach.build(self.model)
        chosen = weights.select(self.model, self.layers, self.exclude)
        target = self.target.of(self.model, chosen)
        self._variables = {name: chosen[name] for name in target.takes(list(chosen))}
        self._schemes = {name: each.scheme for name, each in target.sets(weights.views(self._variables), 0.0).items()}
        optimizers = attach.choose_optimizers("TRP", self.model, self._variables, self.optimizer)
        self._hold = attach.Hold(self.model, self._variables, optimizers)
        self._hold.set_rules(dict.fromkeys(self._variables, attach.AddedToGradient()))
        callbacks = attach.running_callbacks()
        self._hold.release_with(callbacks, self._hold.release)
        attach.tell_of_batches(callbacks)
        self._prints = verbosity(self.verbose, self.params) > 0
        self._steps = self._counted = 0
        self._ranks = {}
        self._cut()

    def on_epoch_begin(self, epoch, logs=None):
        self._counted = 0

    def on_train_batch_end(self, batch, logs=None):
        # Of several steps in one call (`steps_per_execution`) the number of the last is told.
        before, taken = self._steps, batch + 1 - self._counted
        self._steps, self._counted = before + taken, batch + 1
        if self._steps // self.period > before // self.period:
            self.model  # noqa: B018, on JAX it puts the weights of the last batch back into the variables
            self._cut()
        elif before % self.period == 0:
            self.model  # noqa: B018
            self._rest()

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            full = sum(full_rank(v.shape, self._schemes[name]) for name, v in self._variables.items())
            logs["rank_share"] = sum(self._ranks.values()) / full

    def on_train_end(self, logs=None):
        self.model  # noqa: B018
        self._cut()
        self._hold.release()
        if self._prints:
            full = {name: full_rank(v.shape, self._schemes[name]) for name, v in self._variables.items()}
            print("TRP: ranks " + ", ".join(f"{rank} of {full[name]} ({name})" for name, rank in self._ranks.items()))

    def _cut(self):
        """Each kernel cut to its rank, and the sub-gradient of its nuclear norm in the step to come."""
        for name, variable in self._variables.items():
            w, direction, rank = truncated(weights.view(variable), self._schemes[name], self.energy)
            weights.write(variable, w)
            self._ranks[name] = rank
            self._hold.rules[name].set_target(np.float32(self.nuclear) * direction)

    def _rest(self):
        """Plain steps until the next cut."""
        for name, variable in self._variables.items():
            self._hold.rules[name].set_target(np.zeros(variable.shape, "float32"))
