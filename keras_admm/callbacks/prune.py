"""`ADMMPrune`, the callback for weight pruning: ADMM on sparse sets."""

from keras_admm import checks
from keras_admm.callbacks import recipes
from keras_admm.callbacks.admm import ADMM
from keras_admm.constraints import says_sparsity
from keras_admm.plan import check_budget, pruning_targets
from keras_admm.structure import structure_targets


class ADMMPrune(ADMM):
    """Prunes a model by ADMM to an exact sparsity, during `model.fit`.

    Solves `min f(W) subject to card(W) <= (1 - sparsity) * N`: see `keras_admm.ADMM`, of which this is the form
    whose sets are sparse. After `fit` the compressed weights have exactly `round((1 - sparsity) * N)` non-zeros.

    Args:
        sparsity: float in `[0, 1)`, the share of zeros; a list of ascending ones runs progressive steps, each
            starting from the last: `[0.9, 0.97, 0.99]`. None, and only then, where `structure` or `budget` says it.
        budget: with `structure="channel"`, in the place of `sparsity`: what is left of the dense model, a dict of one
            of `"macs"`, `"params"`, `"bytes"` to a float in `(0, 1)`, the share, or to an int, how many. It is met
            within 1% where single channels are that small, and never exceeded.
        allocation: how the budget is divided over the tensors at every update: `"global"` (one threshold over the
            model), `"uniform"`, `"erk"`, `"lamp"`, a mapping of name patterns to sparsities (others get
            `sparsity`), or a callable; see `keras_admm.allocate`. By default `"global"`; `"uniform"` for filters, rows
            and columns, which are of another size in each kernel, so that their norms say little of one another.
        structure: what is zeroed as one, in every kernel by itself: `"element"`, `"filter"`, `"row"`, `"column"`,
            `"block(h,w)"`, `"m:n"`, `"pattern"`, or a `keras_admm.constraints.Pattern`; see
            `keras_admm.constraints.Sparse`. Which axes are of inputs and of outputs is told by each layer's kind.
            Filters, rows, columns, blocks and 3x3 slices are counted and allocated as such: exactly that share of them
            is zero, partial blocks at the ends of a kernel among them. `"2:4"` says its sparsity itself. Kernels that a
            structure does not fit (a first convolution of 3 channels with `"2:4"`; with filters and rows also what
            writes the model's outputs) stay as they are, with a warning (`callback.engine.left_out` and, of the model
            alone, `report(model, structure=...)` name them too); they are an error where `layers` named them, or none
            fits. A filter that is zero leaves its bias.
            `"channel"`: channels of the whole model, with all that writes them (`graph.groups`): those that residual
            connections, concatenations and the like tie together are zeroed as one, biases and batch normalization with
            them, so that they can leave it. `sparsity` is then the share of these groups.
        min_keep: int, the least number of weights (of blocks) that a tensor keeps.
        path: how the target tightens within a step. `"constant"`: the step's sparsity from the start. `"geometric"`:
            the kept count falls by a constant factor. `"root"`: nothing in the first tenth, then the same with the
            fourth root of the time: most weights leave at once, the last ones slowly. `"cubic"`: TFMOT's polynomial
            decay. None: by the recipe.
        recipe: what is taken for `path`, `penalty`, `update_every` and `admm_epochs` where they are None. Beside a
            penalty of your own whose rho grows with each move of Z and U (`rho_growth`), these move once an epoch.

            - `"default"`, the best that we know from 5x to 300x (`examples/benchmarks/recipes.py`): `"root"`; a
              `ProximalPenalty` whose rho grows from 0.03 to 0.3 and which leaves the kept weights free, so that the
              loss alone moves them, while the others are pulled to zero, from where the loss may pull them back; Z and
              U move every 100 training steps, or as often as makes 40 moves; three quarters of a step's epochs are
              ADMM's, a third where channels leave. Nothing depends on the optimizer, its learning rate or the scale of
              the weights, for the pull is a share of the way to zero.
            - `"paper"`, as the authors have it (arXiv:1804.03294): the whole sparsity from the start; a
              `GradientPenalty` of rho 1e-3 that grows by 1.3 with each move, one an epoch; half the epochs.
        **kwargs: all arguments of `keras_admm.ADMM` but its `constraints`.

    Raises:
        ValueError, TypeError: before any training, with what is wrong and what to do.

    Example:

    >>> import keras, numpy as np
    >>> from keras_admm import report as ka_report
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(5), keras.layers.Dense(2)])
    >>> model.compile("adam", "mse")
    >>> prune = ADMMPrune(sparsity=0.9)
    >>> history = model.fit(np.ones((16, 8)), np.ones((16, 2)), epochs=4, verbose=0, callbacks=[prune])
    >>> print(ka_report(model).total.kept, round(history.history["sparsity"][-1], 3))
    5 0.9
    """

    def __init__(
        self,
        sparsity=None,
        *,
        budget=None,
        allocation=None,
        structure="element",
        min_keep=1,
        path=None,
        recipe="default",
        admm_epochs=None,
        retrain_epochs=None,
        update_every=None,
        penalty=None,
        **kwargs,
    ):
        name = type(self).__name__
        how = {"allocation": allocation, "structure": structure, "min_keep": min_keep, "path": path}
        targets = _targets(name, sparsity, budget, how, recipes.recipe(name, recipe).path)
        channels = isinstance(structure, str) and structure == "channel"
        how = recipes.completed(name, recipe, penalty, update_every, admm_epochs, channels)
        super().__init__(targets, retrain_epochs=retrain_epochs, **how, **kwargs)


def _targets(name, sparsity, budget, how, path):
    """What a run aims at: channels of the whole model, or what is zeroed in each kernel by itself.

    Args:
        name: str, name used in error messages.
        sparsity, budget: see `ADMMPrune`.
        how: dict of its `allocation`, `structure`, `min_keep` and `path`.
        path: the recipe's, for a `path` of None.
    """
    structure, allocation = how["structure"], how["allocation"]
    if isinstance(structure, str) and structure == "channel":
        if allocation is not None:
            must = "left out with structure='channel', where channels of all layers are ranked together"
            raise ValueError(checks.refused(name, "allocation", must, allocation, "Leave some out with exclude=."))
        path = path if how["path"] is None else how["path"]
        return structure_targets(name, sparsity, budget, min_keep=how["min_keep"], path=path)
    if budget is not None:
        check_budget(name, budget)
        raise ValueError(
            f"{name}: `budget` must go with structure='channel': channels really leave a model. Received: {budget=}, "
            f"structure={checks.shown(structure)}. Add structure='channel'; or give a sparsity."
        )
    path = "constant" if says_sparsity(name, sparsity, structure) else path
    return pruning_targets(name, sparsity, **{**how, "path": path if how["path"] is None else how["path"]})
