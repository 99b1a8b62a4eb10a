"""Global magnitude pruning of shards: that of all of them as one array, for any sizes and ties."""

import numpy as np
import pytest

from keras_admm.constraints import Sparse
from keras_admm.selection import keep_largest

RNG = np.random.default_rng(0)
# Shards; many equal magnitudes in the last ones.
SHARDS = {
    "drawn": [RNG.normal(size=(7, 5)), RNG.normal(size=(300,)), RNG.normal(size=(2, 2, 9))],
    "an empty one": [RNG.normal(size=(0, 4)), RNG.normal(size=(11,))],
    "large": [RNG.normal(size=(1 << 18) + 3), RNG.normal(size=9)],
    "tied": [RNG.integers(-2, 3, (6, 4)), RNG.integers(-2, 3, 50), RNG.integers(-2, 3, 9)],
    "zeros": [np.zeros(4), np.ones(3)],
}


@pytest.mark.parametrize("case", SHARDS)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_as_of_all_shards_in_one(case, share):
    shards = [np.asarray(shard, "float32") for shard in SHARDS[case]]
    whole = np.concatenate([shard.reshape(-1) for shard in shards])
    count = round(share * whole.size)
    found = list(keep_largest(lambda: iter(shards), count))
    assert [each.shape for each in found] == [shard.shape for shard in shards]
    expected = Sparse(1 - count / whole.size)(whole) if count else np.zeros_like(whole)
    np.testing.assert_array_equal(np.concatenate([each.reshape(-1) for each in found]), expected)


@pytest.mark.parametrize("shards", [[np.zeros(3)], [[1.0]], [np.float32([np.nan])]])
def test_shards_that_are_none_are_refused(shards):
    with pytest.raises((TypeError, ValueError), match="Received"):
        list(keep_largest(lambda: shards, 1))


def test_ties_are_kept_in_any_order_of_memory():
    ones = np.ones((4, 6), "float32")
    kept = [*keep_largest(lambda: [ones.T, np.asfortranarray(ones), ones[:, ::2]], 30)]
    assert [np.count_nonzero(each) for each in kept] == [24, 6, 0] and kept[0][:, 0].all()
