"""`ADMMPrune`, the callback for weight pruning: ADMM on sparse sets."""

from keras_admm.callbacks.admm import ADMM
from keras_admm.plan import pruning_targets


class ADMMPrune(ADMM):
    """Prunes a model by ADMM to an exact sparsity, during `model.fit`.

    Solves `min f(W) subject to card(W) <= (1 - sparsity) * N`: see `keras_admm.ADMM`, of which this is the form
    whose sets are sparse. After `fit` the compressed weights have exactly `round((1 - sparsity) * N)` non-zeros.

    Args:
        sparsity: float in `[0, 1)`, the share of zeros; a list of ascending ones runs progressive steps, each
            starting from the last: `[0.9, 0.97, 0.99]`.
        allocation: how the budget is divided over the tensors at every update: `"global"` (one threshold over the
            model), `"uniform"`, `"erk"`, `"lamp"`, a mapping of name patterns to sparsities (others get
            `sparsity`), or a callable; see `keras_admm.allocate`.
        structure: what is zeroed as one; `"element"`: each weight by itself; `"block(h,w)"`: blocks of `h` outputs by
            `w` inputs, counted and allocated as blocks: exactly that share of the blocks is zero, partial ones at the
            ends of a kernel among them. See `keras_admm.constraints.Sparse`.
        min_keep: int, the least number of weights (of blocks) that a tensor keeps.
        path: how the target tightens within a step. `None`: the step's sparsity from the start. `"geometric"`: the
            kept count falls by a constant factor at every update, best for extreme sparsities. `"cubic"`: TFMOT's
            polynomial decay.
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
        sparsity,
        *,
        allocation="global",
        structure="element",
        min_keep=1,
        path=None,
        admm_epochs=None,
        retrain_epochs=None,
        **kwargs,
    ):
        targets = pruning_targets(
            type(self).__name__,
            sparsity,
            allocation=allocation,
            structure=structure,
            min_keep=min_keep,
            path=path,
        )
        super().__init__(targets, admm_epochs=admm_epochs, retrain_epochs=retrain_epochs, **kwargs)
