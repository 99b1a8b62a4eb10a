"""Where groups of channels are in the variables that a run trains: their norms, and masks of those that stay."""

import numpy as np

from keras_admm import graph, weights
from keras_admm.graph.groups import FIXED, READS, WRITES, living

TINY = 1e-30


class Places:
    """The places of a model's groups in its trained variables.

    Args:
        model: built.
        groups: its `graph.groups.Groups`.

    Attributes:
        variables: dict of names to the trained variables that a group writes or reads.
        fixed: array of bools over the groups: those that stay, for nothing writes them, or something that is not
            trained does.
        untrained: list of the names of variables that are not trained and write groups.
    """

    def __init__(self, model, groups):
        self._groups = groups
        self._names = {id(v): name for name, v in weights.named(model).items()}
        trained = {id(v) for v in model.trainable_variables}
        made = {id(v) for layer in graph.every_layer(model) for v in graph.made_trainable(layer)}
        written = [[each.variable for each in group.of(WRITES)] for group in groups]
        # What was not made to be trained follows the channels: a moving mean.
        frozen = [[v for v in each if id(v) in made and id(v) not in trained] for each in written]
        self.fixed = np.array([not all_ or bool(not_) for all_, not_ in zip(written, frozen, strict=True)], bool)
        self.untrained = list(dict.fromkeys(self._names[id(v)] for each in frozen for v in each))
        self.variables, self._written, self._axes, self._state = {}, {}, {}, []
        for group in np.flatnonzero(~self.fixed):
            for each in groups.groups[group].slices:
                self._take(each, id(each.variable) in trained, id(each.variable) in made)

    def _take(self, place, trained, made):
        width = self._groups.widths[id(place.variable), place.axis]
        name = self._names[id(place.variable)]
        if trained and place.role in (READS, WRITES):
            self.variables[name] = place.variable
            self._axes.setdefault(name, {})[place.axis] = width
        if trained and place.role == WRITES:
            self._written.setdefault(name, {})[place.axis] = width
        if place.role == WRITES and not made and all(place.variable is not v for v, _ in self._state):
            self._state.append((place.variable, width))

    def gains(self, arrays):
        """A function of the groups that stay: what each is worth beside them, infinite where it never leaves.

        Args:
            arrays: mapping of names to values.
        """
        energies = Energies(len(self.fixed), [(arrays[n], self._axes[n]) for n in self.variables if self._weighs(n)])
        return lambda alive: np.where(self.fixed, np.inf, energies.gains(alive))

    def written(self, arrays):
        """The squared norm of what each kernel and gamma writes of each group, with its rank, by `id(variable)`."""
        found = {}
        for name, axes in self._written.items():
            if self._weighs(name):
                square = np.square(arrays[name], dtype="float64")
                sums = [
                    np.bincount(
                        width - FIXED,
                        square.sum(axis=tuple(i for i in range(square.ndim) if i != axis)),
                        len(self.fixed) + 1,
                    )
                    for axis, width in axes.items()
                ]
                found[id(self.variables[name])] = square.ndim, sum(sums)[1:]
        return found

    def zeroed(self, branch):
        """Whether a branch is zero where its trained variables are: nothing in it is frozen, or a moving mean alone."""
        own = {id(v) for v in self.variables.values()}
        state = {id(v) for v, _ in self._state}
        return not self.fixed[branch.groups].any() and all(
            id(v) in own or id(v) not in state and not v.trainable for v in branch.variables.values()
        )

    def _weighs(self, name):
        """A channel's beta says nothing of how much it matters; what stands in for its scale does."""
        shape = self.variables[name].shape
        return len(shape) > 1 or name.rpartition("/")[2] == "gamma"

    def mask(self, name, alive):
        """Where a variable may be other than zero when only some groups stay."""
        shape = tuple(self.variables[name].shape)
        mask = np.ones(shape, bool)
        for axis, width in self._axes[name].items():
            mask &= living(width, alive).reshape([-1 if i == axis else 1 for i in range(len(shape))])
        return mask

    def alive(self, masks):
        """Which groups stay by the masks, or values, of what writes them."""
        alive = self.fixed.copy()
        for name, axes in self._written.items():
            for axis, width in axes.items():
                some = masks[name].any(axis=tuple(i for i in range(masks[name].ndim) if i != axis))
                alive[width[some & (width >= 0)]] = True
        return alive

    def settle(self, masks):
        """Set the moving statistics to zero that would make other channels than zero of those that leave."""
        alive = self.alive(masks)
        for variable, width in self._state:
            weights.write(variable, np.where(living(width, alive), weights.read(variable), 0))


class Energies:
    """How the squared norm of each variable is spread over groups.

    Args:
        count: int, of groups.
        arrays: list of pairs of an array and a dict of axes to the groups along them.
    """

    def __init__(self, count, arrays):
        self._count = count
        self._each = []
        for array, axes in arrays:
            places = tuple(i for i in range(array.ndim) if i not in axes)
            self._each.append((np.square(array, dtype="float64").sum(axis=places), [axes[i] for i in sorted(axes)]))

    def gains(self, alive):
        """By what share each group adds to the squared norm of each variable that stays, summed over the variables."""
        gains = np.zeros(self._count + 1)
        for energy, widths in self._each:
            stays = [living(width, alive).astype(float) for width in widths]
            for axis, width in enumerate(widths):
                sums = energy
                for other in reversed(range(len(widths))):
                    sums = sums if other == axis else np.tensordot(sums, stays[other], axes=(other, 0))
                gains += np.bincount(width - FIXED, sums / max(sums @ stays[axis], TINY), self._count + 1)
        return gains[1:]
