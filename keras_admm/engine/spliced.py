"""Magnitude pruning with splicing of a live model: thresholds are searched, masks follow, and are held at last."""

import math
from typing import NamedTuple

import numpy as np
from keras import ops

from keras_admm import attach, scoring, weights
from keras_admm.constraints import Support
from keras_admm.plan import SearchTarget
from keras_admm.progress import check_finite
from keras_admm.retraining import MaskedWeights

# By how much more seldom masks change where pruning ends: kernels of rank 2 and others, as in OLMP's code.
RARER = {2: 3.0}
RARER_CONV = 0.3
# By how much masks cost too much whose score is not a number, such as a correlation with a constant.
WORST = float(np.finfo(np.float32).max)


class Found(NamedTuple):
    """What a search has found.

    Attributes:
        left: float, the share of weights that the thresholds leave.
        violation: float, by how much the score is too low where none was found that may be; else 0.
        scored: int, how many masks were scored.
        score: float, by the thresholds as they are.
    """

    left: float
    violation: float
    scored: int
    score: float


class SplicedPruning:
    """Pruning of a live, compiled model by thresholds, one for each layer, that a search finds.

    Args:
        name: str, name used in error messages.
        model: a built, compiled model of Keras 3.
        choice: `layers` and `exclude`, a pair; see `keras_admm.weights.select`. Biases go with their kernels.
        metric: see `keras_admm.scoring.Score`.
        method, settings: see `keras_admm.plan.SearchTarget`.

    Attributes:
        variables: dict of names to the variables that are pruned.
        target: the `SearchTarget`.
    """

    def __init__(self, name, model, choice, metric, method, settings):
        self.name, self.model = name, model
        scoring.check_model(name, model)
        attach.check_strategy(name, model)
        self.variables = weights.select(model, *choice, biases=True)
        self.optimizers = attach.choose_optimizers(name, model, self.variables, "auto")
        self._layers = _by_layer(self.variables)
        self._layer_of = {each: layer for layer, names in self._layers.items() for each in names}
        self.target = SearchTarget(self._layers, method, settings)
        self._score = scoring.Score(name, model, metric, self.variables, self._masked)
        self._hold = None

    def attach(self, steps, every):
        """Attach to the model, with every weight on.

        Args:
            steps: int, training steps until the masks are held.
            every: int, training steps between two searches, in which what is off loses about half of its worth.
        """
        self._hold = attach.Hold(self.model, self.variables, self.optimizers)
        self._decay = {layer: self._rarer(names) / steps for layer, names in self._layers.items()}
        decays = {name: self._decay[self._layer_of[name]] for name in self.variables}
        fade = -math.expm1(-math.log(2) / every)
        self._hold.set_rules({name: attach.Spliced(decay, fade) for name, decay in decays.items()})
        for rule in self._hold.rules.values():
            rule.set_threshold(None)
        self.target.begin(weights.views(self.variables))

    def release_with(self, callbacks, interrupted):
        """Call a function, which must release, when the fit of a `CallbackList` ends in an exception."""
        self._hold.release_with(callbacks, interrupted)

    def scores(self, batch):
        """The scores of the model as it is, and with every weight off, on a pair of inputs and labels."""
        arrays = {name: ops.convert_to_tensor(v) for name, v in self.variables.items()}
        thresholds = (dict.fromkeys(arrays, np.float32(at)) for at in (-np.inf, np.inf))
        return tuple(self._score(batch, arrays, arrays, each) for each in thresholds)

    def search(self, batch, least, step, rng, budget, on_score=lambda: None):
        """Find thresholds anew, for layers that are drawn, and set them.

        Args:
            batch: pair of arrays, on the backend's device if it has one.
            least: float, the score that no mask may fall below.
            step: int, how many training steps have passed.
            rng: NumPy's generator, which draws the layers and seeds the search.
            budget: int, masks that are looked at.
            on_score: function, called after each score.

        Returns:
            A `Found`.

        Raises:
            FloatingPointError: when a weight is no longer finite; thresholds stay then.
        """
        shares = {layer: 1 / (1 + decay * step) for layer, decay in self._decay.items()}
        drawn = {layer: rng.random() < share for layer, share in shares.items()}
        active = [layer for layer in drawn if drawn[layer]] or [str(rng.choice(list(drawn)))]

        trained, sizes = self._trained()
        check_finite(self.name, trained)
        placed = [{name: ops.convert_to_tensor(a) for name, a in each.items()} for each in (trained, sizes)]

        def loss(at):
            on_score()
            excess = least - self._score(batch, *placed, self._of_each(at))
            return excess if math.isfinite(excess) else WORST

        result, scored = self.target.find(sizes, active, loss, budget, int(rng.integers(2**31)))
        at = {layer: self.target.threshold(layer) for layer in self.target.layers}
        for name, threshold in self._of_each(at).items():
            self._hold.rules[name].set_threshold(threshold)
        return Found(result.value, result.violation, scored, self._score(batch, *placed, self._of_each(at)))

    def hold_masks(self):
        """Hold the masks as they are from here on: what is off stays zero."""
        for rule in self._hold.rules.values():
            rule.set_threshold(None)

    def enter_masked_training(self):
        """Train what is on alone: the step is compiled anew, without what was trained behind the zeros."""
        arrays = {name: weights.read(v) for name, v in self.variables.items()}
        sets = {name: Support(~off) for name, off in self._off().items()}
        for name, w in MaskedWeights().enter(self._hold, arrays, sets, 0, 1):
            weights.write(self.variables[name], w)

    def check(self):
        """Raises where the weights have not been trained as they should be; see `attach.Watch`."""
        self._hold.check_handed(self.name)
        self._hold.check_current(self.name)

    def finish(self):
        """Write zeros where the masks have them, whatever came after the last update, and detach."""
        if self._hold is None or self._hold.released:
            return
        for name, rule in self._hold.rules.items():
            w = weights.read(self.variables[name])
            if rule.astray(w):
                weights.write(self.variables[name], rule.restore(w))
        self.release()

    def release(self):
        """Detach from the model, whatever state it is in."""
        if self._hold is not None and not self._hold.released:
            self._hold.release()

    @property
    def left(self):
        """How many weights are on, by variable."""
        return {name: int(off.size - np.count_nonzero(off)) for name, off in self._off().items()}

    @property
    def size(self):
        """How many weights there are."""
        return sum(math.prod(v.shape) for v in self.variables.values())

    @staticmethod
    def _masked(arrays, trained, sizes, at):
        """The weights as the next training step would have them by other thresholds."""
        return {name: ops.where(sizes[name] > at[name], trained[name], 0.0) for name in arrays}

    def _of_each(self, at):
        """Thresholds by variable, from those by layer."""
        return {name: np.float32(at[self._layer_of[name]]) for name in self.variables}

    def _trained(self):
        """What the weights are worth, behind their zeros too, and the magnitudes that are compared with thresholds."""
        off = self._off()
        trained = {n: weights.read(v) + weights.view(self._hold.states[n].target) for n, v in self.variables.items()}
        scales = np.float32(attach.Spliced.SCALES)
        return trained, {name: np.abs(w) * np.where(off[name], *scales) for name, w in trained.items()}

    def _off(self):
        return {name: rule.zero_mask() for name, rule in self._hold.rules.items()}

    def _rarer(self, names):
        rank = max(len(self.variables[name].shape) for name in names)
        return RARER.get(rank, RARER_CONV)


def _by_layer(variables):
    """The names of variables by their layer, the path before their own name."""
    layers = {}
    for name in variables:
        layers.setdefault(name.rpartition("/")[0] or name, []).append(name)
    return layers
