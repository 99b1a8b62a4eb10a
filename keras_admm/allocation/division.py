"""Sparsity allocation: one budget of non-zeros for the model -> how many weights each tensor keeps."""

import math
from collections.abc import Callable, Mapping
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from keras_admm import checks
from keras_admm.allocation.measured import MeasuredAllocation
from keras_admm.constraints import check_sparsity, counts_of_largest, reached_by
from keras_admm.names import idle, last_fitting

How = Literal["global", "uniform", "erk", "lamp"]
HOW = get_args(How)
Allocation = How | Mapping[str, float] | Callable[..., Mapping[str, int]] | MeasuredAllocation


def allocate(
    arrays: Mapping[str, ArrayLike], sparsity: float, how: Allocation = "global", min_keep: int = 1
) -> dict[str, int]:
    """Divide what a sparsity leaves over the tensors of a model.

    Args:
        arrays: mapping of names to float arrays, the weights.
        sparsity: float in `[0, 1)`, the share of zeros over all of them.
        how: one of

            - `"global"`: one magnitude threshold over all tensors. The counts of the exact projection on the
              set of models with `round((1 - sparsity) * N)` non-zeros.
            - `"uniform"`: `sparsity` in every tensor, `round((1 - sparsity) * n)` each.
            - `"erk"`: density in proportion to `sum(shape) / prod(shape)` (Evci et al., "Rigging the Lottery",
              arXiv:1911.11134), never above 1.
            - `"lamp"`: one threshold on the layer-adaptive score `w^2 / sum of w'^2 over |w'| >= |w|` (Lee et
              al., "Layer-adaptive Sparsity for the Magnitude-based Pruning", arXiv:2010.07611).
            - a mapping `{name pattern: sparsity}`, with shell wildcards; the last pattern that fits a name or a
              part of it between slashes counts, and names that none fits get `sparsity`.
            - a callable `(arrays, sparsity) -> {name: count to keep}`.
        min_keep: int >= 0, the least number of weights that a tensor keeps, so that no layer dies (or all of it,
            where it has fewer).

    Returns:
        A dict of names to ints. For `"global"`, `"erk"` and `"lamp"` they sum to `round((1 - sparsity) * N)`.

    Raises:
        ValueError: for an unknown `how`, a pattern that fits no name, counts that a tensor cannot hold, or a
            budget below `min_keep` for every tensor.

    Example:

    >>> import numpy as np
    >>> arrays = {"a": np.array([1.0, 2.0, 3.0]), "b": np.array([4.0, 5.0, 0.5])}
    >>> allocate(arrays, 0.5)
    {'a': 1, 'b': 2}
    >>> allocate(arrays, 0.5, {"a": 0.0}, min_keep=0)
    {'a': 3, 'b': 2}
    """
    arrays = _arrays(arrays)
    if isinstance(how, MeasuredAllocation):
        raise TypeError(
            f"allocate: `how` must be what the weights alone tell. Received: how={checks.shown(how)}, which measures a "
            "model. Hand it to ADMMPrune(allocation=...)."
        )
    check_how("allocate", how)
    check_min_keep("allocate", min_keep)
    sparsity = check_sparsity("allocate", sparsity)
    return divide(arrays, {name: array.size for name, array in arrays.items()}, sparsity, how, min_keep)


def divide(arrays, sizes, sparsity, how, min_keep):
    """`allocate` of arguments that are known to be good; the arrays may be made anew at each look at one of them.

    For a `MeasuredAllocation` they are what it has measured.
    """
    least = {name: min(min_keep, size) for name, size in sizes.items()}
    if isinstance(how, Mapping):
        return _each(sizes, _by_pattern(list(sizes), how, sparsity), least)
    if how == "uniform":
        return _each(sizes, dict.fromkeys(sizes, sparsity), least)
    if callable(how):
        return _checked(sizes, how(arrays, sparsity))
    budget = round((1 - sparsity) * sum(sizes.values()))
    if budget < sum(least.values()):
        raise ValueError(
            f"allocate: the budget must hold `min_keep` weights of each tensor. Received: sparsity={sparsity}, which "
            f"leaves {budget} weights, fewer than min_keep={min_keep} for each of {len(sizes)} tensors. Lower the "
            "sparsity or min_keep."
        )
    named = {"global": _by_magnitude, "lamp": _by_lamp, "erk": _by_shape}
    shares = how.shares if isinstance(how, MeasuredAllocation) else named[how]
    return _bounded(arrays, sizes, budget, least, shares)


def _arrays(arrays):
    if not isinstance(arrays, Mapping) or not arrays:
        must = "a mapping of names to arrays, with one at least"
        raise TypeError(checks.refused("allocate", "arrays", must, arrays, "Pass {'kernel': array}."))
    return {name: checks.array("allocate", f"arrays[{name!r}]", array) for name, array in arrays.items()}


def starved(counts, sizes, min_keep):
    """The names of tensors that a budget leaves with next to nothing.

    Small tensors often keep `min_keep` as they may: of 200 weights at 95% an even share is ten. A tensor is starved
    where its even share would be a hundred times as many; and also with somewhat more than `min_keep` where that is not
    a thousandth of it, for two weights of two millions pass on as little as one.

    Args:
        counts: mapping of names to how many each keeps. Those that keep none were allowed to.
        sizes: mapping of names to of how many.
        min_keep: int, the least that `allocate` left to each.

    Example:

    >>> starved({"conv": 1, "head": 999}, {"conv": 9000, "head": 1000}, min_keep=1)
    ['conv']
    """
    density = sum(counts.values()) / sum(sizes.values())
    even = {name: density * size for name, size in sizes.items()}
    return [n for n, kept in counts.items() if 0 < 100 * kept <= even[n] and kept <= max(min_keep, even[n] / 1000)]


def _each(sizes, sparsities, least):
    return {n: max(least[n], round((1 - sparsities[n]) * size)) for n, size in sizes.items()}


def _bounded(arrays, sizes, budget, least, shares):
    """Fix what falls below its bound at the bound, and divide the rest again."""
    counts, free = {}, dict(sizes)
    while True:
        found = shares(arrays, free, budget - sum(counts.values()))
        low = [name for name in free if found[name] < least[name]]
        if not low:
            return {name: counts[name] if name in counts else found[name] for name in sizes}
        for name in low:
            counts[name] = least[name]
            del free[name]


def _by_magnitude(arrays, sizes, budget):
    if isinstance(arrays[next(iter(sizes))], np.ndarray):
        return above_threshold(lambda name: np.abs(arrays[name]).ravel(), arrays, sizes, budget)
    return dict(zip(sizes, counts_of_largest([arrays[name] for name in sizes], budget), strict=True))


def _by_lamp(arrays, sizes, budget):
    scores = {name: _lamp_scores(arrays[name]) for name in sizes}
    return above_threshold(scores.get, scores, sizes, budget)


def _lamp_scores(array):
    # The score falls with the magnitude inside a tensor, so only how many pass matters, not which.
    squares = np.sort(np.square(array.astype("float64")).ravel())[::-1]
    sums = np.cumsum(squares)
    return np.divide(squares, sums, out=np.zeros_like(squares), where=sums > 0)


def above_threshold(scores, arrays, sizes, budget):
    """How many of the `budget` largest scores each tensor holds; between equal ones the earlier tensor's stay.

    Args:
        scores: function of a name that returns a flat array, none of it negative; called anew for each look.
        arrays: mapping of names to arrays of the scores' dtypes.
        sizes: dict of names to ints.
        budget: int.
    """
    if budget <= 0 or budget >= sum(sizes.values()):
        return {name: size if budget > 0 else 0 for name, size in sizes.items()}
    dtype = np.result_type("float32", *(arrays[name].dtype for name in sizes))
    threshold = reached_by(lambda: (scores(name).astype(dtype, copy=False) for name in sizes), budget)
    counts, ties = {}, {}
    for name in sizes:
        own = scores(name)
        counts[name], ties[name] = (int(np.count_nonzero(x)) for x in (own > threshold, own == threshold))
    room = budget - sum(counts.values())
    for name, tied in ties.items():
        taken = min(room, tied)
        counts[name] += taken
        room -= taken
    return counts


def _by_shape(arrays, sizes, budget):
    """Erdos-Renyi-kernel: density in proportion to sum(shape) / prod(shape), full tensors set aside."""
    shares = {name: float(sum(arrays[name].shape)) for name in sizes}
    full = {}
    while True:
        rest = {name: s for name, s in shares.items() if name not in full}
        scale = (budget - sum(full.values())) / max(sum(rest.values()), 1e-12)
        over = {name: sizes[name] for name, s in rest.items() if scale * s > sizes[name]}
        if not over:
            return rounded({**full, **{name: scale * s for name, s in rest.items()}}, budget, sizes)
        full.update(over)


def rounded(shares, budget, sizes):
    """Whole numbers of the same sum, by largest remainder."""
    counts = {name: min(math.floor(s), sizes[name]) for name, s in shares.items()}
    by_remainder = sorted(shares, key=lambda name: counts[name] - shares[name])
    for name in by_remainder * 2:
        if sum(counts.values()) == budget:
            break
        counts[name] += counts[name] < sizes[name]
    return counts


def _by_pattern(names, patterns, otherwise):
    unused = idle(patterns, names)
    if unused:
        raise ValueError(
            f"allocate: every pattern must fit a name. Received: {unused}, which fits none of {names}. "
            "Write a name, a part of it between slashes, or a shell wildcard such as 'conv*'."
        )
    return dict.fromkeys(names, otherwise) | last_fitting(patterns, names)


def _checked(sizes, counts):
    counts = counts if isinstance(counts, Mapping) else {"": counts}
    wrong = [
        n for n, size in sizes.items() if not isinstance(counts.get(n), (int, np.integer)) or not 0 <= counts[n] <= size
    ]
    if wrong or len(counts) != len(sizes):
        raise ValueError(
            "allocate: the callable must return {name: count} with a whole number from 0 to the tensor's size for "
            f"each of {list(sizes)}. Received: {checks.shown(dict(counts))}. Count what stays, not what goes."
        )
    return {name: int(counts[name]) for name in sizes}


def check_how(name, how):
    """Raises ValueError or TypeError for an unknown allocation."""
    if isinstance(how, Mapping):
        for pattern, sparsity in how.items():
            checks.text(name, "allocation", pattern)
            check_sparsity(f"{name}, pattern {pattern!r}", sparsity)
    elif isinstance(how, MeasuredAllocation):
        return
    elif callable(how):
        checks.takes(name, "allocation", how, 2, "a callable of (arrays, sparsity)")
    elif not isinstance(how, str) or how not in HOW:
        must = f"one of {', '.join(map(repr, HOW))}, a mapping of name patterns to sparsities, a callable, or an object"
        raise ValueError(checks.refused(name, "allocation", must, how, "Use 'global' for one threshold over all."))


def check_min_keep(name, min_keep):
    """Returns `min_keep` as an int, or raises ValueError or TypeError."""
    return checks.integer(name, "min_keep", min_keep, 0)
