"""What a model costs when only some groups of channels stay, in the units of a budget."""

import numpy as np

CHANNELS = "channels"  # groups, which cost 1 each


def of(groups, unit, alive=None):
    """The exact cost of the model that is left.

    Args:
        groups: `graph.groups.Groups`.
        unit: `"macs"`, `"params"`, `"bytes"` or `"channels"`.
        alive: array of bools over the groups; by default all stay.
    """
    if unit == CHANNELS:
        return len(groups) if alive is None else int(np.count_nonzero(alive))
    return {"macs": groups.macs, "params": groups.parameters, "bytes": groups.bytes}[unit](alive)


def marginal(groups, unit, alive):
    """About what each group adds to that cost, beside those that stay: a float array."""
    return np.ones(len(groups)) if unit == CHANNELS else groups.marginal(alive, unit)
