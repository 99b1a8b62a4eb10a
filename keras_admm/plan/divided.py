"""`DividedTarget`: a target that finds how many weights stay in the model, which a `PruningTarget` then divides."""

from keras_admm.plan.target import Target


class DividedTarget(Target):
    """A target whose sparsity is found as training goes on; abstract.

    Args:
        pruning: `plan.PruningTarget` of any sparsity, which divides what is left over the tensors.
        name: str, name used in error messages.
    """

    def __init__(self, pruning, name):
        self.pruning = pruning
        self.name = name

    def of(self, model, variables, layers=None, exclude=None):
        told = super().of(model, variables, layers, exclude)
        told.pruning = self.pruning.of(model, variables, layers, exclude)
        told.wants, told.axes, told.misfits = told.pruning.wants, told.pruning.axes, told.pruning.misfits
        return told

    def at(self, arrays, sparsity):
        """The sets of a sparsity where a step ends, each along its kernel's axes."""
        sets = self.pruning.at(arrays, sparsity, 1.0)
        return {name: each.along(self.axes[name]) if name in self.axes else each for name, each in sets.items()}

    def state(self):
        return self.pruning.state()

    def load(self, state):
        self.pruning.load(state)

    def check(self, name, shape):
        self.pruning.check(name, shape)

    def takes(self, names):
        return self.pruning.takes(names)

    def decisive(self, fractions):
        return self.pruning.decisive(fractions)

    def starved(self, sets, arrays):
        return self.pruning.starved(sets, arrays)

    @property
    def allocation(self):
        return self.pruning.allocation

    @property
    def min_keep(self):
        return self.pruning.min_keep
