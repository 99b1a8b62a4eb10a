"""Z and U that move within epochs: `update_every="100 steps"`."""

import keras
import numpy as np
import pytest

import keras_admm as ka
from keras_admm.constraints import Sparse
from keras_admm.engine.timeline import Timeline
from keras_admm.plan import EpochInfo, every

pytestmark = pytest.mark.every_backend
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(48, 8)).astype("float32"), RNG.normal(size=(48, 4)).astype("float32")
PULL = ka.penalties.GradientPenalty(rho=0.1, rho_growth=2.0)


def net(library=keras, **options):
    keras.utils.set_random_seed(0)
    model = library.Sequential(
        [library.Input((8,)), library.layers.Dense(6, name="a"), library.layers.Dense(4, name="b")]
    )
    model.compile(library.optimizers.SGD(0.05), "mse", **options)
    return model


class Sets:
    """A target that notes at which fractions it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, arrays, fraction):
        self.asked.append(round(fraction, 4))
        return dict.fromkeys(arrays, Sparse(0.75))


@pytest.mark.parametrize(
    "update_every, epochs, rho, asked",
    [
        # 6 batches an epoch; how many there are in one is known from the start in fit
        ("4 steps", 2, [0.1, 0.4], [4 / 12, 8 / 12, 1.0]),
        ("3 steps", 2, [0.2, 0.8], [3 / 12, 6 / 12, 9 / 12, 1.0]),
        ("100 steps", 2, [0.1, 0.1], [1.0]),
        ("1 epoch", 2, [0.1, 0.2], [0.5, 1.0]),
    ],
)
def test_when_they_move_in_fit(update_every, epochs, rho, asked):
    sets, model = Sets(), net()
    run = ka.ADMM(sets, admm_epochs=epochs, update_every=update_every, penalty=PULL)
    history = model.fit(X, Y, batch_size=8, epochs=epochs + 1, shuffle=False, verbose=0, callbacks=[run]).history
    before = sets.asked.index(0.0, 1) + 1  # what is tried before the training
    assert sets.asked[before:-1] == pytest.approx(asked, abs=1e-3)
    assert history["admm_rho"][:epochs] == pytest.approx(rho)
    assert [np.count_nonzero(w) for w in model.get_weights()[::2]] == [12, 6]


def test_a_move_in_every_step_is_that_of_epochs_of_one_batch():
    """The same training, cut into epochs in two ways."""
    ends = []
    for update_every, epochs in [("1 step", 1), (1, 6)]:
        model, repeated = net(), 6 // epochs
        run = ka.ADMM(Sparse(0.75), admm_epochs=epochs, retrain_epochs=0, update_every=update_every, penalty=PULL)
        x, y = np.tile(X[:8], (repeated, 1)), np.tile(Y[:8], (repeated, 1))
        model.fit(x, y, batch_size=8, epochs=epochs, shuffle=False, verbose=0, callbacks=[run])
        ends.append(model.get_weights())
    for one, other in zip(*ends, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="on torch Keras has one step in a call")
def test_several_steps_in_one_call():
    sets, model = Sets(), net(steps_per_execution=3)
    run = ka.ADMM(sets, admm_epochs=1, update_every="2 steps", penalty=PULL)
    model.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0, callbacks=[run])
    assert sets.asked[sets.asked.index(0.0, 1) + 1 :] == [0.5, 1.0, 1.0]  # after 3 and 6, the projection


def test_a_loop_counts_its_batches():
    sets, model = Sets(), net()
    step = ka.Step(target=sets, admm_epochs=2, retrain_epochs=0)
    engine = ka.Engine(model, ka.Plan(steps=[step], update_every="2 steps"), optimizer=None)
    engine.begin()
    before = len(sets.asked)
    for _ in range(2):
        for _ in range(4):
            engine.hold()
            engine.end_batch()
        engine.end_epoch()
    # In the first epoch nobody knows how long it is.
    assert sets.asked[before:] == [0.0, 0.0, 0.75, 1.0, 1.0]
    assert engine.finish()


def test_a_loop_that_counts_no_batches_is_told():
    step = ka.Step(target=Sparse(0.5), admm_epochs=2, retrain_epochs=0)
    engine = ka.Engine(net(), ka.Plan(steps=[step], update_every="2 steps"), optimizer=None)
    engine.begin()
    with pytest.raises(ValueError, match="must be counted. Received: an epoch of ADMM without any. Call end_batch"):
        engine.end_epoch()


def test_what_is_no_longer_finite_stops_the_fit_within_an_epoch():
    class Poison(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                self.model.layers[0].kernel.assign(np.full((8, 6), np.nan))

    run = ka.ADMMPrune(0.5, update_every="1 step")
    with pytest.warns(UserWarning, match="must stay finite.*Training stops"):
        net().fit(X, Y, batch_size=8, epochs=4, verbose=0, callbacks=[Poison(), run])


def test_what_has_passed_is_kept_with_the_state():
    model, steps = net(), [ka.Step(target=Sparse(0.5), admm_epochs=3, retrain_epochs=0)]
    plan = ka.Plan(steps=steps, update_every="5 steps")
    engine = ka.Engine(model, plan, optimizer=None)
    engine.begin()
    moved = []
    for _ in range(3):
        engine.end_batch()
    engine.end_epoch()
    again = ka.Engine(model, plan, optimizer=None)
    state = engine.state_dict()
    engine.release()
    again.load_state_dict(state)
    for _ in range(3):
        moved.append(again.end_steps(1))
    assert moved == [False, True, False]


@pytest.mark.parametrize(
    "steps_an_epoch, moves",
    [(0, 1), (10, 20), (45, 45), (50, 50), (100, 40), (400, 40), (1000, 40), (3000, 60)],
)
def test_automatic_moves_are_frequent_and_not_too_few(steps_an_epoch, moves):
    """Every 100 steps, or 40 in the 2 epochs; where the number of steps is not known, every 100 of the 150."""
    epochs = [EpochInfo(0, "admm", i, 2) for i in range(2)]
    timeline = Timeline(epochs, every("me", "auto"), steps_an_epoch=steps_an_epoch)
    assert sum(timeline.end_steps(1) for _ in range(2 * steps_an_epoch or 150)) == moves


def test_shares_of_a_step():
    epochs = [EpochInfo(0, "admm", i, 2) for i in range(2)]
    timeline = Timeline(epochs, every("me", "2 steps"), steps_an_epoch=4)
    assert timeline.fractions(0) == [0.0, 0.5, 1.0]
    assert [timeline.end_steps(1) for _ in range(4)] == [False, True, False, True]
    assert timeline.present == 0.5
    assert not timeline.moves(epochs[0]) and timeline.moves(epochs[1])
