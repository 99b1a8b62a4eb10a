"""Adafactor, whose second moments of a row and a column without gradients multiply to zero, by which it divides."""

from keras import ops

# Of the mean square of the gradients: what stands in for a square of 0. In float32 the product of two of these over
# a mean is still a number, and no square that counts for anything changes by it.
SHARE = 1e-10
LEAST = 1e-26
# The smallest product that is far enough from where float32 ends.
TINY = 1e-34


def is_factored(optimizer):
    """Whether an optimizer keeps second moments by rows and columns: Adafactor of either library."""
    return any(c.__name__ == "Adafactor" for c in type(optimizer).__mro__) and hasattr(optimizer, "epsilon_1")


def guard(optimizer, undo):
    """Have each step of an Adafactor raise `epsilon_1` where a row and a column have no gradient.

    Held weights make such rows and columns, and so do the units that pruning leaves without an input. Elsewhere
    nothing changes, to the bit.

    Args:
        optimizer: the optimizer, whose `update_step` is wrapped.
        undo: `contextlib.ExitStack` that takes the wrapping away.
    """
    update_step, own = optimizer.update_step, optimizer.epsilon_1

    def guarded(gradient, variable, *args):
        if len(variable.shape) < 2:
            return update_step(gradient, variable, *args)
        gradient = ops.convert_to_tensor(gradient)
        object.__setattr__(optimizer, "epsilon_1", epsilon(gradient, own))
        try:
            return update_step(gradient, variable, *args)
        finally:
            object.__setattr__(optimizer, "epsilon_1", own)

    object.__setattr__(optimizer, "update_step", guarded)
    undo.callback(optimizer.__dict__.pop, "update_step", None)


def epsilon(gradient, own):
    """The `epsilon_1` of one step: the optimizer's own, or more where it would divide by zero."""
    squares = ops.square(ops.cast(gradient, "float32"))
    rows, columns = ops.mean(squares, axis=-1) + own, ops.mean(squares, axis=-2) + own
    smallest = ops.min(rows / ops.mean(rows, axis=-1, keepdims=True)) * ops.min(columns)
    enough = ops.maximum(SHARE * ops.mean(squares), LEAST)
    return ops.cast(ops.where(smallest < TINY, ops.maximum(enough, own), own), gradient.dtype)
