"""Budgets divided by hand."""

import weakref

import numpy as np
import pytest

from keras_admm.allocation import allocate, divide, starved
from keras_admm.constraints.magnitudes import reached_by
from keras_admm.weights import Lazy

ARRAYS = {
    "conv/kernel": np.array([[9.0, 1.0], [2.0, 3.0]]),
    "fc/kernel": np.array([[4.0, -5.0, 0.5], [0.25, 0.125, 8.0]]),
}


@pytest.mark.parametrize(
    "sparsity, how, min_keep, counts",
    [
        (0.5, "global", 0, [2, 3]),  # the five largest: 9 8 5 4 3
        (0.8, "global", 0, [1, 1]),
        (0.9, "global", 0, [1, 0]),
        (0.8, "global", 1, [1, 1]),
        (0.7, "global", 2, [1, 2]),  # impossible for both: see the error below
        (0.0, "global", 0, [4, 6]),
        (0.5, "uniform", 0, [2, 3]),
        (0.9, "uniform", 1, [1, 1]),
        # density in proportion to 4/4 and 5/6: scale 5/9
        (0.5, "erk", 0, [2, 3]),
        (0.1, "erk", 0, [4, 5]),  # the first is full, the other takes the rest
        # scores 9: 1, 3: .1, 2: .043, 1: .01 and 8: 1, 5: .28, 4: .15, .5: .0024, ...
        (0.5, "lamp", 0, [2, 3]),
        (0.6, "lamp", 0, [1, 3]),
        (0.5, {"conv*": 0.0}, 0, [4, 3]),
        (0.5, {"*": 0.25, "fc": 0.9}, 0, [3, 1]),
        (0.5, lambda arrays, s: {"conv/kernel": 3, "fc/kernel": 0}, 0, [3, 0]),
    ],
)
def test_by_hand(sparsity, how, min_keep, counts):
    if (sparsity, min_keep) == (0.7, 2):
        with pytest.raises(ValueError, match="leaves 3 weights, fewer than min_keep=2 for each of 2 tensors. Lower"):
            allocate(ARRAYS, sparsity, how, min_keep)
    else:
        assert list(allocate(ARRAYS, sparsity, how, min_keep).values()) == counts


@pytest.mark.parametrize("how", ["global", "erk", "lamp"])
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 0.77, 0.9, 0.99])
def test_the_budget_is_spent_exactly(how, sparsity):
    rng = np.random.default_rng(0)
    arrays = {str(i): rng.normal(size=shape) for i, shape in enumerate([(3, 3, 4, 8), (50, 20), (7,), (400, 3)])}
    counts = allocate(arrays, sparsity, how, min_keep=1)
    assert sum(counts.values()) == round((1 - sparsity) * sum(a.size for a in arrays.values()))
    assert all(1 <= counts[n] <= a.size for n, a in arrays.items())


@pytest.mark.parametrize("unit", [1e-38, 1e-30, 1e30, 1e38])
@pytest.mark.parametrize("how", ["global", "uniform", "erk", "lamp"])
def test_units_do_not_matter(how, unit):
    arrays = {name: array.astype("float32") / 9 for name, array in ARRAYS.items()}
    counts = allocate(arrays, 0.5, how)
    assert allocate({name: np.float32(unit) * array for name, array in arrays.items()}, 0.5, how) == counts


def test_global_is_one_threshold():
    rng = np.random.default_rng(1)
    arrays = {"a": rng.normal(size=300), "b": 3 * rng.normal(size=200)}
    counts = allocate(arrays, 0.9, "global", min_keep=0)
    joined = np.sort(np.abs(np.concatenate(list(arrays.values()))))[-50]
    assert counts == {n: int((np.abs(a) >= joined).sum()) for n, a in arrays.items()}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_threshold_is_found_by_counting(dtype):
    rng = np.random.default_rng(0)
    parts = [rng.exponential(size=size).astype(dtype) for size in (1, 500, 40)] + [np.array([1, 1, 0, 1e30], dtype)]
    ordered = np.sort(np.concatenate(parts))[::-1]
    for count in (1, 2, 300, ordered.size):
        found = reached_by(lambda: parts, count)
        assert found == ordered[count - 1] and found.dtype == dtype


def test_arrays_may_be_made_at_each_look():
    arrays = {"a": np.array([3.0, -1.0], "float32"), "b": np.array([2.0, 0.5], "float32")}
    sizes, there = dict.fromkeys(arrays, 2), []

    def make(name):
        there.append(weakref.ref(made := arrays[name].copy()))
        assert sum(ref() is not None for ref in there) <= 2
        return made

    assert divide(Lazy(arrays, make), sizes, 0.5, "global", 1) == {"a": 1, "b": 1}
    assert len(there) > 4


def test_ties_go_to_the_earlier_tensor():
    arrays = {"a": np.ones(4), "b": np.ones(4)}
    assert allocate(arrays, 0.25, "global", min_keep=0) == {"a": 4, "b": 2}


def test_a_layer_that_would_die_keeps_its_least():
    arrays = {"small": np.full(10, 1e-3), "large": np.arange(1.0, 91.0)}
    assert allocate(arrays, 0.9, "global", min_keep=0) == {"small": 0, "large": 10}
    assert allocate(arrays, 0.9, "global", min_keep=4) == {"small": 4, "large": 6}


@pytest.mark.parametrize(
    "counts, sizes, min_keep, names",
    [
        ([1, 999], [1000, 9000], 1, ["a"]),  # of 1000, an even share would be 100
        ([1, 999], [990, 9010], 1, []),  # of 990, 99
        ([2, 998], [9000, 1000], 1, []),
        ([2, 99_998], [1_000_000, 9_000], 1, ["a"]),  # no thousandth of it
        ([5, 995], [9000, 1000], 5, ["a"]),
        ([0, 1000], [9000, 1000], 0, []),  # it was allowed to die
    ],
)
def test_starved_by_hand(counts, sizes, min_keep, names):
    assert starved(dict(zip("ab", counts, strict=True)), dict(zip("ab", sizes, strict=True)), min_keep) == names


@pytest.mark.parametrize(
    "how, sentence",
    [
        ("fair", r"must be one of .*Received: allocation='fair'. Use 'global'"),
        ({"conv1*": 0.5}, r"every pattern must fit a name. Received: \['conv1\*'\].*Write"),
        (
            {"conv*": 1.5},
            r"pattern 'conv\*': `sparsity` must be a number in .0, 1., the share of zeros. Received: sparsity=1.5",
        ),
        (lambda arrays, s: {"conv/kernel": 99, "fc/kernel": 1}, "a whole number from 0 to the tensor's size.*Received"),
        (lambda arrays, s: {"conv/kernel": 1}, "a whole number from 0 to the tensor's size.*Received"),
    ],
)
def test_bad_input_gets_a_sentence(how, sentence):
    with pytest.raises(ValueError, match=sentence):
        allocate(ARRAYS, 0.5, how)
