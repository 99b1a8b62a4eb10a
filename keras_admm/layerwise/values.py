"""Quantized or clustered kernels after training: each weight on the one of its values with which the layer gives most
nearly what it gave."""

import numpy as np

from keras_admm.layerwise.methods import Method
from keras_admm.layerwise.solver import ADMM

CLIPS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)  # shares of the largest weight that a scale is tried for
PASSES = 10


class OnValues(Method):
    """Levels or clusters, their values fitted to the kernel first, and then each weight's choice of them made by ADMM.

    The values are the nearest member's to the kernel, clipped for each output channel where that is nearer by what the
    inputs weigh. Then `argmin ||X W - X W0||^2` over choices of these values: by ADMM, and by one sweep over the inputs
    that makes up behind each for the error of its rounding; the better of the two goes on, weight by weight to the best
    value with all others as they are, until none changes. Of each channel the largest weight keeps its value, so that
    a scale that is told by it stays.

    Args:
        levels: a `keras_admm.constraints.Set` that has `codes`.
        pruning: a `Method` that chooses which weights stay, where the constraint of a kernel says how many.

    Reference: the sweep is that of Frantar et al., "GPTQ", arXiv:2210.17323, the coordinates' descent that of Zhang et
    al., "COMQ", arXiv:2403.07134.
    """

    def __init__(self, levels, pruning):
        self.levels, self.pruning, self.correction = levels, pruning, pruning.correction

    def solve(self, problem, constraint):
        kept = problem.kernel(problem.w)
        if constraint.says_support:
            kept = self.pruning.solve(problem, constraint)
        values = Values(problem, self.levels, self._nearest(problem, kept), kept != 0)
        starts = [np.stack([values.swept(g) for g in range(len(problem.w))])]
        starts.append(values.nearest(ADMM().chosen(problem.unit_gram, problem.w, values.nearest, problem.w.dtype)))
        done = [values.descended(start) for start in starts]
        return problem.kernel(min(done, key=values.error))

    def _nearest(self, problem, kept):
        """The nearest member, for each channel at the clip at which it is nearest."""
        axes = tuple(range(kept.ndim - 1)) if getattr(self.levels, "scope", "tensor") == "channel" else None
        weigh = problem.kernel(np.broadcast_to(problem.scale**2, problem.w.shape))
        most = np.abs(kept).max(axis=axes, keepdims=True)
        best = least = None
        for clip in CLIPS:
            found = self.levels.project(np.clip(kept, -clip * most, clip * most))
            error = np.sum(weigh * (found - kept) ** 2, axis=axes, keepdims=True)
            better = np.bool_(True) if best is None else error < least
            best = found if best is None else np.where(better, found, best)
            least = error if least is None else np.minimum(error, least)
        return best


class Values:
    """Which values each weight of a problem may take, and the ways to choose among them.

    Args:
        problem: a `Problem`.
        levels: a `keras_admm.constraints.Set` that has `codes`.
        member: float32 array of the kernel's shape, in the set, whose values these are.
        support: array of booleans, where weights may be other than 0.
    """

    def __init__(self, problem, levels, member, support):
        codes = levels.codes(member)
        tables = codes.values
        longest = max(map(len, tables))
        self._tables = np.stack([np.pad(t.astype("float64"), (0, longest - len(t)), mode="edge") for t in tables])
        row = np.arange(member.shape[-1]) if codes.by_channel else 0
        self._rows = problem.matrices(np.broadcast_to(row, member.shape))
        self._live = problem.matrices(support)
        self._fixed = problem.matrices(_largest(member, codes.by_channel))
        self._member = problem.matrices(member).astype("float64")
        self._gram, self._w = problem.gram, problem.w

    def nearest(self, w):
        """The nearest choice of values for matrices."""
        return np.stack([self._choose(g, slice(None), w[g]) for g in range(len(w))])

    def _choose(self, group, inputs, w):
        table = self._tables[self._rows[group, inputs]]
        near = np.take_along_axis(table, np.abs(table - w[..., None]).argmin(axis=-1)[..., None], axis=-1)[..., 0]
        near = np.where(self._live[group, inputs], near, 0.0)
        return np.where(self._fixed[group, inputs], self._member[group, inputs], near)

    def swept(self, group):
        """Input by input, the error of each made up for by those behind it."""
        w, gram = self._w[group].copy(), self._gram[group]
        factor = np.linalg.cholesky(np.linalg.inv(gram)).T
        for i in range(len(w)):
            near = self._choose(group, i, w[i])
            w[i + 1 :] -= np.outer(factor[i, i + 1 :], (w[i] - near) / factor[i, i])
            w[i] = near
        return w

    def descended(self, start):
        """Each input's weights on their best values, the others as they are, until none changes."""
        z = start.copy()
        for group, gram in enumerate(self._gram):
            slope = gram @ (z[group] - self._w[group])
            for _ in range(PASSES):
                if not self._passed(group, z[group], slope):
                    break
        return z

    def _passed(self, group, z, slope):
        """One pass over the inputs, in place; whether any weight changed."""
        gram, changed = self._gram[group], False
        for i in range(len(z)):
            near = self._choose(group, i, z[i] - slope[i] / gram[i, i])
            if (near != z[i]).any():
                slope += np.outer(gram[:, i], near - z[i])
                z[i], changed = near, True
        return changed

    def error(self, z):
        """`||X Z - X W||^2` over the number of rows."""
        left = z - self._w
        return float(np.sum(left * (self._gram @ left)))


def _largest(member, by_channel):
    """Booleans: the first weight of largest magnitude of each channel, or of all."""
    flat = np.abs(member.reshape(-1, member.shape[-1])) if by_channel else np.abs(member.reshape(-1, 1))
    found = np.zeros(flat.shape, bool)
    np.put_along_axis(found, flat.argmax(axis=0)[None], True, axis=0)
    return found.reshape(member.shape)
