"""A pull on a kernel's part outside of the span of a few singular vectors; inside it the kernel trains freely."""

from dataclasses import dataclass

from keras import ops

from keras_admm.attach.rules import StepRule
from keras_admm.constraints import as_matrix, from_matrix


@dataclass(frozen=True, eq=False)
class OffSubspace(StepRule):
    """The pull of another rule, on the part of a kernel's matrix that is off a subspace alone.

    What is inside of it is of low rank whatever its numbers: it need not be pulled to any, and learns at full speed.

    Args:
        pulled: the `StepRule` of the pull.
        scheme: what the rows and columns of the matrix are; see `constraints.LowRank`.
        size: int, of the matrix's shorter side, in which the subspace is.
    """

    pulled: StepRule
    scheme: object
    size: int

    @property
    def acts_after(self):
        return self.pulled.acts_after

    @property
    def own_variables(self):
        return {"inside": ((self.size, self.size), "float32")}

    def bound(self, state, pull):
        rule = super().bound(state, pull)
        vars(rule)["pulled"] = self.pulled.bound(state, rule._off)
        return rule

    def set_inside(self, projector):
        """Set the subspace, as the matrix that projects on it."""
        self.state.own["inside"].assign(projector)

    def gradient(self, gradient, w, scale):
        return self.pulled.gradient(gradient, w, scale)

    def after_update(self, w):
        return self.pulled.after_update(w)

    def _off(self, w):
        """`rho * (w - target)` without its part in the subspace."""
        matrix, inside = as_matrix(self.state.pull(w), self.scheme), self.state.own["inside"]
        short_columns = matrix.shape[1] <= matrix.shape[0]
        part = ops.matmul(matrix, inside) if short_columns else ops.matmul(inside, matrix)
        return from_matrix(matrix - part, tuple(w.shape), self.scheme)
