"""The methods of `structured.py`: ours, and the usual ways to prune filters and to split kernels."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

import keras_admm as ka

SHARE = 0.5  # of the dense network's MACs that is left


@dataclass(frozen=True)
class Job:
    """One row: a dense network and how it is trained.

    Attributes:
        model: the dense network.
        epochs: int, for everybody.
        fit: function `(model, epochs, *callbacks)` that trains a model and returns it.
        images: array, those that it is trained on.
    """

    model: keras.Model
    epochs: int
    fit: Callable
    images: np.ndarray


def dense(job):
    return job.model


def dense_on(job):
    """The dense network, trained for as long as the others are."""
    return job.fit(job.model, job.epochs)


def admm_channels(job):
    prune = ka.ADMMPrune(structure="channel", budget={"macs": SHARE})
    return ka.shrink(job.fit(job.model, job.epochs, prune))


def admm_adaptive(job):
    """Half the parameters, of channels and of residual blocks."""
    return ka.shrink(job.fit(job.model, job.epochs, ka.ADMMAdaptive({"params": SHARE})))


def admm_low_rank(job):
    """Half the epochs ADMM, half in the factors."""
    model = job.fit(job.model, job.epochs // 2, ka.ADMMLowRank(budget={"macs": SHARE}))
    return job.fit(ka.factorize(model, verbose=0), job.epochs - job.epochs // 2)


def cut_by_outputs(job, correction=1.0, scheme="spatial"):
    """Low rank at once, without training: layers give most nearly what they gave on some images."""
    budget = {"macs": SHARE}
    return ka.factorize(job.model, budget=budget, data=job.images, correction=correction, scheme=scheme, verbose=0)


def cut_by_svd(job, scheme="spatial"):
    """Low rank at once, without training, by one truncated SVD of each kernel of the dense network."""
    return ka.factorize(job.model, budget={"macs": SHARE}, scheme=scheme, verbose=0)


def filters_by_l1(job):
    """The filters of least L1 norm leave each layer, the same share of all, at once; then fine-tuning.

    Reference: Li et al., "Pruning Filters for Efficient ConvNets", arXiv:1608.08710.
    """
    groups = ka.graph.groups.of(job.model)
    norms = np.array([np.abs(_first_kernel(group)).sum() for group in groups])
    return job.fit(_without(job.model, groups, _ranks_by_family(groups, norms)), job.epochs)


def groups_by_l2(job):
    """The groups of least L2 norm, the mean over the kernels that they are in, leave at once; then fine-tuning."""
    groups = ka.graph.groups.of(job.model)
    norms = np.array([np.sqrt(np.mean([np.square(p).sum() for p in _parts(group, "kernel")])) for group in groups])
    return job.fit(_without(job.model, groups, norms), job.epochs)


def network_slimming(job):
    """Half the epochs with L1 on the gammas of batch normalization; the channels of the smallest leave; fine-tuning.

    Reference: Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", arXiv:1708.06519.
    """
    for layer in job.model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.gamma.regularizer = keras.regularizers.L1(1e-4)
    model = job.fit(job.model, job.epochs // 2)
    groups = ka.graph.groups.of(model)
    gammas = np.array([np.mean([np.abs(part).sum() for part in _parts(group, "gamma")]) for group in groups])
    return job.fit(_without(model, groups, gammas), job.epochs - job.epochs // 2)


def _without(model, groups, scores):
    """The smaller network without the groups of least score, as few of them as meet the budget."""
    order, budget = np.argsort(scores, kind="stable"), SHARE * groups.macs()
    last = {group.family: i for i, group in ((i, groups.groups[i]) for i in order)}  # the best of each family stays
    order = [i for i in order if i not in last.values()]
    alive = np.ones(len(groups), bool)

    def macs(count):
        alive[:] = True
        alive[order[:count]] = False
        return groups.macs(alive)

    low, high = 0, len(order)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if macs(middle) <= budget else (middle + 1, high)
    macs(low)
    for group in (group for group, stays in zip(groups, alive, strict=True) if not stays):
        for each in group.of("writes"):
            value = each.variable.numpy().copy()
            np.moveaxis(value, each.axis, 0)[each.indices] = 0
            each.variable.assign(value)
    return ka.shrink(model)


def _ranks_by_family(groups, norms):
    """Each group's place among those of its family, as a share: what leaves then is the same share of each."""
    families = {}
    for i, group in enumerate(groups):
        families.setdefault(group.family, []).append(i)
    ranks = np.empty(len(norms))
    for members in families.values():
        ranks[members] = np.argsort(np.argsort(norms[members], kind="stable")) / len(members)
    return ranks


def _parts(group, name):
    """The values of a group's slices of the variables of a name."""
    return [
        each.variable.numpy().take(each.indices, each.axis) for each in group.of("writes") if each.variable.name == name
    ]


def _first_kernel(group):
    return _parts(group, "kernel")[0]


METHODS = {
    "dense": dense,
    "dense, trained on": dense_on,
    "admm channels": admm_channels,
    "admm adaptive": admm_adaptive,
    "admm low rank": admm_low_rank,
    "low rank by outputs": lambda job: job.fit(cut_by_outputs(job, correction=0.0), job.epochs),
    "low rank by outputs, at once": cut_by_outputs,
    "low rank by outputs, each by itself, at once": lambda job: cut_by_outputs(job, correction=0.0),
    "low rank by outputs, channel": lambda job: job.fit(cut_by_outputs(job, 0.0, "channel"), job.epochs),
    "low rank by outputs, channel, at once": lambda job: cut_by_outputs(job, scheme="channel"),
    "filters by L1": filters_by_l1,
    "groups by L2": groups_by_l2,
    "network slimming": network_slimming,
    "truncated SVD": lambda job: job.fit(cut_by_svd(job), job.epochs),
    "truncated SVD, at once": cut_by_svd,
    "truncated SVD, channel": lambda job: job.fit(cut_by_svd(job, "channel"), job.epochs),
    "truncated SVD, channel, at once": lambda job: cut_by_svd(job, "channel"),
}
