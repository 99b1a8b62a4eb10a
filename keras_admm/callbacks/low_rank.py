"""`ADMMLowRank`, the callback for trained low rank: kernels that two smaller layers can stand for."""

from collections.abc import Sequence

from keras_admm import hints, penalties
from keras_admm.callbacks.admm import ADMM
from keras_admm.callbacks.arguments import passed_on
from keras_admm.penalties import ProximalPenalty
from keras_admm.retraining import Retraining
from keras_admm.structure import LowRankTarget

# What is off the singular vectors that stay is taken away, a little at first; what they span trains freely.
PENALTY = ProximalPenalty(rho=0.03, rho_end=0.3, rescale_dual=False, penalize_kept=False)


class ADMMLowRank(ADMM):
    """Trains the kernels of a model to a low rank by ADMM, during `model.fit`, for `keras_admm.factorize` to split.

    Solves `min f(W) subject to rank(W_i) <= r_i`, each kernel seen as a matrix: see `keras_admm.ADMM`, of which this is
    the form whose sets are `keras_admm.constraints.LowRank`. After `fit` each kernel has exactly its rank, the model is
    as large as it was, and `keras_admm.factorize(model)` returns the smaller one, to be called before any plain `fit`,
    which makes ranks full again. Kernels of layers that do not come
    apart into two (depthwise, recurrent, embeddings) stay as they are, which a warning says.

    Args:
        rank: int >= 1, the rank of every kernel.
        energy: float in `(0, 1]`: the share of the squared singular values of each kernel that stays.
        budget: what the factorized model may cost: a dict of `"macs"`, `"params"` or `"bytes"` to a float in `(0, 1)`,
            the share that is left of what the dense model has, or to an int, the number left. It is met from below, as
            near as single ranks come. Which rank each kernel has for it is chosen anew at each move of Z and U: see
            `keras_admm.LowRankTarget`. Exactly one of these three is given.
        scheme: `"spatial"`: a `k x k` convolution becomes one of `k x 1` and one of `1 x k`; `"channel"`: one to `rank`
            filters and one of `1 x 1`, which loses more for what it costs. Other layers come apart in one way only.
        path: how a budget tightens within a step: see `keras_admm.ADMMPrune`.
        penalty: None is a `ProximalPenalty` whose rho grows from 0.03 to 0.3 on what is off the singular vectors that
            stay alone, so that what these span trains at full speed.
        retrain_epochs: int, epochs behind the projection in which the weights train freely and are projected again at
            the end of each. By default none, for training goes on best in the factors: compile what
            `keras_admm.factorize` returns, and fit it; there every step stays in the set, and is cheaper.
        layers, exclude, biases, admm_epochs, update_every, retraining, learning_rate, optimizer, backup_dir,
            state, log_layers, verbose: see `keras_admm.ADMM`.

    Raises:
        ValueError, TypeError: before any training, with what is wrong and what to do.

    Example:

    >>> import keras, numpy as np
    >>> from keras_admm import factorize
    >>> model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(16), keras.layers.Dense(4)])
    >>> model.compile("adam", "mse")
    >>> low_rank = ADMMLowRank(budget={"macs": 0.5})
    >>> history = model.fit(np.ones((32, 16)), np.ones((32, 4)), epochs=2, verbose=0, callbacks=[low_rank])
    >>> small = factorize(model, verbose=0)
    >>> len(small.layers), small.count_params() < model.count_params()
    (3, True)

    References: Yin et al., "Towards Efficient Tensor Decomposition-Based DNN Model Compression with Optimization
    Framework", arXiv:2107.12422; Xu et al., "TRP: Trained Rank Pruning for Efficient Deep Neural Networks",
    arXiv:2004.14566.
    """

    def __init__(
        self,
        rank: int | None = None,
        *,
        energy: float | None = None,
        budget: hints.Budget | None = None,
        scheme: hints.Scheme = "spatial",
        path: hints.Tightening = "root",
        layers: hints.Weights = None,
        exclude: hints.Weights = None,
        biases: bool = False,
        admm_epochs: hints.Epochs = None,
        retrain_epochs: int | Sequence[int] | None = 0,
        update_every: int | str = "auto",
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
        target = LowRankTarget(rank, energy=energy, budget=budget, scheme=scheme, path=path, name=name)
        penalty = PENALTY if penalty is None else penalty
        super().__init__(target, **passed_on(ADMM, locals()))
