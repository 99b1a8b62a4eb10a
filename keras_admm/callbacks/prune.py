"""`ADMMPrune`, the callback for weight pruning: ADMM on sparse sets."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from keras_admm import attach, hints, penalties
from keras_admm.allocation import Allocation
from keras_admm.callbacks import recipes, tolerance
from keras_admm.callbacks.admm import ADMM
from keras_admm.callbacks.aims import targets_of
from keras_admm.callbacks.arguments import passed_on
from keras_admm.constraints import Pattern
from keras_admm.plan import Ladder, LadderTarget
from keras_admm.retraining import Retraining


class ADMMPrune(ADMM):
    """Prunes a model by ADMM to an exact sparsity, during `model.fit`.

    Solves `min f(W) subject to card(W) <= (1 - sparsity) * N`: see `keras_admm.ADMM`, of which this is the form
    whose sets are sparse. After `fit` the compressed weights have exactly `round((1 - sparsity) * N)` non-zeros. A
    plain `fit` after that fills the zeros again: train `keras_admm.mask(model)`, which keeps them.

    Args:
        sparsity: float in `[0, 1)`, the share of zeros; a list of ascending ones runs progressive steps, each
            starting from the last: `[0.9, 0.97, 0.99]`. None, and only then, where
            `structure`, `budget` or `max_accuracy_drop` gives the target.
        budget: in the place of `sparsity`: what is left of the dense model, a dict of one unit to a float in `(0, 1)`,
            the share, or to an int, how many. It is never exceeded. With `structure="channel"` the unit is one of
            `"macs"`, `"params"`, `"bytes"`, and met within 1% where single channels are that small. Else it is
            `"params"`, the trained weights that stay, kept ones and those that are not pruned; or `"bytes"`, the whole
            file that `keras_admm.save` writes: which sparsity that is, is estimated at each move of Z and U from the
            entropy of positions and values, and measured by packing at the projection and at the end.
        max_accuracy_drop: float >= 0, in the place of `sparsity`: by how much `monitor` may be worse than the dense
            model's, which is evaluated on the validation data of `fit` before the first step. Progressive steps go on
            until that is broken, each of ADMM and retraining: the first keeps a quarter of the weights, each one after
            it a quarter of what held; once a step has broken it, the next is half way (the geometric mean of what is
            kept) between the sparsest that held and the least sparse that did not, from the weights of the one that
            held. A step holds if one of its epochs of retraining does, and the best of these counts. At the end the
            model is the sparsest that held, its zeros exact. The epochs of `fit` are divided evenly over eight steps,
            or over as many as have six epochs each, two thirds of them of ADMM; where `admm_epochs` and
            `retrain_epochs` are both given, over as many as they make. `steps` is the table: a list of dicts of
            `"sparsity"`, the monitor, `"drop"` and `"held"`. A killed fit cannot be resumed: `backup_dir` is refused.
            Save the model after `fit`, for what others save in between need not hold.
        monitor: a metric of the validation data, by default `"val_accuracy"`; `max_accuracy_drop` is in its units.
        mode: `"min"`, `"max"`, or `"auto"`, as of `keras.callbacks.EarlyStopping`: whether smaller is better.
        start: float in `[0, 1)`, the sparsity that the model has as training begins, of a fit before this one: `path`
            begins there, and what is zero stays zero, as it does from step to step of a list of sparsities.
        allocation: how the budget is divided over the tensors at every update: `"global"` (one threshold over the
            model), `"uniform"`, `"erk"`, `"lamp"`, a mapping of name patterns to sparsities (others get
            `sparsity`), a callable (see `keras_admm.allocate`), or an object that measures the model as the run begins:
            `keras_admm.allocation.OWL`, `Saliency`. By default `"global"`; `"uniform"` for filters, rows
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
        layers, exclude, biases, admm_epochs, retrain_epochs, update_every, penalty, retraining, learning_rate,
            optimizer, backup_dir, state, log_layers, verbose: see `keras_admm.ADMM`.

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
        sparsity: float | Sequence[float] | None = None,
        *,
        budget: hints.Budget | None = None,
        max_accuracy_drop: float | None = None,
        monitor: str | None = None,
        mode: Literal["auto", "min", "max"] | None = None,
        start: float = 0.0,
        allocation: Allocation | None = None,
        structure: str | Pattern = "element",
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
        epochs = {"retrain_epochs": retrain_epochs, "backup_dir": backup_dir}
        self.tolerance = tolerance.checked(name, max_accuracy_drop, monitor, mode, epochs)
        self.resumable = self.tolerance is None
        how = {"allocation": allocation, "structure": structure, "min_keep": min_keep}
        how["path"] = recipes.recipe(name, recipe).path if path is None else path
        given = {"sparsity": sparsity, "budget": budget, "max_accuracy_drop": max_accuracy_drop}
        targets = targets_of(name, given, how, path, start)
        share = tolerance.ADMM if self.tolerance is not None and admm_epochs is None else admm_epochs
        channels = isinstance(structure, str) and structure == "channel"
        by_recipe = recipes.completed(name, recipe, penalty, update_every, share, channels)
        super().__init__(targets, **passed_on(ADMM, locals()) | by_recipe)
        self.steps, self._judged = [], None

    def on_train_begin(self, logs=None):
        if self.tolerance is not None:
            self._begin_steps()
        super().on_train_begin(logs)

    def _begin_steps(self):
        """As many steps as the epochs allow, which share what is tried next."""
        (step, *_), ladder = self.plan.steps, Ladder()
        count = tolerance.steps_in(self.params["epochs"], step.admm_epochs, step.retrain_epochs)
        target = LadderTarget(ladder, step.target.pruning, type(self).__name__)
        self.plan = replace(self.plan, steps=(replace(step, target=target, keep_pruned=False),) * count)
        attach.build(self.model)
        self._judged = tolerance.Judged(type(self).__name__, self.model, self.tolerance, ladder, count)
        self.steps = self._judged.rows

    def on_epoch_end(self, epoch, logs=None):
        info, logs = self.engine.epoch_info, {} if logs is None else logs
        super().on_epoch_end(epoch, logs)
        if self._judged and not self._failed and info.phase == "retrain":
            self._judged.look(logs, info)

    def change_phase(self, epoch):
        if self._judged and not self._failed:
            self._judged.decide(self._prints, self.engine.done)
        super().change_phase(epoch)

    def end(self):
        super().end()
        if self._judged:
            self._judged.close()
            self._judged.tell(self._prints)

    def _stop_early(self, received):
        if self._judged is None:
            super()._stop_early(received)
            return
        self.engine.release()
        self._judged.close()
        self._messages.back_at_last_that_held(received)

    def _stop(self, error):
        if self._judged is None:
            super()._stop(error)
            return
        self.model.stop_training = self._failed = True
        self._messages.back_at_last_that_held(str(error))
