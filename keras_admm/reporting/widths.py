"""How wide each layer of a model is: the channels, units or heads times their size that it gives."""

import math

from keras_admm import weights
from keras_admm.pictures import plain


def widths(model):
    """The width of each kernel of a model, a dict by name: of a layer with one kernel the layer's name.

    Args:
        model: a built `keras.Model`, or a model of tf_keras.
    """
    kernels = weights.choose(model, training=False)
    axes = weights.axes(model, kernels)
    return {
        _shown(name, model): math.prod(variable.shape[axis] for axis in axes[name].outputs + axes[name].groups)
        for name, variable in kernels.items()
    }


def _shown(name, model):
    """A variable's name without the model's, which differs between a model and a smaller one of it."""
    name = name.removeprefix(f"{model.name}/")
    return name.removesuffix("/kernel")


def draw(axes, dense, small):
    """Bars of the widths before, and before them those that are left; of a layer that has left none.

    Args:
        axes: `matplotlib.axes.Axes`.
        dense, small: dicts of `widths`.
    """
    names, left = [plain(name) for name in dense], [small.get(name, 0) for name in dense]
    bars = axes.barh(names, dense.values(), color="0.85", label="before")
    axes.barh(names, left, label="after")
    told = [f"{n} of {all_}" if n else f"gone, of {all_}" for n, all_ in zip(left, dense.values(), strict=True)]
    axes.bar_label(bars, told, padding=3, fontsize="small")
    axes.set_xlabel("channels that a layer gives")
    axes.margins(x=0.15, y=0.01)
    axes.tick_params(axis="y", labelsize="small")
    axes.invert_yaxis()
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize="small")
