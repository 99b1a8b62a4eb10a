"""Every optimizer of Keras and tf_keras, bent by every rule: finite, exact, its own where nothing is asked of it."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_admm import penalties, weights
from keras_admm.attach import HeldAtValues, HeldAtZero, Hold, SharedClusters, StraightThroughValues, marked

adam = keras.optimizers.Adam

OPTIMIZERS = {
    "SGD": lambda: keras.optimizers.SGD(0.03, momentum=0.9, nesterov=True),
    "RMSprop": lambda: keras.optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    "Adam": lambda: adam(0.01, amsgrad=True),
    "Adam, epsilon 0": lambda: adam(0.01, epsilon=0.0),
    "AdamW": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
    "Adadelta": lambda: keras.optimizers.Adadelta(1.0),
    "Adagrad": lambda: keras.optimizers.Adagrad(0.1),
    "Adamax": lambda: keras.optimizers.Adamax(0.01),
    "Adafactor": lambda: keras.optimizers.Adafactor(0.01),
    "Nadam": lambda: keras.optimizers.Nadam(0.01),
    "Ftrl": lambda: keras.optimizers.Ftrl(0.1, l1_regularization_strength=1e-3, beta=0.1),
    "Ftrl, from 0": lambda: keras.optimizers.Ftrl(0.1, initial_accumulator_value=0.0),
    "Lion": lambda: keras.optimizers.Lion(0.01),
    "Lamb": lambda: keras.optimizers.Lamb(0.01),
    "Muon": lambda: keras.optimizers.Muon(0.01),
    "loss scale": lambda: keras.optimizers.LossScaleOptimizer(adam(0.01), initial_scale=4.0),
    "loss_scale_factor": lambda: adam(0.01, loss_scale_factor=4.0),
    "averages": lambda: adam(0.01, use_ema=True, ema_overwrite_frequency=3),
    "accumulation": lambda: adam(0.01, gradient_accumulation_steps=2),
    "Adafactor, accumulation": lambda: keras.optimizers.Adafactor(0.01, gradient_accumulation_steps=2),
    "clipnorm": lambda: adam(0.01, clipnorm=0.1),
    "global_clipnorm": lambda: keras.optimizers.SGD(0.1, global_clipnorm=0.1, weight_decay=0.01),
}
if keras.backend.backend() == "tensorflow":
    tk = pytest.importorskip("tf_keras")
    OF_TF_KERAS = {
        "SGD": lambda of: of.SGD(0.03, momentum=0.9, nesterov=True),
        "RMSprop": lambda of: of.RMSprop(0.01, momentum=0.5, centered=True),
        "Adam": lambda of: of.Adam(0.01, amsgrad=True),
        "Adam, epsilon 0": lambda of: of.Adam(0.01, epsilon=0.0),
        "Adadelta": lambda of: of.Adadelta(1.0),
        "Adagrad": lambda of: of.Adagrad(0.1),
        "Adamax": lambda of: of.Adamax(0.01),
        "Nadam": lambda of: of.Nadam(0.01),
        "Ftrl": lambda of: of.Ftrl(0.1, l1_regularization_strength=1e-3, beta=0.1),
        "Ftrl, from 0": lambda of: of.Ftrl(0.1, initial_accumulator_value=0.0),
        "AdamW": lambda of: of.AdamW(0.01, weight_decay=0.1),
        "Adafactor": lambda of: of.Adafactor(0.01),
        "Lion": lambda of: of.Lion(0.01),
        "averages": lambda of: of.Adam(0.01, use_ema=True, ema_overwrite_frequency=3),
        "clipnorm": lambda of: of.Adam(0.01, clipnorm=0.1),
        "global_clipnorm": lambda of: of.SGD(0.1, global_clipnorm=0.1),
        "loss scale": lambda of: tk.mixed_precision.LossScaleOptimizer(of.Adam(0.01), initial_scale=4.0),
    }
    HERE_ALONE = ("AdamW", "Adafactor", "Lion", "averages", "loss scale")
    for name, make in OF_TF_KERAS.items():
        OPTIMIZERS[f"tf_keras: {name}"] = lambda make=make: make(tk.optimizers)
        if name not in HERE_ALONE:
            OPTIMIZERS[f"legacy: {name}"] = lambda make=make: make(tk.optimizers.legacy)
COMPUTED = tuple(name for name in OPTIMIZERS if "Ftrl" in name)  # the weights are computed from its slots
RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(4, 6, 5)).astype("float32") * 0.5  # of rank 3: rows and columns are of the last two axes
GRADIENTS = RNG.normal(size=(4, 4, 6, 5)).astype("float32")
TARGET = RNG.normal(size=KERNEL.shape).astype("float32")
PRUNED = RNG.random(KERNEL.shape) < 0.5
PRUNED[:, 2], PRUNED[:, :, 3] = True, True  # in each a row and a column


# Backends differ in how they apply gradients, not in what each optimizer makes of them.
ELSEWHERE = ("SGD", "Adafactor", "Ftrl", "averages", "accumulation")
if (
    keras.backend.backend() == "jax"
):  # whose loss scaling applies gradients within a compiled step only: see test_attach
    del OPTIMIZERS["loss scale"]
GATE = ("tf_keras: Adam", "tf_keras: Adafactor", "tf_keras: Ftrl", "legacy: SGD", "legacy: Ftrl")


def marks(name):
    if name in ELSEWHERE:
        return pytest.mark.every_backend
    return () if ":" not in name or name in GATE else pytest.mark.nightly


each = pytest.mark.parametrize("name", [pytest.param(n, marks=marks(n)) for n in OPTIMIZERS])


class Bent:
    """A model of one kernel, the gradients of which are applied by hand."""

    def __init__(self, name, penalty=None):
        of = tk if ":" in name else keras
        self.model = of.Sequential([of.Input((4, 6)), of.layers.EinsumDense("bxi,xio->bxo", (4, 5), name="a")])
        self.model.compile(OPTIMIZERS[name]())
        self.optimizer, (self.kernel,) = self.model.optimizer, self.model.trainable_variables
        weights.write(self.kernel, KERNEL)
        kernels = {"kernel": self.kernel}
        self.pull = penalties.get(penalty).rule() if penalty else None
        self.hold = Hold(self.model, kernels, self.optimizer) if penalty else None
        inner = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        scaled = of is keras and (inner is not self.optimizer or inner.loss_scale_factor)
        self.scale, self.every = 4.0 if scaled else 1.0, getattr(inner, "gradient_accumulation_steps", None) or 1

    def under(self, rule, target, rho=0.0):
        """Itself, with its kernel under a rule; or its penalty's, where that is None."""
        self.hold.set_rules({"kernel": self.pull if rule is None else rule})
        self.hold.states["kernel"].rho.assign(rho)
        self.rule.set_target(target)
        return self

    @property
    def rule(self):
        return self.hold.rules["kernel"]

    def apply(self, gradient):
        self.optimizer.apply_gradients([(ops.convert_to_tensor(gradient * np.float32(self.scale)), self.kernel)])
        return self.w

    @property
    def w(self):
        return weights.read(self.kernel)


@each
def test_nothing_asked_is_nothing_done(name):
    """A pull of strength 0 leaves the training as it was, to the bit."""
    plain = Bent(name)
    others = [Bent(name, penalty).under(None, TARGET) for penalty in ("gradient", "proximal")]
    for gradient in GRADIENTS:
        expected = plain.apply(gradient)
        for other in others:
            np.testing.assert_array_equal(other.apply(gradient), expected)


@each
def test_the_pull_in_the_gradient_is_one_of_the_loss(name):
    plain, pulled = Bent(name), Bent(name, "gradient")
    pulled.under(HeldAtZero(pulled.pull), TARGET, rho=0.25)
    for gradient in GRADIENTS:
        expected = plain.apply(gradient + np.float32(0.25) * (plain.w - TARGET))
        np.testing.assert_allclose(pulled.apply(gradient), expected, rtol=1e-5, atol=1e-6)


@each
def test_the_proximal_pull_follows_each_update(name):
    """Once for each update, however many gradients are gathered for it."""
    plain, pulled = Bent(name), Bent(name, "proximal").under(None, TARGET, rho=0.25)
    for step, gradient in enumerate(GRADIENTS[: 2 if name in COMPUTED else 4]):
        expected = plain.apply(gradient)
        if (step + 1) % plain.every == 0:
            expected = (expected + 0.25 * TARGET) / 1.25
        if name in COMPUTED and step:  # its slots go on from where the weights were pulled
            assert np.abs(pulled.apply(gradient) - TARGET).sum() < np.abs(expected - TARGET).sum() * 1.05
            continue
        np.testing.assert_allclose(pulled.apply(gradient), expected, rtol=1e-5, atol=1e-6)
        weights.write(plain.kernel, expected)


@each
@pytest.mark.parametrize("pulled", [False, True])
def test_held_weights_stay_zero_and_the_others_finite(name, pulled):
    bent = Bent(name, "gradient")
    bent.under(HeldAtZero(bent.pull) if pulled else HeldAtZero(), marked(TARGET, PRUNED), rho=0.25 if pulled else 0.0)
    weights.write(bent.kernel, np.where(PRUNED, 0, KERNEL))
    bent.hold.renew_optimizers()
    for gradient in GRADIENTS:
        w = bent.apply(gradient)
        assert (w[PRUNED] == 0).all() and np.isfinite(w).all()
    assert (w != KERNEL)[~PRUNED].mean() > 0.5  # Lion may go there and back
    assert np.abs(w - KERNEL)[~PRUNED].max() < 1


@each
def test_weights_held_at_values_stay_there(name):
    bent = Bent(name, "gradient").under(HeldAtValues(), marked(TARGET, unconstrained=~PRUNED))
    for gradient in GRADIENTS:
        w = bent.apply(gradient)
    if bent.every == 1:
        np.testing.assert_array_equal(w[PRUNED], TARGET[PRUNED])
    assert np.isfinite(w).all()


@each
@pytest.mark.parametrize("through", [True, False])
def test_weights_stay_on_few_values(name, through):
    levels = np.array([-0.75, -0.25, 0.25, 0.75], "float32")
    places = np.abs(KERNEL[..., None] - levels).argmin(-1)
    z, counts = levels[places], np.bincount(places.reshape(-1), minlength=4)
    bent = Bent(name, "gradient")
    if through:
        bent.under(StraightThroughValues((4, 1)), KERNEL - z).rule.set_values(levels[:, None])
    else:
        bent.under(SharedClusters((5, 1)), places + 1).rule.set_shares(np.array([[0], *(1 / counts)[:, None]]))
    weights.write(bent.kernel, z)
    bent.hold.renew_optimizers()
    for gradient in GRADIENTS:
        w = bent.apply(gradient)
        assert np.isfinite(w).all() and len(np.unique(w)) <= 4
    assert set(np.unique(w)) != set(levels)
    assert np.abs(w - z).max() < 1.5


@pytest.mark.every_backend
def test_values_move_once_for_each_update():
    """Between two updates, while gradients are gathered, neither the values nor the weights behind them move."""
    few, bent = None, Bent("accumulation", "gradient")
    levels = np.array([-0.6, -0.2, 0.2, 0.6], "float32")
    z = levels[np.abs(KERNEL[..., None] - levels).argmin(-1)]
    bent.under(StraightThroughValues((4, 1)), KERNEL - z).rule.set_values(levels[:, None])
    weights.write(bent.kernel, z)
    for step, gradient in enumerate(GRADIENTS):
        before = few
        bent.apply(gradient)
        few = np.concatenate([weights.read(v).ravel() for v in (*bent.rule.assigned[:2], bent.kernel)])
        if step == 0:
            np.testing.assert_array_equal(few, np.concatenate([(KERNEL - z).ravel(), levels, z.ravel()]))
        if step == 2:
            np.testing.assert_array_equal(few, before)
        if step == 3:
            assert (few != before).any()


@each
def test_a_new_phase_leaves_the_weights_where_they_are(name):
    bent = Bent(name, "gradient")
    for gradient in GRADIENTS:
        w = bent.apply(gradient)
    bent.hold.renew_optimizers()
    np.testing.assert_array_equal(bent.w, w)
    for _ in range(bent.every):
        after = bent.apply(np.zeros_like(KERNEL) if "epsilon 0" not in name else 1e-3 * GRADIENTS[0])
    assert np.abs(after - w).max() < 0.02


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="within a compiled step only")
@pytest.mark.parametrize("penalty", ["gradient", "proximal"])
def test_a_step_that_is_skipped_moves_nothing(penalty):
    """Gradients that overflowed are thrown away by the loss scaling: so are the pull and the values with them."""
    bent = Bent("loss scale", penalty).under(None, TARGET, rho=0.25)
    np.testing.assert_array_equal(bent.apply(np.full_like(KERNEL, np.inf)), KERNEL)


def test_a_zero_row_and_a_zero_column_that_nobody_holds():
    """As where units of the layer before were pruned: Adafactor by itself would give NaN."""
    gradients = GRADIENTS * np.where(PRUNED, 0, 1)
    for gradient in (gradients, gradients * 1e3, gradients * 1e-7):
        bent = Bent("Adafactor", "gradient").under(None, TARGET)
        for each in gradient:
            w = bent.apply(each.astype("float32"))
        assert np.isfinite(w).all()
        assert (w == KERNEL)[:, 2].all()
        assert (w != KERNEL)[~PRUNED].all()


class WithoutConfig(keras.optimizers.SGD):
    """An optimizer of one's own whose `get_config` nobody has written."""

    def __init__(self, rate, extra):
        super().__init__(rate)


def test_an_optimizer_that_cannot_be_made_anew_is_told_before_training():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    for optimizer in (WithoutConfig(0.1, 2), keras.optimizers.LossScaleOptimizer(WithoutConfig(0.1, 2))):
        model.compile(optimizer)
        with pytest.raises(
            ValueError, match=r"made from the config .*Received: WithoutConfig.*Have its get_config\(\)"
        ):
            Hold(model, {"kernel": model.layers[0].kernel}, model.optimizer)
        assert "apply" not in getattr(optimizer, "inner_optimizer", optimizer).__dict__
