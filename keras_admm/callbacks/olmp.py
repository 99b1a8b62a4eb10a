"""`OLMP`, the callback that prunes by one number, a loss of accuracy, and searches the sparsity of each layer."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from keras_admm import attach, checks, hints, scoring, search, weights
from keras_admm.callbacks.arguments import check_known, checked_verbosity, verbosity
from keras_admm.callbacks.base import Callback
from keras_admm.callbacks.phase_change import PhaseChange
from keras_admm.callbacks.step_count import StepCount
from keras_admm.engine import SplicedPruning

MASKS = 200
# Where the model is from search to search: points near where the thresholds are say more than points anywhere.
SETTINGS = {search.NCS: {"spread": False, "sigma": 0.03}}


class OLMP(Callback):
    """Prunes a model during `model.fit`, as far as a loss of accuracy allows, with no sparsity to be chosen.

    Optimization based Layer-wise Magnitude-based Pruning. Every `search_every` training steps it solves
    `min (weights left) subject to score >= score of the dense model - delta` over one threshold for each layer,
    `t = max(mu + c * sigma, 0)`, by a search that tries masks on validation data. In between weights go to zero below
    0.9 of the threshold and come back above 1.1 of it, for they train on behind the zero, where they fade by half from
    one search to the next; so what a search has cost is won back before the next. From `stop_at` on the masks are held
    and what is left is trained. A plain `fit` after that fills the zeros again: train `keras_admm.mask(model)`.

    Args:
        delta: float >= 0, how much lower than that of the dense model the score may be right after a search, in the
            units of `metric`: 0.02 are two points of accuracy. Training wins most of it back: more prunes more.
        validation_data: pair `(x, y)` of arrays that are not trained on.
        search_every: int, training steps between two searches; None: a fifteenth of `stop_at`.
        stop_at: int, the training step from which the masks are held; None: half of those of the fit.
        method: `"ncs"`, negatively correlated search; `"cma"`, CMA-ES (extra `search`); or a subclass of
            `keras_admm.search.Search`.
        settings: dict of the method's own; see `keras_admm.search.NCS`, here with `{"spread": False, "sigma": 0.03}`
            where they are not told.
        evaluations: int, how many masks a search looks at; each that it has not seen costs one forward pass.
        batch_size: int, how many of the validation data a search looks at, drawn anew for each search; None: all, in
            one batch.
        metric: `"accuracy"`, or a function `(y_true, y_pred)`, the larger the better.
        seed: int >= 0, of draws and searches.
        layers: what to prune, with its biases; see `keras_admm.ADMM`.
        exclude: what to leave out.
        verbose: `"auto"`, as `fit` has it; 0: nothing is printed; 1: a line for each search, and a
            progress bar for the first.

    Attributes:
        searches: list of dicts, one for each search: `"step"`, `"score"` and `"left"` (of what was found), `"least"`,
            `"scored"` (masks) and `"c"`, a dict by layer.
        counts: dict of variables' names to how many of their weights are left.

    Logs `sparsity`, of the weights and biases that are pruned. `EarlyStopping` and `ModelCheckpoint` count from the
    first epoch that begins after `stop_at`.

    It does not resume: what is behind the zeros, and the searches, are in no file. A fit that was killed is begun anew,
    with the dense model; one that begins at a later epoch (`BackupAndRestore`, `initial_epoch`) is refused.

    Raises:
        ValueError, TypeError: before any training, with what is wrong and what to do.

    Example:

    >>> import keras, numpy as np
    >>> x = np.random.default_rng(0).normal(size=(256, 8)).astype("float32")
    >>> y = (x[:, 0] > 0).astype("int32")
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(2)])
    >>> model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    >>> history = model.fit(x, y, epochs=10, verbose=0)
    >>> prune = OLMP(0.05, validation_data=(x, y), evaluations=50)
    >>> history = model.fit(x, y, epochs=10, verbose=0, callbacks=[prune])
    >>> history.history["sparsity"][-1] > 0.5
    True

    Reference: Li, Qian, Jiang, Lu and Tang, "Optimization based Layer-wise Magnitude-based Pruning for DNN
    Compression", IJCAI 2018; splicing: Guo et al., "Dynamic Network Surgery for Efficient DNNs", arXiv:1608.04493.
    """

    def __init__(
        self,
        delta: float,
        *,
        validation_data: tuple[Any, Any],
        search_every: int | None = None,
        stop_at: int | None = None,
        method: str | type[search.Search] = "ncs",
        settings: Mapping[str, Any] | None = None,
        evaluations: int = MASKS,
        batch_size: int | None = None,
        metric: str | Callable[[Any, Any], Any] = "accuracy",
        seed: int = 0,
        layers: hints.Weights = None,
        exclude: hints.Weights = None,
        verbose: hints.Verbosity = "auto",
    ):
        super().__init__()
        must = "a number >= 0, how much lower than the dense model's the score may be"
        self.delta = checks.number("OLMP", "delta", delta, 0, must, "Pass 0.02 for two points of accuracy.")
        self.validation_data = scoring.checked_pair("OLMP", "validation_data", validation_data)
        self.search_every = None if search_every is None else checks.integer("OLMP", "search_every", search_every)
        self.stop_at = None if stop_at is None else checks.integer("OLMP", "stop_at", stop_at)
        self.method = search.check_method("OLMP", method)
        self.evaluations = checks.integer("OLMP", "evaluations", evaluations)
        self.batch_size = None if batch_size is None else checks.integer("OLMP", "batch_size", batch_size)
        self.metric = scoring.check_metric("OLMP", metric)
        self.seed = checks.integer("OLMP", "seed", seed, 0)
        self.layers = weights.check_choice("OLMP", "layers", layers)
        self.exclude = weights.check_choice("OLMP", "exclude", exclude)
        self.verbose = checked_verbosity("OLMP", verbose)
        self.settings = SETTINGS.get(self.method, {}) | _checked_settings(self.method, settings)
        self.method([0.5, 1.5], (0, 2), self.evaluations, **self.settings)  # raises what is wrong with them
        self.searches, self.counts = [], {}

    def on_train_begin(self, logs=None):
        attach.build(self.model)
        choice = self.layers, self.exclude
        self._run = SplicedPruning("OLMP", self.model, choice, self.metric, self.method, self.settings)
        self._steps, self._failed, self._masked = 0, False, False
        self._every, self._stop = self._schedule()
        self._rng = np.random.default_rng(self.seed)
        self._prints = verbosity(self.verbose, self.params) > 0
        self.searches, self.counts, self._lines = [], {}, []
        callbacks = attach.running_callbacks()
        self._judges = attach.Judges(callbacks.callbacks, lambda: self._masked)
        self._run.attach(self._stop, self._every)
        self._run.release_with(callbacks, self.end)
        callbacks.callbacks += [StepCount(self), PhaseChange(self)]
        attach.tell_of_batches(callbacks)
        self._dense = self._score_of_dense()
        self._search()
        self.end_epoch(0)

    def on_epoch_begin(self, epoch, logs=None):
        if not self._steps and epoch:
            raise ValueError(
                "OLMP: a fit must begin with its first epoch: what was searched and trained behind the zeros is in no "
                f"backup. Received: a fit that begins at epoch {epoch}. Load the dense weights, and fit anew without "
                "BackupAndRestore's folder and without initial_epoch."
            )

    def end_steps(self, count: int) -> None:
        """Count training steps; search where it is time, and hold the masks at last."""
        before, self._steps = self._steps, self._steps + count
        if self._failed or before >= self._stop:
            return
        if self._steps >= self._stop:
            self.model  # noqa: B018, on JAX it puts the weights of the last batch back into the variables
            self._run.hold_masks()
            self._say(f"masks held from step {self._steps:,} on, {self._ratio()}")
        elif before // self._every < self._steps // self._every:
            self.model  # noqa: B018, see above
            try:
                self._search()
            except FloatingPointError as error:
                self._fail(str(error).removeprefix("OLMP: "))

    def on_epoch_end(self, epoch, logs=None):
        logs = {} if logs is None else logs
        if not self._failed and not np.isfinite(logs.get("loss", 0.0)):
            self._fail(f"the loss must stay finite. Received: loss={logs['loss']}. Lower the learning rate.")
        if not self._failed:
            self._run.check()
        logs["sparsity"] = 1 - sum(self._run.left.values()) / self._run.size

    def end_epoch(self, epoch: int) -> None:
        """Say what was found in an epoch, once the progress bar has ended its line."""
        while self._lines:
            print(self._lines.pop(0))

    def change_phase(self, epoch: int) -> None:
        """Enter masked training with the first epoch after the masks are held."""
        if self._steps >= self._stop and not self._masked and not self._failed:
            self._run.enter_masked_training()

    def begin_phase(self) -> None:
        """Let the callbacks that compare epochs begin anew with masked training."""
        if self._steps >= self._stop and not self._masked:
            self._judges.begin_anew()
            self._masked = True

    def end(self) -> None:
        """The end of `fit`, however it comes: what is off is zero."""
        self._judges.release()
        self.model  # noqa: B018, on JAX it puts the weights of the last batch back into the variables
        self.counts = self._run.left
        self._run.finish()
        if 0 < self._steps < self._stop and not self._failed:
            warnings.warn(
                f"OLMP: the masks must be held before training ends, for what they cost to be won back. Received: a "
                f"fit that ended at step {self._steps:,}, before stop_at={self._stop:,}. The model has the masks that "
                "it had then; fit for longer, or give a smaller stop_at.",
                stacklevel=2,
            )

    def _schedule(self):
        """How many steps lie between two searches, and after how many the masks are held."""
        an_epoch = self.params.get("steps")
        if self.stop_at is None and not an_epoch:
            raise ValueError(
                "OLMP: stop_at must be known, the training step from which the masks are held. Received: stop_at=None "
                "for data of which fit does not know how many batches they are. Pass half of them times epochs."
            )
        whole = (an_epoch or 0) * self.params["epochs"]
        stop = max(1, whole // 2) if self.stop_at is None else self.stop_at
        if an_epoch and stop > whole:
            raise ValueError(
                f"OLMP: stop_at must be within the fit, so that what is left is trained on. Received: stop_at={stop:,} "
                f"in a fit of {whole:,} training steps. Fit for more epochs, or stop earlier."
            )
        return max(1, stop // 15) if self.search_every is None else self.search_every, stop

    def _score_of_dense(self):
        dense, empty = self._run.scores(scoring.drawn(self.validation_data, None, 0))
        # Where zeros have no score, such as a correlation with a constant, they are no answer.
        if np.isnan(dense) or empty >= dense - self.delta:
            raise ValueError(
                "OLMP: the dense model must score more on validation_data than one of zeros does, by more than delta, "
                f"or any masks would do. Received: {dense:.4g} and {empty:.4g}, delta={self.delta:.4g}. Train the "
                "model first, pass a smaller delta, or a metric by which a constant answer is worth less."
            )
        return dense

    def _search(self):
        batch = scoring.drawn(self.validation_data, self.batch_size, [self.seed, len(self.searches)])
        batch = keras.tree.map_structure(keras.ops.convert_to_tensor, batch)
        # Within an epoch the progress bar of `fit` has the line.
        shows = self._prints and not self._steps
        bar = keras.utils.Progbar(self.evaluations, unit_name="mask", verbose=1) if shows else None
        least = self._dense - self.delta
        found = self._run.search(batch, least, self._steps, self._rng, self.evaluations, lambda: bar and bar.add(1))
        if bar:
            bar.update(self.evaluations, finalize=True)
        row = {"step": self._steps, "score": found.score, "least": least, "left": found.left, "scored": found.scored}
        self.searches.append({**row, "c": dict(self._run.target.c)})
        self._say_found(found, row)

    def _say_found(self, found, row):
        if found.violation:
            told = f"no masks score {row['least']:.4f}: thresholds stay"
        else:
            told = f"{1 / max(found.left, 1e-9):,.1f}x at a score of {row['score']:.4f} (at least {row['least']:.4f})"
        self._say(f"step {row['step']:,}: {told}, {row['scored']} masks scored")

    def _fail(self, sentence):
        self.model.stop_training = self._failed = True
        warnings.warn(f"OLMP: {sentence} Training stops; the model has the masks of the last search.", stacklevel=3)

    def _ratio(self):
        return f"{self._run.size / max(1, sum(self._run.left.values())):,.1f}x"

    def _say(self, text):
        if self._prints:
            self._lines.append(f"OLMP: {text}")


def _checked_settings(method, settings):
    if not isinstance(settings, Mapping | None):
        must = "a dict of the method's own settings"
        raise TypeError(checks.refused("OLMP", "settings", must, settings, "Pass {'sigma': 0.05}, for example."))
    check_known(method, settings or {})
    return dict(settings or {})
