"""`SearchTarget`: magnitude thresholds layer by layer, which a search finds."""

import numpy as np

from keras_admm import search
from keras_admm.constraints import Support
from keras_admm.plan.target import Target


class SearchTarget(Target):
    """Weights whose magnitude is above a threshold of their layer, `t = max(mu + c * sigma, 0)`.

    `mu` and `sigma` are mean and standard deviation of the magnitudes of the layer's weights, biases among them, that
    are not zero, as the model was at first; `c` is what a search finds:
    `argmin over c of the share of weights that are left, subject to a loss of at most so much`.

    Args:
        layers: dict of layers' names to lists of the names of their variables.
        method, settings: see `keras_admm.search.minimize`: which search, and a dict of its settings.

    Attributes:
        c: dict of layers' names to floats; at first as low as makes every threshold 0.
    """

    def __init__(self, layers, method="ncs", settings=None):
        self.layers = {layer: list(names) for layer, names in layers.items()}
        self.method = search.check_method("SearchTarget", method)
        self.settings = dict(settings or {})
        self.c, self._mean, self._deviation = {}, {}, {}

    def begin(self, arrays):
        """Measure the weights as they are at first."""
        for layer, names in self.layers.items():
            sizes = np.concatenate([np.abs(arrays[name]).ravel() for name in names])
            sizes = sizes[sizes > 0].astype(float)
            self._mean[layer] = float(sizes.mean()) if sizes.size else 0.0
            self._deviation[layer] = float(sizes.std()) or 1.0 if sizes.size else 1.0
            self.c[layer] = -self._mean[layer] / self._deviation[layer]

    def threshold(self, layer, c=None):
        """The threshold of a layer, as it is or for another `c`."""
        c = self.c[layer] if c is None else c
        return max(self._mean[layer] + c * self._deviation[layer], 0.0)

    def sets(self, arrays, fraction):
        if not self.c:
            self.begin(arrays)
        at = {name: self.threshold(layer) for layer, names in self.layers.items() for name in names}
        return {name: Support(np.abs(w) > at[name]) for name, w in arrays.items()}

    def takes(self, names):
        return [name for these in self.layers.values() for name in these if name in names]

    def find(self, sizes, active, loss, budget, seed):
        """Search the `c` of some layers, and keep what was found where it is allowed and leaves less.

        Args:
            sizes: dict of names to float32 arrays, the magnitudes that are compared with a threshold.
            active: list of the layers whose `c` may change.
            loss: function of a dict of layers' names to thresholds: by how much more they cost than is allowed, at most
                0 where they are. Asked once for each mask.
            budget, seed: see `keras_admm.search.minimize`.

        Returns:
            The `keras_admm.search.Result`, and how many masks `loss` was asked for.
        """
        looks = {each: np.sort(np.concatenate([sizes[n].ravel() for n in own])) for each, own in self.layers.items()}
        fixed = {layer: self.threshold(layer) for layer in self.layers}
        total, known = sum(look.size for look in looks.values()), {}

        def thresholds(x):
            return fixed | {layer: self.threshold(layer, c) for layer, c in zip(active, x, strict=True)}

        def pruned(at):
            """How many weights of each layer are off, which tells one mask from another."""
            return tuple(int(np.searchsorted(looks[layer], np.float32(t), "right")) for layer, t in at.items())

        def left(x):
            return 1 - sum(pruned(thresholds(x))) / total

        def excess(x):
            at = thresholds(x)
            mask = pruned(at)
            if mask not in known:
                known[mask] = loss(at)
            return known[mask]

        x0, bounds = self._box(active, looks)
        found = search.minimize(left, x0, bounds, budget, seed, excess, method=self.method, **self.settings)
        if not found.violation:
            self.c |= dict(zip(active, map(float, found.x), strict=True))
        return found, len(known)

    def _box(self, active, looks):
        """Where a search begins, as it is now, and its bounds: from no weight off to all."""
        low = np.array([-self._mean[layer] / self._deviation[layer] for layer in active])
        ends = [1.1 * float(looks[layer][-1]) for layer in active]  # beyond the last weight
        widths = [end / self._deviation[layer] for layer, end in zip(active, ends, strict=True)]
        high = low + np.maximum(widths, 1e-6)
        return np.clip([self.c[layer] for layer in active], low, high), (low, high)

    def get_config(self):
        names = {name: getattr(self, name) for name in ("layers", "settings")}
        return {**names, "method": self.method.__name__}
