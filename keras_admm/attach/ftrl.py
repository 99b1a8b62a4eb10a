"""Ftrl, which computes the weights anew at each step from its slot `linear`: this must know of every other change."""

from keras import ops


def is_ftrl(optimizer):
    """Whether an optimizer is an Ftrl, of either library, legacy ones among them."""
    return any(c.__name__ == "Ftrl" for c in type(optimizer).__mro__)


def follow(optimizer, slots, before, after):
    """Have `linear` say `after` where something other than the optimizer made it of `before`.

    Args:
        optimizer: the Ftrl.
        slots: its `accumulator` and `linear` of the variable.
        before: tensor, or None where all weights count as changed.
        after: tensor, the weights.
    """
    accumulator, linear = slots
    own = ops.cast(after, linear.dtype)
    new = -(own * _quadratic(optimizer, accumulator) + ops.sign(own) * _hyper(optimizer, "l1_regularization_strength"))
    linear.assign(new if before is None else ops.where(ops.equal(before, after), ops.convert_to_tensor(linear), new))


def is_renewable(optimizer):
    """Whether its accumulators may begin anew: from 0 they would leave the weights 0 / 0 where a gradient is 0."""
    names = "initial_accumulator_value", "_initial_accumulator_value"
    return not is_ftrl(optimizer) or max(getattr(optimizer, name, 0.0) for name in names) > 0


def _quadratic(optimizer, accumulator):
    """By how much `linear` is divided to give the weights."""
    rate = ops.cast(_rate(optimizer), accumulator.dtype)
    power = -_hyper(optimizer, "learning_rate_power")
    l2 = _hyper(optimizer, "l2_regularization_strength") + _hyper(optimizer, "beta") / (2.0 * rate)
    return ops.power(ops.convert_to_tensor(accumulator), power) / rate + 2 * l2


def _rate(optimizer):
    return optimizer._decayed_lr("float32") if _is_legacy(optimizer) else optimizer.learning_rate


def _hyper(optimizer, name):
    return optimizer._get_hyper(name, "float32") if _is_legacy(optimizer) else getattr(optimizer, name)


def _is_legacy(optimizer):
    return hasattr(optimizer, "_get_hyper")
