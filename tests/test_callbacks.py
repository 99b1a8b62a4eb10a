"""ADMMPrune in a fit: every kind of model, the phases, the neighbours in the list, bad input."""

import contextlib
import csv
import os
import re
import warnings

import keras
import numpy as np
import pytest
from cases import EAGERLY, rows, some
from keras import ops
from models import KINDS

import keras_admm as ka
from keras_admm import weights
from keras_admm.progress import Progress

pytestmark = pytest.mark.every_backend

BACKEND = keras.backend.backend()

PULL = ka.penalties.GradientPenalty(rho=0.1)


def dense_model(optimizer="adam", units=(10, 6), **compile_kwargs):
    model = keras.Sequential([keras.Input((8,)), *(keras.layers.Dense(u) for u in units)])
    model.compile(
        optimizer,
        "mse",
        **{"jit_compile": BACKEND == "jax" and not compile_kwargs.get("run_eagerly"), **compile_kwargs},
    )
    return model


def batches(n=16, outputs=6):
    rng = np.random.default_rng(1)
    return rng.normal(size=(n, 8)).astype("float32"), rng.normal(size=(n, outputs)).astype("float32")


@contextlib.contextmanager
def warned():
    """The texts of the UserWarnings in a block; other libraries' warnings are theirs."""
    said = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield said
    said += [str(w.message) for w in caught if w.category is UserWarning]


def non_zeros(model, **which):
    return {n: int(np.count_nonzero(weights.read(v))) for n, v in weights.select(model, **which).items()}


def sizes(model):
    return {n: int(np.prod(v.shape)) for n, v in weights.select(model).items()}


class Zeros(keras.callbacks.Callback):
    """The zeros of every weight at the end of every batch, and how many kept weights there were."""

    def __init__(self):
        super().__init__()
        self.counts = []

    def on_train_batch_end(self, batch, logs=None):
        kernels = weights.select(self.model)  # through self.model, so that JAX puts its state back
        self.counts.append(sum(int(np.count_nonzero(weights.read(v))) for v in kernels.values()))


# Compiled, and on every backend.
COMPILED = ("functional, shared, two inputs", "subclassed, custom layers", "MultiHeadAttention", "Conv2D", "GRU")


@pytest.mark.parametrize("kind", some(KINDS, *COMPILED))
def test_every_kind_of_model_ends_exactly_sparse(kind):
    """... and stays so through every batch of retraining."""
    model, x, y = KINDS[kind]()
    how = {"jit_compile": BACKEND == "jax"} if kind in COMPILED else EAGERLY
    model.compile(keras.optimizers.AdamW(0.01, weight_decay=0.1), "mse", **how)
    total = sum(sizes(model).values())
    zeros = Zeros()
    history = model.fit(
        x, y, epochs=2, batch_size=8, verbose=0, callbacks=[ka.ADMMPrune(0.7, penalty=PULL, backup_dir=None), zeros]
    )
    assert sum(non_zeros(model).values()) == round((1 - 0.7) * total)
    assert zeros.counts[-2:] == [round((1 - 0.7) * total)] * 2
    assert history.history["sparsity"][-1] == pytest.approx(0.7, abs=1 / total)
    assert not [v.name for v in model.optimizer.variables if "admm" in v.name]


ALLOCATIONS = {
    "global": lambda model: round(0.2 * sum(sizes(model).values())),
    "uniform": lambda model: {n: round((1 - 0.8) * s) for n, s in sizes(model).items()},
    "erk": lambda model: round((1 - 0.8) * sum(sizes(model).values())),
    "lamp": lambda model: round((1 - 0.8) * sum(sizes(model).values())),
}


@pytest.mark.parametrize(
    "path, allocation",
    rows(
        lambda path, allocation: path is None or (path, allocation) in [("cubic", "uniform"), ("geometric", "global")],
        [None, "geometric", "cubic"],
        ALLOCATIONS,
    ),
)
def test_allocations_and_paths_keep_exactly_what_they_say(allocation, path):
    model = dense_model()
    prune = ka.ADMMPrune(0.8, allocation=allocation, path=path, admm_epochs=3)
    model.fit(*batches(), epochs=4, verbose=0, callbacks=[prune])
    expected, kept = ALLOCATIONS[allocation](model), non_zeros(model)
    assert (kept if allocation == "uniform" else sum(kept.values())) == expected


def test_a_mapping_and_a_callable_allocate_by_name():
    model = dense_model()
    first, second = model.layers
    prune = ka.ADMMPrune(0.5, allocation={first.name: 0.9}, admm_epochs=2, path="geometric")
    model.fit(*batches(), epochs=3, verbose=0, callbacks=[prune])
    assert list(non_zeros(model).values()) == [8, 30]
    model = dense_model()
    all_but = ka.ADMMPrune(0.5, allocation=lambda arrays, s: {n: a.size - 3 for n, a in arrays.items()})
    model.fit(*batches(), epochs=2, verbose=0, callbacks=[all_but])
    assert list(non_zeros(model).values()) == [77, 57]


@pytest.mark.parametrize("masked", [True, False])
def test_progressive_steps(masked):
    """Each starts from the last; what is zero stays zero in the next ADMM phase only by choice."""
    model = dense_model(keras.optimizers.SGD(0.05))
    zeros = Zeros()
    first, second = (ka.PruningTarget(0.5), ka.PruningTarget(0.9, start=0.5))
    steps = [ka.Step(target=first), ka.Step(target=second, keep_pruned=masked)]
    prune = ka.ADMM(steps, penalty=PULL)
    history = model.fit(*batches(), epochs=8, verbose=0, callbacks=[prune, zeros]).history
    assert sum(non_zeros(model).values()) == 14
    assert history["sparsity"] == pytest.approx([0, 0, 0.5, 0.5, *[0.5 * masked] * 2, 0.9, 0.9])
    assert history["admm_step"] == [1, 1, 1, 1, 2, 2, 2, 2]
    assert zeros.counts[4] == (70 if masked else 140)


def test_logs_reach_every_logger(tmp_path):
    model = dense_model()
    names = list(Progress._fields)
    log = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    prune = ka.ADMMPrune(0.5, recipe="paper", penalty=ka.penalties.GradientPenalty(rho_growth=2.0))
    history = model.fit(*batches(), epochs=4, verbose=0, callbacks=[prune, log]).history
    with open(tmp_path / "log.csv") as file:
        rows = list(csv.DictReader(file))
    for name in names:
        assert [float(row[name]) for row in rows] == pytest.approx(history[name])
    assert history["admm_rho"] == pytest.approx([1e-3, 2e-3, 0, 0])
    assert history["admm_primal"][0] > 0 == history["admm_primal"][2]


def test_the_sparsity_of_the_target_is_logged_while_weights_are_pulled():
    """Z's zeros are of 80 weights 20, then 60, and of 60 that have no set their own, 0 of them."""

    def sets(arrays, fraction):
        first = next(iter(arrays))
        return {first: ka.constraints.Sparse(0.25 if fraction < 0.5 else 0.75)}

    prune = ka.ADMM(sets, log_layers=True, admm_epochs=3, update_every=1)
    history = dense_model().fit(*batches(), epochs=4, verbose=0, callbacks=[prune]).history
    assert history["admm_sparsity"] == pytest.approx([20 / 140, 60 / 140, 60 / 140, 0])
    each = [values for name, values in history.items() if name.startswith("admm_sparsity/")]
    assert each == [pytest.approx([0.25, 0.75, 0.75, 0]), pytest.approx([0, 0, 0, 0])]
    assert history["sparsity"] == pytest.approx([0, 0, 0, 60 / 140])


def test_epochs_are_divided_or_given():
    phases = []

    class Phases(ka.ADMMPrune):
        def on_epoch_begin(self, epoch, logs=None):
            super().on_epoch_begin(epoch)
            phases.append(self.engine.epoch_info.phase[0])

    for kwargs, epochs, expected in [
        ({}, 6, "aaaarr"),
        ({"recipe": "paper"}, 5, "aaarr"),
        ({"admm_epochs": 1}, 5, "arrrr"),
        ({"retrain_epochs": 0}, 3, "aaa"),
        ({"admm_epochs": 1, "retrain_epochs": 1}, 4, "arrr"),
    ]:
        phases.clear()
        model = dense_model()
        model.fit(*batches(), epochs=epochs, verbose=0, callbacks=[Phases(0.5, **kwargs)])
        assert "".join(phases) == expected
        assert sum(non_zeros(model).values()) == 70


@pytest.mark.parametrize(
    "given, moves",
    [
        ({}, "auto"),
        ({"penalty": "gradient"}, 1),
        ({"penalty": ka.penalties.ProximalPenalty(rho=0.1)}, 1),
        ({"penalty": ka.penalties.ProximalPenalty(rho=0.1, rho_growth=1.0)}, "auto"),
        ({"penalty": ka.penalties.ProximalPenalty(rho=0.1, rho_end=1.0)}, "auto"),
        ({"penalty": "gradient", "update_every": "5 steps"}, "5 steps"),
        ({"recipe": "paper"}, 1),
    ],
)
def test_a_rho_that_grows_with_each_move_moves_once_an_epoch(given, moves):
    """1.3 to the power of 40 moves and more is no penalty that training survives."""
    assert ka.ADMMPrune(0.5, **given).plan.update_every == moves


def test_epochs_are_given_for_each_constraint():
    prune = ka.ADMM([ka.constraints.Sparse(0.5), ka.constraints.Sparse(0.9)], admm_epochs=[1, 2], retrain_epochs=[0, 1])
    assert [(step.admm_epochs, step.retrain_epochs) for step in prune.plan.steps] == [(1, 0), (2, 1)]


def test_a_fit_that_begins_later_runs_all_phases():
    model = dense_model()
    model.fit(*batches(), epochs=6, initial_epoch=4, verbose=0, callbacks=[ka.ADMMPrune(0.5)])
    assert sum(non_zeros(model).values()) == 70


@pytest.mark.parametrize("retrain, last", [({"retrain": 0.25}, 0.25), ({}, 0.5)], ids=["both", "that of ADMM alone"])
def test_learning_rates_per_phase(retrain, last):
    rates = []

    class Rates(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            rates.append(float(ops.convert_to_numpy(self.model.optimizer.learning_rate)))

    model = dense_model(keras.optimizers.SGD(0.5))
    falling = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.1)
    prune = ka.ADMMPrune(
        0.5,
        admm_epochs=4,
        learning_rate={"admm": falling, **retrain},
    )
    model.fit(*batches(), epochs=5, verbose=0, callbacks=[prune, Rates()])
    assert rates == pytest.approx([0.1, 0.01, 0.001, 0.0001, last])
    assert float(ops.convert_to_numpy(model.optimizer.learning_rate)) == 0.5


def test_averages_of_the_weights_end_exactly_sparse():
    model = dense_model(keras.optimizers.Adam(0.01, use_ema=True))
    model.fit(*batches(), epochs=4, verbose=0, callbacks=[ka.ADMMPrune(0.5)])
    assert sum(non_zeros(model).values()) == 70


def test_a_second_fit_and_a_plain_one_after():
    model = dense_model()
    model.fit(*batches(), verbose=0)
    for sparsity, kept in [(0.5, 70), (0.9, 14)]:
        model.fit(*batches(), epochs=2, verbose=0, callbacks=[ka.ADMMPrune(sparsity)])
        assert sum(non_zeros(model).values()) == kept
    model.fit(*batches(), verbose=0)
    assert sum(non_zeros(model).values()) > 50  # all that pruned neurons still give a gradient


def test_user_regularizers_stay_in_force():
    model = dense_model()
    model.layers[0].kernel.regularizer = keras.regularizers.L2(1.0)
    x, y = batches()
    history = model.fit(x, y, epochs=2, verbose=0, callbacks=[ka.ADMMPrune(0.5)]).history
    squares = float(np.sum(weights.read(model.layers[0].kernel) ** 2))
    assert model.evaluate(x, y, verbose=0) > squares
    assert history["loss"][-1] > squares * 0.5


def test_nan_in_training_goes_back_to_the_last_good_state(tmp_path):
    class Poison(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                kernel = self.model.layers[0].kernel
                weights.write(kernel, np.full(kernel.shape, np.nan))

    model = dense_model()
    prune = ka.ADMMPrune(0.5, backup_dir=tmp_path / "run")
    with warned() as said:
        model.fit(*batches(), epochs=6, verbose=0, callbacks=[prune, Poison()])
    assert re.search("must stay finite. Received: .*back at the state with which epoch 2 began", said[0])
    assert all(np.isfinite(weights.read(v)).all() for v in model.trainable_variables)
    assert os.listdir(tmp_path / "run")
    with warned() as said:
        dense_model().fit(*batches(), epochs=6, verbose=0, callbacks=[ka.ADMMPrune(0.5), Poison()])
    assert re.search("nothing was saved, for no backup_dir was given", said[0])


BAD = {
    "sparsity=1": (
        lambda: ka.ADMMPrune(1.0),
        r"a number in \[0, 1\), the share of zeros. Received: sparsity=1.0. Pass",
    ),
    "sparsity<0": (
        lambda: ka.ADMMPrune(-0.1),
        r"a number in \[0, 1\), the share of zeros. Received: sparsity=-0.1. Pass",
    ),
    "sparsity as text": (lambda: ka.ADMMPrune("0.9"), "must be a number.*Received: sparsity='0.9'. Pass"),
    "descending": (lambda: ka.ADMMPrune([0.9, 0.5]), r"must ascend.*Received: sparsity=\[0.9, 0.5\]. Sort"),
    "negative rho": (
        lambda: ka.penalties.GradientPenalty(rho=-1.0),
        "finite number >= 0, the ADMM penalty. Received: rho=-1.0. Start",
    ),
    "rho_growth": (
        lambda: ka.penalties.GradientPenalty(rho_growth=0),
        "a finite factor > 0 or 'balance'. Received: rho_growth=0. Use",
    ),
    "penalty": (lambda: ka.ADMMPrune(0.5, penalty="l2"), "must be one of .*Received: penalty='l2'. Pass"),
    "path": (lambda: ka.ADMMPrune(0.5, path="linear"), "'geometric', 'root'. Received: path='linear'. Choose"),
    "allocation": (lambda: ka.ADMMPrune(0.5, allocation="fair"), "must be one of .*Received: allocation='fair'. Use"),
    "structure": (lambda: ka.constraints.Sparse(0.5, "rows"), "must be 'element', .*Received: structure='rows'"),
    "min_keep": (lambda: ka.ADMMPrune(0.5, min_keep=-1), "an integer >= 0. Received: min_keep=-1. Pass"),
    "admm_epochs": (lambda: ka.ADMMPrune(0.5, admm_epochs=0), "an integer >= 1.*Received: admm_epochs=0. Leave"),
    "epochs per step": (lambda: ka.ADMMPrune([0.5, 0.9], retrain_epochs=[1]), "for each of the 2 step.*Received"),
    "update_every": (lambda: ka.ADMMPrune(0.5, update_every=0), "an integer >= 1, .*Received: update_every=0. Use"),
    "learning_rate": (lambda: ka.ADMMPrune(0.5, learning_rate=0.1), "must be a dict of .*Received"),
    "no argument": (
        lambda: ka.ADMMPrune(0.5, admm_epoch=3),
        "ADMMPrune: every argument.*Received: admm_epoch. Did you mean admm_epochs",
    ),
    "no argument of any": (
        lambda: ka.ADMMQuantize(3, zzz=3),
        "ADMMQuantize: every argument.*Received: zzz. Choose from bits, .*penalty",
    ),
    "a step and its epochs": (
        lambda: ka.ADMM([ka.Step(target=ka.constraints.Sparse(0.5))], retrain_epochs=3, retraining="snap"),
        "says its own epochs.*Received: a Step, and beside it retrain_epochs=3, retraining=Snap.*Write",
    ),
    "no steps": (lambda: ka.ADMM([]), "must have at least one step. Received: none. Give"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_get_a_sentence(case):
    make, sentence = BAD[case]
    with pytest.raises((ValueError, TypeError), match=sentence):
        make()


def integer_kernel():
    model = dense_model()
    for layer in model.layers:
        layer.quantize("int8")
    return model


BAD_RUNS = {
    "no variable": (dense_model, {"exclude": "*"}, "at least one variable must be compressed. Received: .*Choose"),
    "no match": (dense_model, {"layers": "conv*"}, "must choose at least one variable. Received: 'conv.'.*Give"),
    "no match in a mapping": (dense_model, {"allocation": {"conv*": 0.5}}, "must fit a name. Received: .*Write"),
    "few epochs": (dense_model, {"sparsity": [0.1, 0.2, 0.3]}, "need at least 6 epochs .*Received: epochs=4. Fit"),
    "more epochs asked": (dense_model, {"admm_epochs": 9}, "need at least 10 epochs .*Received: epochs=4. Fit"),
    "small budget": (dense_model, {"min_keep": 100}, "leaves 70 weights, fewer than min_keep=100 .*Lower"),
    "quantized": (integer_kernel, {}, "must be a float one .*Received: dtype=int8, a quantized variable. Compress"),
    "schedule": (
        lambda: dense_model(keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 9))),
        {"learning_rate": {"retrain": 0.1}},
        "needs an optimizer compiled with a float as its rate. Received.*Compile",
    ),
}


@pytest.mark.parametrize("case", BAD_RUNS)
def test_bad_runs_get_a_sentence_before_training(case):
    make, kwargs, sentence = BAD_RUNS[case]
    model = make()
    before = [weights.storable(v) for v in model.trainable_variables]
    with pytest.raises(ValueError, match=sentence):
        model.fit(*batches(), epochs=4, verbose=0, callbacks=[ka.ADMMPrune(**{"sparsity": 0.5, **kwargs})])
    for old, variable in zip(before, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(old, weights.storable(variable))


def test_weights_that_are_nan_get_a_sentence():
    model = dense_model()
    weights.write(model.layers[0].kernel, np.full((8, 10), np.nan))
    with pytest.raises(ValueError, match="must be finite. Received: NaN or infinite values. Load"):
        model.fit(*batches(), epochs=4, verbose=0, callbacks=[ka.ADMMPrune(0.5)])


@pytest.mark.skipif(BACKEND != "jax", reason="the others can")
def test_the_penalty_in_the_loss_is_refused_on_jax():
    with pytest.raises(ValueError, match="on the TensorFlow or torch backend.*Received: the jax backend. Use"):
        dense_model().fit(*batches(), epochs=4, verbose=0, callbacks=[ka.ADMMPrune(0.5, penalty="loss")])
