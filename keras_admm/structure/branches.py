"""Residual branches of a model: what of it can leave as a whole, since others carry the signal past it."""

from dataclasses import dataclass

import numpy as np
from keras import tree

from keras_admm.graph.groups import WRITES, living

TINY = 1e-30

# Layers, and operations of the same names, that give what one of their inputs gives where the others are zero.
MERGES = {"Add", "Average", "Concatenate", "Maximum", "Minimum", "Subtract"}


@dataclass(frozen=True, eq=False)
class Branch:
    """What leaves together.

    Attributes:
        groups: array of bools over the model's groups: those within the branch, that nothing else reads.
        variables: dict of `id(variable)` to the variables of its layers.
        ends: array of bools over the groups: those of the stream that it adds to.
    """

    groups: np.ndarray
    variables: dict
    ends: np.ndarray


def branches(groups):
    """The residual branches of a model.

    Args:
        groups: its `graph.groups.Groups`.

    Returns:
        A list of `Branch`es: families of groups without which the outputs still depend on the inputs, those together
        without which the same tensors are zero where branches meet.
    """
    families = {}
    for i, group in enumerate(groups):
        families.setdefault(group.family, np.zeros(len(groups), bool))[i] = True
    by_ends = {}
    for family in families.values():
        silent = _silent(groups, ~family)
        ends = _ends(groups, silent)
        if ends:
            by_ends.setdefault(ends, np.zeros(len(groups), bool))[family] = True
    found = [_branch(groups, inner) for inner in by_ends.values()]
    return [branch for branch in found if branch is not None]


def _silent(groups, alive):
    """The tensors that carry nothing of the inputs when only some groups stay."""
    silent = set()
    for call in groups.calls:
        reads = [x in silent for x in call.reads()]
        merges = type(call.layer).__name__ in MERGES
        cut = bool(reads) and (all(reads) if merges else any(reads))
        for x in call.outputs:
            widths = [width for width in groups.tensors.get(x) or () if width is not None]
            if cut or any(len(width) and not living(width, alive).any() for width in widths):
                silent.add(x)
    return silent


def _ends(groups, silent):
    """The silent tensors that meet others that are not, as a set; None where an output is silent."""
    if not silent.isdisjoint(tree.flatten(groups.calls.outputs)):
        return None
    taken = [call for call in groups.calls if silent.isdisjoint(call.outputs)]
    return frozenset(x for call in taken for x in call.reads() if x in silent)


def _branch(groups, inner):
    """The branch of these groups, None where a layer of it is called outside of it too."""
    silent = _silent(groups, ~inner)
    within = [call for call in groups.calls if call.variables and not silent.isdisjoint(call.outputs)]
    outside = [call for call in groups.calls if call.variables and silent.isdisjoint(call.outputs)]
    if {id(call.layer) for call in within} & {id(call.layer) for call in outside}:
        return None
    variables = {key: variable for call in within for key, variable in call.variables.items()}
    ends = [any(id(each.variable) in variables for each in group.of(WRITES)) for group in groups]
    return Branch(inner, variables, np.array(ends, bool) & ~inner)


class BranchGains:
    """What each branch is worth: as much as so large a share of the channels of the stream that it adds to.

    The stream's energy is the squared norm of the gammas that write it, or of kernels where there are none; a branch
    of the share r of it is worth -log(1 - r) times what the stream's channels are worth.

    Args:
        found: list of `Branch`es.
        energies: dict of `id(variable)` to the squared norm of what it writes of each group, of gammas and kernels.
    """

    def __init__(self, found, energies):
        self._found = found
        self._energies = [_of_stream(branch, energies) for branch in found]

    def __call__(self, alive, gains):
        """The gains of the branches beside the groups that stay, a list, by those of the groups."""
        gone = {key for branch in self._found if not (branch.groups & alive).any() for key in branch.variables}
        found = []
        for branch, energies in zip(self._found, self._energies, strict=True):
            left = {key: each[branch.ends & alive].sum() for key, each in energies.items() if key not in gone}
            own = sum(energy for key, energy in left.items() if key in branch.variables)
            stream = gains[branch.ends & alive & np.isfinite(gains)].sum()
            found.append(-stream * np.log(max(1 - own / max(sum(left.values()), TINY), TINY)))
        return found


def _of_stream(branch, energies):
    """The energies of what writes a branch's stream: of vectors, gammas, where the branch ends in one."""
    writing = {key: (rank, each) for key, (rank, each) in energies.items() if each[branch.ends].any()}
    least = min((rank for key, (rank, _) in writing.items() if key in branch.variables), default=0)
    return {key: each for key, (rank, each) in writing.items() if (rank == 1) == (least == 1)}
