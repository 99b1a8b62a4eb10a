"""`ADMMAdaptive`, the callback that prunes channels and residual blocks by gates: widths and depth come out."""

from collections.abc import Sequence

from keras_admm import checks, hints, penalties
from keras_admm.callbacks import recipes
from keras_admm.callbacks.admm import ADMM
from keras_admm.callbacks.arguments import passed_on
from keras_admm.plan import check_budget
from keras_admm.retraining import Retraining
from keras_admm.structure import StructureTarget

STRENGTH = "a number > 0, such as 2.0"


class ADMMAdaptive(ADMM):
    """Prunes channels and whole residual blocks by ADMM, each layer's width and the number of blocks being learned.

    Every coupled group of channels (`graph.groups`) has a gate g >= 0 that scales all that writes it, and every
    residual branch one that scales what it adds: `W = g * V`. It solves `min f(g * V) subject to cost(g) <= budget`,
    the cost of the model without what gates of 0 close. A gate is never a variable of its own: to pull all that writes
    a group to zero by a share is to pull its gate, and to train these weights is to train it with them; so gates are
    folded into the weights at all times, nothing is put into the model and nothing has to be taken out of it. After
    `fit` call `keras_admm.shrink(model)` before any plain `fit`, which fills the zeros again.

    The projection is `argmax_Z prod_i (||Z_i||^2 / ||W_i + U_i||^2) subject to cost(Z) <= budget`, over kernels and
    gammas i, as in `ADMMPrune(structure="channel")`, but for this: a residual branch may leave as a whole. If r is its
    share of the squared norm of what writes the stream (gammas, or kernels where there are none), it is worth
    `-log(1 - r)` times the stream's channels. So one budget decides on channels and blocks alike. After `fit`,
    `keras_admm.shrink(model)` is the model without them.

    Args:
        budget: what is left of the dense model, a dict of one of `"macs"`, `"params"`, `"bytes"` to a float in
            `(0, 1)`, the share, or to an int, how many. It is never exceeded.
        strength: float > 0, in its place: what leaves gains less than this times what a channel of the dense model
            gains on average for its MACs. The cost is then an outcome too: of a network of equal layers 2 leaves about
            half the MACs.
        min_keep: int >= 1, how many channels a layer keeps at least, unless its branch leaves.
        path, recipe: see `keras_admm.ADMMPrune`.
        layers, exclude, biases, admm_epochs, retrain_epochs, update_every, penalty, retraining, learning_rate,
            optimizer, backup_dir, state, log_layers, verbose: see `keras_admm.ADMM`.

    Raises:
        ValueError, TypeError: before any training, with what is wrong and what to do.

    Example:

    >>> import keras, numpy as np
    >>> from keras_admm import shrink
    >>> x = keras.Input((8,))
    >>> y = keras.layers.Dense(8, activation="relu")(x)
    >>> y = keras.layers.Add()([y, keras.layers.Dense(8)(keras.layers.Dense(8, activation="relu")(y))])
    >>> model = keras.Model(x, keras.layers.Dense(2)(y))
    >>> model.compile("adam", "mse")
    >>> adaptive = ADMMAdaptive({"params": 0.5})
    >>> history = model.fit(np.ones((16, 8)), np.ones((16, 2)), epochs=4, verbose=0, callbacks=[adaptive])
    >>> shrink(model).count_params() <= model.count_params() / 2
    True

    References: gates by batch normalization's gammas, Liu et al., "Learning Efficient Convolutional Networks through
    Network Slimming", arXiv:1708.06519; gates of channels and of layers together, He et al., "Gator", arXiv:2205.15404.
    """

    def __init__(
        self,
        budget: hints.Budget | None = None,
        *,
        strength: float | None = None,
        min_keep: int = 1,
        path: hints.Tightening | None = None,
        recipe: recipes.Name = "default",
        layers: hints.Weights = None,
        exclude: hints.Weights = None,
        biases: bool = False,
        admm_epochs: hints.Epochs = None,
        retrain_epochs: int | Sequence[int] | None = None,
        update_every: int | str | None = None,
        penalty: str | penalties.Penalty | None = None,
        retraining: str | Retraining = "straight_through",
        learning_rate: hints.Rates = None,
        optimizer: hints.Optimizers = "auto",
        backup_dir: hints.Path | None = None,
        state: hints.Place = "host",
        log_layers: bool = False,
        verbose: hints.Verbosity = "auto",
    ):
        name = type(self).__name__
        path = recipes.recipe(name, recipe).path if path is None else path
        budget = None if budget is None else check_budget(name, budget)
        strength = None if strength is None else checks.number(name, "strength", strength, 1e-12, STRENGTH)
        if (budget is None) == (strength is None):
            raise ValueError(
                f"{name}: either `budget` or `strength` must be given. Received: {budget=}, {strength=}. Write for "
                "example {'macs': 0.5}."
            )
        target = StructureTarget(budget, strength=strength, min_keep=min_keep, branches=True, path=path, name=name)
        how = recipes.completed(name, recipe, penalty, update_every, admm_epochs, channels=True)
        super().__init__([target], **passed_on(ADMM, locals()) | how)
