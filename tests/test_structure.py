"""Channels of a whole model pruned to a budget: which groups stay, and that they are zero on their way."""

import keras
import numpy as np
import pytest
from structured_models import chain, residual

import keras_admm as ka

X = np.random.default_rng(0).normal(size=(32, 12, 12, 3)).astype("float32")


def pruned(model, **kwargs):
    """The model after two epochs, and the target that it was pruned by."""
    keras.utils.set_random_seed(0)
    model.compile("sgd", "mse")
    callback = ka.ADMMPrune(structure="channel", admm_epochs=1, verbose=0, **kwargs)
    x = X[:, : model.input_shape[1], : model.input_shape[2]]
    model.fit(x, np.zeros((32, 3), "float32"), epochs=2, batch_size=16, verbose=0, callbacks=[callback])
    return callback.engine.plan.steps[0].target


def dead(target):
    """Which groups are zero wherever they are written."""
    slices = [group.of("writes") for group in target.groups]
    return np.array(
        [all(not np.take(np.asarray(s.variable), s.indices, s.axis).any() for s in each) for each in slices]
    )


@pytest.mark.parametrize("make", [chain, residual])
@pytest.mark.parametrize("kind, share", [("macs", 0.5), ("params", 0.4), ("bytes", 0.6)])
def test_a_budget_is_met_and_never_exceeded(make, kind, share):
    target = pruned(make(), budget={kind: share})
    groups = target.groups
    cost = {"macs": groups.macs, "params": groups.parameters, "bytes": groups.bytes}[kind]
    alive, limit = ~dead(target), share * cost()
    assert cost(alive) <= limit
    # And no more would: of these models one channel is up to a tenth.
    assert all(cost(alive | (np.arange(len(alive)) == i)) > limit for i in np.flatnonzero(~alive))


def test_a_share_of_channels():
    target = pruned(residual(), sparsity=0.5)
    assert dead(target).sum() == len(target.groups) / 2
