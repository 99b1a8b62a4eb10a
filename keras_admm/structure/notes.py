"""What is dead in a model and stays all the same, said in a warning."""

import collections
import warnings

import keras

from keras_admm.errors import named_few


def tell(model, small, groups, weights, alive, heard):
    """Warns of dead channels that could not leave, and why.

    Args:
        model: the model.
        small: the smaller one.
        groups: its `Groups`.
        weights: its `Weights`.
        alive: array of bools over the groups, which stay.
        heard: array of bools, the groups that are not zero where they are read.
    """
    said = [*_constants(groups, weights, alive, heard), *_fixed(groups, weights, alive)]
    if not said and small.count_params() == model.count_params():
        frozen = f" ({_reasons(groups)})" if groups.frozen else ""
        said = [f"no channel is dead{frozen}: prune whole channels first, with ADMMPrune(structure='channel')"]
    if said:
        warnings.warn(f"shrink: {model.name}: {'; '.join(said)}.", stacklevel=3)


def _constants(groups, weights, alive, heard):
    written, _ = weights.used(alive, least_rank=2)
    stays = alive & heard & ~written
    counts = collections.Counter(group.family for group, each in zip(groups, stays, strict=True) if each)
    if counts:
        yield (
            "channels that are the same for all inputs but not zero stay, since what reads them cannot take that up "
            f"in a bias (it has none, pads with zeros, or is called several times): {_counted(counts)}"
        )


def _fixed(groups, weights, alive):
    """Channels that are zero and never leave; those of the model's outputs are not spoken of."""
    ends = set(keras.tree.flatten(groups.calls.outputs))
    inner = [call for call in groups.calls if ends.isdisjoint(call.outputs)]
    counts = {call.layer.name: weights.fixed_zeros(call, alive) for call in inner}
    if groups.frozen and any(counts.values()):
        zeros = _counted({name: count for name, count in counts.items() if count})
        yield f"channels that are zero stay, of {zeros}, since {_reasons(groups)}"


def _reasons(groups):
    return named_few(f"{name} {reason}" for name, reason in groups.frozen)


def _counted(counts):
    return named_few(f"{count} of {name}" for name, count in counts.items())
