"""Patterns and names: the last pattern that fits counts, and whole words of a name."""

import numpy as np
import pytest

from keras_admm import names
from keras_admm.allocation import allocate
from keras_admm.constraints import Sparse
from keras_admm.plan import Step


@pytest.mark.parametrize(
    "pattern, found, expected",
    [
        ("conv*", ["m/conv_1/kernel", "m/dense/kernel"], ["m/conv_1/kernel"]),
        ("*/kernel", ["m/conv/kernel", "m/conv/bias"], ["m/conv/kernel"]),
        ("conv", ["m/conv_1/kernel"], []),
        ("conv[12]", ["m/conv1/kernel", "m/conv3/kernel"], ["m/conv1/kernel"]),
        ("kernel[0]", ["m/kernel0", "m/kernel[0]"], ["m/kernel[0]"]),  # a name with brackets is itself
        ("m/kernel[0]", ["m/kernel0", "m/kernel[0]"], ["m/kernel[0]"]),
        ("kernel[[]*", ["m/kernel0", "m/kernel[0]"], ["m/kernel[0]"]),
    ],
)
def test_a_pattern_fits_a_path_or_a_part_of_it(pattern, found, expected):
    assert names.fitting(pattern, found) == expected
    assert bool(names.idle([pattern], found)) == (not expected)


def test_the_last_pattern_that_fits_counts_everywhere():
    arrays = {"m/a/kernel": np.ones((4, 5), "float32"), "m/b/kernel": np.ones((4, 5), "float32")}
    for patterns, kept in [({"*": 0.5, "a": 0.9}, [2, 10]), ({"a": 0.9, "*": 0.5}, [10, 10])]:
        counts = allocate(arrays, 0.0, patterns)
        sets = Step(target={p: Sparse(s) for p, s in patterns.items()}).target.sets(arrays, 1.0)
        assert list(counts.values()) == kept == [np.count_nonzero(sets[n](w)) for n, w in arrays.items()]


@pytest.mark.parametrize(
    "name, words",
    [
        ("upscale_kernel", ["upscale", "kernel"]),
        ("positionBias2", ["position", "bias"]),
        ("ABTable", ["AB".lower(), "table"]),
        ("w", ["w"]),
        ("W x:0", ["w", "x"]),
    ],
)
def test_words(name, words):
    assert names.words(name) == words
