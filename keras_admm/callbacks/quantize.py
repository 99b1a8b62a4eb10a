"""`ADMMQuantize` and `ADMMCluster`, the callbacks for quantization and weight clustering."""

from collections.abc import Sequence
from typing import Literal, get_args

from keras_admm import checks, hints, penalties
from keras_admm.callbacks.admm import ADMM
from keras_admm.callbacks.arguments import passed_on
from keras_admm.constraints import Binary, Codebook, Levels, PowersOfTwo, Ternary
from keras_admm.plan import Target
from keras_admm.retraining import Retraining

FirstLast = Literal["last", "same", "skip"]


class PlacedTarget(Target):
    """Two sets, for pruned tensors and for others, and a choice of the tensors by their place among all.

    Args:
        dense: the set of a tensor without zeros.
        pruned: the set of one with zeros, which it keeps.
        places: `"all"`; `"inner"`: all but those of the first and the last layer; or `"inner or all"` and `"outer or
            none"`: the same and these, or all in the first step where no layer lies between.
    """

    # Whether a tensor is a pruned one shows when the step begins; later 0 may be one of its levels.
    fixed_at_start = True

    def __init__(self, dense, pruned, places="all"):
        self.dense = dense
        self.pruned = pruned
        self.places = places

    def sets(self, arrays, fraction):
        return {name: self.dense if (arrays[name] != 0).all() else self.pruned for name in self.takes(list(arrays))}

    def takes(self, names):
        layers = [name.rpartition("/")[0] for name in names]
        outer = [name for name, layer in zip(names, layers, strict=True) if layer in (layers[0], layers[-1])]
        inner = [name for name in names if name not in outer]
        if not inner and self.places == "inner":
            raise ValueError(
                f"first_last: there must be a layer between the first and the last. Received: {names}. "
                "Use first_last='same'."
            )
        alone = (names, []) if not inner else (inner, outer)
        return {"all": names, "inner": inner, "inner or all": alone[0], "outer or none": alone[1]}[self.places]

    def decisive(self, fractions):
        return fractions[:1]

    def get_config(self):
        return {"dense": self.dense, "pruned": self.pruned, "places": self.places}


class ADMMQuantize(ADMM):
    """Quantizes weights by ADMM: trains them onto few levels, during `model.fit`.

    Solves `min f(W) subject to W_i in a scale times fixed multiples`: see `keras_admm.ADMM`. ADMM epochs pull the
    weights to their nearest levels; then they are retrained on these, in one of three ways (`retraining`): by default
    straight through the rounding, and in the last quarter of the epochs of retraining no weight changes its level any
    more, while scales, biases and all else train on. After `fit` every compressed weight is on a level of its tensor,
    exactly; a plain `fit` after that moves them off it again. Zeros of an earlier pruning stay zero and take no level;
    activations are untouched.

    The defaults are the same for any number of levels: half the epochs of a step under a `GradientPenalty`, half of
    retraining (`examples/benchmarks/quantization.py`).

    Args:
        bits: int, 1 to 16: 2**bits levels (with zero among them one fewer, as in int8; 1 bit is binary).
        levels: instead of `bits`: `"binary"`, `"ternary"`, or with `bits` `"power_of_two"`.
        scope: `"tensor"`, or `"channel"`: a scale for each output channel.
        fit: how the scale of equal steps is found, `"least_squares"` or `"max"`; see `keras_admm.constraints.Levels`.
        first_last: when the weights of the first and the last layer are quantized: `"same"`, with the others, which
            on LeNet-300-100 is more accurate, at 1 to 4 bits and in 4 to 16 clusters; `"last"`, in a step of their own
            after them, as the authors do (where no layer lies between, all in one step); or `"skip"`, not at all (an
            error where no layer lies between).
        layers, exclude, biases, admm_epochs, retrain_epochs, update_every, penalty, retraining, learning_rate,
            optimizer, backup_dir, state, log_layers, verbose: see `keras_admm.ADMM`.

    Raises:
        ValueError, TypeError: before any training, with what is wrong and what to do.

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(5)])
    >>> model.compile("adam", "mse")
    >>> quantize = ADMMQuantize(bits=2)
    >>> history = model.fit(np.ones((16, 8)), np.ones((16, 5)), epochs=4, verbose=0, callbacks=[quantize])
    >>> len(np.unique(model.layers[0].kernel)) <= 3
    True

    References: Ye et al., "A Unified Framework of DNN Weight Pruning and Weight Clustering/Quantization Using ADMM",
    arXiv:1811.01907; Ye et al., "Progressive DNN Compression", arXiv:1903.09769.
    """

    def __init__(
        self,
        bits: int | None = None,
        *,
        levels: Literal["binary", "ternary", "power_of_two"] | None = None,
        scope: hints.Scope = "tensor",
        fit: hints.ScaleFit = "least_squares",
        first_last: FirstLast = "same",
        layers: hints.Weights = None,
        exclude: hints.Weights = None,
        biases: bool = False,
        admm_epochs: hints.Epochs = None,
        retrain_epochs: int | Sequence[int] | None = None,
        update_every: int | str = 1,
        penalty: str | penalties.Penalty = "gradient",
        retraining: str | Retraining = "straight_through",
        learning_rate: hints.Rates = None,
        optimizer: hints.Optimizers = "auto",
        backup_dir: hints.Path | None = None,
        state: hints.Place = "host",
        log_layers: bool = False,
        verbose: hints.Verbosity = "auto",
    ):
        name = type(self).__name__
        sets = _sets(name, bits, levels, scope, fit)
        targets = placed_targets(name, *sets, first_last)
        super().__init__(targets, **passed_on(ADMM, locals()))


class ADMMCluster(ADMM):
    """Clusters weights by ADMM: trains them into few groups of equal values, during `model.fit`.

    Solves `min f(W) subject to W_i having at most so many values`, whichever: see `keras_admm.ADMM`, and
    `ADMMQuantize`, which differs in that its values are equally spaced. Zeros of an earlier pruning stay zero and are
    one of the clusters, so that 8 clusters are 8 values, and fit 3 bits. A plain `fit` after that moves weights off
    their values again.

    Args:
        clusters: int >= 2, how many values the weights of a tensor have at most, 0 among them where there are zeros.
        scope: `"tensor"`, or `"channel"`: so many values in each output channel, TFMOT's `cluster_per_channel`.
        zero: bool, whether one of the clusters is 0 and stays 0, while weights join and leave it, so that kernels can
            leave out its weights. Files become smaller by pruning first: weights that are only clustered spread over
            the clusters with or without 0. In a pruned tensor, whether more weights may become 0; they are trained on,
            and may leave it.
        first_last: as in `ADMMQuantize`.
        layers, exclude, biases, admm_epochs, retrain_epochs, update_every, penalty, retraining, learning_rate,
            optimizer, backup_dir, state, log_layers, verbose: see `keras_admm.ADMM`.

    Raises:
        ValueError, TypeError: before any training, with what is wrong and what to do.

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(5)])
    >>> model.compile("adam", "mse")
    >>> cluster = ADMMCluster(clusters=4)
    >>> history = model.fit(np.ones((16, 8)), np.ones((16, 5)), epochs=4, verbose=0, callbacks=[cluster])
    >>> len(np.unique(model.layers[0].kernel))
    4

    References: as for `ADMMQuantize`.
    """

    def __init__(
        self,
        clusters: int,
        *,
        scope: hints.Scope = "tensor",
        zero: bool = False,
        first_last: FirstLast = "same",
        layers: hints.Weights = None,
        exclude: hints.Weights = None,
        biases: bool = False,
        admm_epochs: hints.Epochs = None,
        retrain_epochs: int | Sequence[int] | None = None,
        update_every: int | str = 1,
        penalty: str | penalties.Penalty = "gradient",
        retraining: str | Retraining = "straight_through",
        learning_rate: hints.Rates = None,
        optimizer: hints.Optimizers = "auto",
        backup_dir: hints.Path | None = None,
        state: hints.Place = "host",
        log_layers: bool = False,
        verbose: hints.Verbosity = "auto",
    ):
        name = type(self).__name__
        checks.integer(name, "clusters", clusters, 2, 65536, "Pass 16 for four bits a weight.")
        checks.boolean(name, "zero", zero)
        dense = Codebook(clusters, keep_zeros=False, scope=scope, zero=zero)
        pruned = Codebook(clusters if zero else clusters - 1, scope=scope, zero=zero)
        targets = placed_targets(name, dense, pruned, first_last)
        super().__init__(targets, **passed_on(ADMM, locals()))


def placed_targets(name, dense, pruned, first_last):
    """The targets of a quantization: one, or one for the inner weights and one for the first and the last."""
    checks.choice(name, "first_last", first_last, get_args(FirstLast))
    places = {"last": ("inner or all", "outer or none"), "same": ("all",), "skip": ("inner",)}[first_last]
    return [PlacedTarget(dense, pruned, place) for place in places]


def _sets(name, bits, levels, scope, fit):
    """The set of a tensor without zeros, and of a pruned one."""
    checks.choice(name, "levels", levels, (None, "binary", "ternary", "power_of_two"))
    checks.choice(name, "scope", scope, get_args(hints.Scope))
    checks.choice(name, "fit", fit, get_args(hints.ScaleFit))
    if bits is not None or levels in (None, "power_of_two"):
        checks.integer(name, "bits", bits, 1, 6 if levels == "power_of_two" else 16, "Pass 4 for 16 levels.")
    levels = "binary" if levels is None and bits == 1 else levels
    bits_taken = {"binary": (None, 1), "ternary": (None,)}.get(levels, (bits,))
    if bits not in bits_taken or levels is not None and fit != "least_squares":
        raise ValueError(
            f"{name}: levels={levels!r} says which levels there are, on a scale of least squares. Received: "
            f"bits={bits!r}, fit={fit!r} with it. Leave these out, or `levels`."
        )
    if levels == "binary":
        return Binary(scope), Binary(scope, keep_zeros=True)
    if levels == "ternary":
        return Ternary(scope), Ternary(scope, keep_zeros=True)
    if levels == "power_of_two":
        return PowersOfTwo(bits, scope=scope), PowersOfTwo(bits, zero=False, scope=scope)
    return Levels(bits, scope=scope, fit=fit), Levels(bits, zero=False, scope=scope, fit=fit)
