"""The state of an optimizer as it was when it was new, made for a few weights at a time: it is as large as they are."""

import math

from keras import ops


def renew(optimizer, trained, own, lasting, new_for):
    """Give an optimizer the state of a new one.

    Args:
        optimizer: an optimizer of Keras or tf_keras.
        trained: list of the variables that it was built for, in that order.
        own: list of its own variables.
        lasting: tuple of those that stay as they are.
        new_for: function of some of `trained` that returns a new optimizer built for them, and its own variables.
    """
    changing = {id(v) for v in own} - {id(v) for v in lasting}
    slots = _slots(optimizer, len(trained), new_for(trained[:1])[0], changing)
    if changing - {id(v) for each in slots.values() for v in each}:  # something is of no weight of its own
        take_state(own, new_for(trained)[1], lasting)
        return
    for part in _parts(trained) if slots else ():
        new, _ = new_for([trained[i] for i in part])
        for name, each in slots.items():
            take_state([each[i] for i in part], getattr(new, name))


def take_state(variables, others, but=()):
    """Assign to each variable the value of its fellow among the others, but to a few."""
    lasting = {id(v) for v in (None, *but)}
    for variable, other in zip(variables, others, strict=True):
        if id(variable) not in lasting:
            variable.assign(ops.copy(ops.convert_to_tensor(other)))


def _slots(optimizer, count, of_one, changing):
    """The attributes of an optimizer with an entry for each of its weights, as the one that is built `of_one` has one.

    An entry is a variable of its own, or None. Returns a dict of the lists by name.
    """
    lists = {name: each for name, each in vars(optimizer).items() if isinstance(each, list) and len(each) == count}
    single = {name for name, each in vars(of_one).items() if isinstance(each, list) and len(each) == 1}
    own = {id(None), *changing}
    return {name: each for name, each in lists.items() if name in single and {id(v) for v in each} <= own}


def _parts(trained):
    """Lists of indices of weights, which together are not larger than the largest one."""
    sizes = [math.prod(v.shape) for v in trained]
    parts, room = [], -1
    for i, size in enumerate(sizes):
        if size > room:
            parts.append([])
            room = max(sizes)
        parts[-1].append(i)
        room -= size
    return parts
