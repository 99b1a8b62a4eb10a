"""What identifies a run for resuming: the same in every process, and nothing else the same."""

import functools

import keras
import numpy as np
import pytest

from keras_admm.constraints import Codebook, Levels, Sparse, Support
from keras_admm.engine.identity import described, differences, unknown


def one(arrays, sparsity):
    return {n: 1 for n in arrays}


def closed(value, start=0):
    def over(arrays, sparsity, *, more=start):
        return value + more

    return over


class Bare(keras.constraints.Constraint):
    def __init__(self, k):
        self.k = k


class Callable:
    def __init__(self, k):
        self.k = k

    def __call__(self, arrays, fraction):
        return self.k

    def method(self, arrays, fraction):
        return self.k


def mutual():
    """Two functions that hold one another."""

    def even(n):
        return n == 0 or odd(n - 1)

    def odd(n):
        return n > 0 and even(n - 1)

    return even


# Each row: things that are all different, though some have one name.
DIFFERENT = {
    "order of a mapping": [{"*": Sparse(0.5), "a": Levels(3)}, {"a": Levels(3), "*": Sparse(0.5)}],
    "lambdas": [lambda a, f: 1, lambda a, f: 2, lambda a, f: a, lambda a, f: a.size, lambda a, f: a.ndim],
    "lambdas in lambdas": [lambda a: [lambda: 1], lambda a: [lambda: 2]],
    "closures": [closed(1), closed(2), closed(1, start=1), closed([1, 2]), closed(Sparse(0.5)), closed(Sparse(0.6))],
    "closures over functions": [closed(lambda: 1), closed(lambda: 2)],
    "closures over arrays": [closed(np.zeros(3)), closed(np.ones(3)), closed(np.zeros(9999)), closed(np.ones(9999))],
    "partials": [functools.partial(one, sparsity=s) for s in (0.5, 0.6)] + [functools.partial(one, 1), one],
    "sets": [closed({1, 2}), closed({1, 3}), closed(frozenset("ab"))],
    "constraints": [Sparse(0.5), Sparse(0.5, "block(1,2)"), Codebook(4), Codebook(5), Support(np.eye(2) > 0)],
    "masks": [Support(np.random.default_rng(seed).random((50, 50)) > 0.5) for seed in (0, 1)],
    "functions": [one, closed, np.sum, np.add, len, max, Sparse, Levels],
}


@pytest.mark.parametrize("row", DIFFERENT)
def test_what_differs_is_told_apart(row):
    descriptions = [described(each) for each in DIFFERENT[row]]
    for i, now in enumerate(descriptions):
        assert not list(differences(now, described(DIFFERENT[row][i])))
        assert not list(unknown(now))
        assert all(list(differences(now, then)) for then in descriptions[:i])


@pytest.mark.parametrize("make", [mutual, lambda: closed(1), lambda: functools.partial(closed(2), 3), lambda: {1: 2}])
def test_what_is_made_again_is_the_same(make):
    assert described(make()) == described(make())


UNKNOWN = [Bare(1), Callable(1), {"*": Bare(1)}, closed(Callable(1)), Callable(1).method, closed(keras.layers.Dense(1))]


@pytest.mark.parametrize("thing", UNKNOWN, ids=range(len(UNKNOWN)))
def test_what_cannot_be_told_apart_is_known(thing):
    (place,) = unknown(described({"constraints": thing}))
    assert place.startswith("constraints") and place.endswith(("(Bare)", "(Callable)", "(Dense)"))


def test_variables_in_mappings_have_the_names_of_every_process():
    names = {"net_1/dense_2/kernel": "net/dense/kernel", "net_1/dense_3/kernel": "net/dense/kernel#2"}
    mapping = {"net_1/dense_3/kernel": 1, "*": 2}
    assert described(mapping, names) == described({"net/dense/kernel#2": 1, "*": 2})


def test_differences_are_said_with_their_place():
    now, then = ({"rho": rho, "sets": described(sets)} for rho, sets in ((1, {"a": 1, "b": 2}), (2, {"b": 2, "a": 1})))
    assert list(differences(now, then)) == [
        "rho: 1 where the state has 2",
        'sets.in order[0]: "a" where the state has "b"',
        'sets.in order[1]: "b" where the state has "a"',
    ]
