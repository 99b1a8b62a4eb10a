"""The methods of `recipes.py`: ours, gradual magnitude pruning in plain Keras, PQuantML's in layers of its own, TFMOT's
in tf_keras."""

from dataclasses import dataclass

import keras
import numpy as np
from recipe_tasks import Task

import keras_admm as ka

SHARE = 0.75  # of the training steps in which the rivals prune; the rest is retraining (0.5 was worse for them)
MOVES = 100  # training steps between two moves of a rival's masks, TFMOT's default


@dataclass(frozen=True)
class Job:
    """One row: a task at a rate, from its dense weights.

    Attributes:
        task: `Task`.
        rate: int, dense weights per kept weight.
        seed: int, of the order of the images.
        weights: list of arrays, the dense weights.
        train: pair of arrays.
        counts: dict of variable paths to the weights that `ours` kept at this cell, or None where that is not known.
    """

    task: Task
    rate: int
    seed: int
    weights: list
    train: tuple
    counts: dict | None = None

    @property
    def sparsity(self):
        return 1 - 1 / self.rate

    def dense(self):
        model = self.task.network()
        model.set_weights(self.weights)
        return model

    def fit(self, model, *callbacks, library=keras):
        self.task.compiled(model, library)
        batches = self.task.batches(self.train, self.seed)
        if library is not keras:
            batches = sequence(batches)
        model.fit(batches, epochs=self.task.epochs, callbacks=list(callbacks), verbose=0)
        return model

    @property
    def steps(self):
        return self.task.epochs * len(self.task.batches(self.train, self.seed))


def ours(job, **settings):
    return job.fit(job.dense(), ka.ADMMPrune(job.sparsity, **settings))


def geometric(job):
    """ADMM whose Z and U move after each epoch along a geometric path: the best that we had before the default."""
    penalty = ka.penalties.ProximalPenalty(rho=0.01, rho_growth=1.0, penalize_kept=False)
    return ours(job, penalty=penalty, path="geometric", update_every=1, admm_epochs=0.5)


class GradualMagnitude(keras.callbacks.Callback):
    """Gradual magnitude pruning in plain Keras: one threshold over all kernels, cubic, held by masks.

    Args:
        sparsity: float, the share of zeros at the end.
        steps: int, training steps in which it gets there.

    Reference: Zhu and Gupta, "To prune, or not to prune", arXiv:1710.01878.
    """

    def __init__(self, sparsity, steps):
        super().__init__()
        self.sparsity, self.steps = sparsity, steps

    def on_train_begin(self, logs=None):
        self._step, self._kernels, self._masks = 0, list(kernels(self.model).values()), []
        self._move()

    def on_train_batch_end(self, batch, logs=None):
        self._step += 1
        if self._step == self.steps or self._step < self.steps and self._step % MOVES == 0:
            self._move()
        for kernel, mask in zip(self._kernels, self._masks, strict=True):
            kernel.assign(kernel * mask)

    def _move(self):
        sparsity = self.sparsity * (1 - (1 - self._step / self.steps) ** 3)
        arrays = [np.abs(kernel.numpy()) for kernel in self._kernels]
        everything = np.concatenate([array.ravel() for array in arrays])
        pruned = round(sparsity * everything.size)
        threshold = np.partition(everything, pruned)[pruned] if pruned else 0.0
        self._masks = [(array >= threshold).astype("float32") for array in arrays]


def gradual(job):
    return job.fit(job.dense(), GradualMagnitude(job.sparsity, int(SHARE * job.steps)))


def tfmot_uniform(job):
    """TFMOT as its users have it: the same sparsity in every layer."""
    return tfmot(job, {name: job.sparsity for name in layer_counts(kernels(job.dense()))})


def tfmot_erk(job):
    arrays = {path: kernel.numpy() for path, kernel in kernels(job.dense()).items()}
    return tfmot_counts(job, ka.allocate(arrays, job.sparsity, "erk"))


def tfmot_ours(job):
    if job.counts is None:
        raise LookupError("tfmot, our counts: needs the row of ours at this cell. Run --methods ours first.")
    return tfmot_counts(job, job.counts)


def tfmot_counts(job, counts):
    """TFMOT with what each layer keeps told to it: it has one sparsity for a layer, its kernels taken together."""
    kept, sizes = layer_counts(counts), layer_counts({n: k.shape for n, k in kernels(job.dense()).items()})
    return tfmot(job, {name: 1 - kept[name] / sizes[name] for name in sizes})


def tfmot(job, sparsities):
    """TFMOT's polynomial decay from the same dense weights, with a sparsity for each layer."""
    import tensorflow_model_optimization as toolkit
    import tf_keras

    pruning = toolkit.sparsity.keras
    end = max(MOVES, int(SHARE * job.steps) // MOVES * MOVES)  # where it moves: else it stops short of the sparsity

    def wrapped(layer):
        if layer.name not in sparsities:
            return layer
        schedule = pruning.PolynomialDecay(0.0, sparsities[layer.name], 0, end, frequency=MOVES)
        return pruning.prune_low_magnitude(layer, schedule)

    twin = ka.export.to_tf_keras(job.dense())
    model = tf_keras.models.clone_model(twin, clone_function=wrapped)
    job.fit(model, pruning.UpdatePruningStep(), library=tf_keras)
    return job.task.compiled(pruning.strip_pruning(model), tf_keras)


def pquantml(job):
    """PQuantML's pruning by its PDP, whose soft masks follow one sparsity in steps of an epoch; no quantization.

    Its `epsilon`, the share of the sparsity that is reached with each epoch, is set so that all of it is.
    Reference: Cho, Adya and Naik, "PDP: Parameter-free Differentiable Pruning is All You Need", arXiv:2305.11203.
    """
    from pquant import PQConfig, add_compression_layers
    from pquant.core.keras.train import PQuantCallback
    from pquant.core.utils import get_default_config

    config = get_default_config("pdp")
    epochs = max(1, int(SHARE * job.task.epochs))
    config["pruning_parameters"] |= {"sparsity": job.sparsity, "epsilon": 1 / epochs}
    config["quantization_parameters"]["enable_quantization"] = False
    lengths = {"pretraining_epochs": 0, "epochs": epochs, "fine_tuning_epochs": job.task.epochs - epochs}
    config["training_parameters"] |= lengths
    config = PQConfig.load_from_config(config)
    dense = job.dense()
    # As a functional model, for it takes the first layer of a sequential one for the input, and leaves it as it is.
    model = add_compression_layers(keras.Model(dense.inputs, dense.outputs), config)
    model = job.fit(model, PQuantCallback(config, log_ebops=False, log_keep_ratio=False))
    return job.task.compiled(model)


def kernels(model):
    """The variables that are pruned, by everybody: kernels and embeddings, of Keras or tf_keras."""
    return ka.weights.select(model, None, None)


def layer_counts(counts):
    """Numbers of weights of variables, summed by layer."""
    sums = {}
    for path, count in counts.items():
        layer = path.split("/")[-2]
        sums[layer] = sums.get(layer, 0) + (count if isinstance(count, int) else int(np.prod(count)))
    return sums


def sequence(batches):
    """The batches of a PyDataset for tf_keras, in the same order."""
    import tf_keras

    class Batches(tf_keras.utils.Sequence):
        def __len__(self):
            return len(batches)

        def __getitem__(self, index):
            return batches[index]

        def on_epoch_end(self):
            batches.on_epoch_end()

    return Batches()


METHODS = {
    "ours": ours,
    "ours, uniform": lambda job: ours(job, allocation="uniform"),
    "ours, erk": lambda job: ours(job, allocation="erk"),
    "ours, papers' recipe": lambda job: ours(job, recipe="paper"),
    "ours, geometric": geometric,
    "gradual magnitude": gradual,
    "pquantml, pdp": pquantml,
    "tfmot, uniform": tfmot_uniform,
    "tfmot, erk": tfmot_erk,
    "tfmot, our counts": tfmot_ours,
}
