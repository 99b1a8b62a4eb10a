"""What a newcomer adds from outside the package, one of each kind, without changing it."""

import re
from dataclasses import dataclass

import keras
import numpy as np
import pytest
from keras import ops

import keras_admm as ka
from keras_admm import attach, graph, weights
from keras_admm.attach import StepRule
from keras_admm.constraints import Pattern, Set, Sparse, Support, View
from keras_admm.graph import kind
from keras_admm.penalties import Penalty
from keras_admm.retraining import QuantizedRetraining, fix

pytestmark = pytest.mark.every_backend


class NonNegative(Set):
    """A set that says neither which weights are zero nor which values they take."""

    def __call__(self, x):
        return ops.relu(x)


class Signs(Set):
    """A set that says which values weights take: -1 and 1."""

    def __call__(self, x):
        return ops.where(x < 0, -ops.ones_like(x), ops.ones_like(x))

    def codes(self, z):
        return ka.constraints.Codes(z, by_channel=False, scaled=True, zeros_stay=False)


class FirstRows(Set):
    """A set that says which weights are zero: all but those of the first rows."""

    def support(self, x):
        return np.arange(x.shape[0])[:, None] < 2

    def __call__(self, x):
        return ops.where(self.support(x), x, ops.zeros_like(x))


class Larger(ka.Target):
    """A target: of two weights the one of larger norm is pruned."""

    def sets(self, arrays, fraction):
        largest = max(arrays, key=lambda name: np.linalg.norm(arrays[name]))
        return {largest: Sparse(0.75)}

    def get_config(self):
        return {}


class SignPull(StepRule):
    """A training step's rule: a pull of the same strength whatever the distance."""

    def gradient(self, gradient, w, scale):
        return ops.convert_to_tensor(gradient) + scale * self.state.rho * ops.sign(self.pull(w))


@dataclass(frozen=True, kw_only=True)
class SignPenalty(Penalty):
    """A penalty with a rule of its own."""

    def rule(self):
        return SignPull()


class AtOnce(QuantizedRetraining):
    """A way of retraining by a rule of the package: all weights stay where they were projected."""

    def begin(self, hold, weights, sets):
        hold.set_rules(dict.fromkeys(sets, attach.HeldAtValues()))
        return [(name, fix(hold.rules[name], weights[name], each)) for name, each in sets.items()]


@dataclass(frozen=True, eq=False)
class Decayed(StepRule):
    """A training step's rule, with a setting and a variable of its own: weights decay to their target, ever faster."""

    share: float
    acts_after = True

    @property
    def own_variables(self):
        return {"left": ((), "float32")}

    @property
    def assigned(self):
        return (self.state.own["left"],)

    def gradient(self, gradient, w, scale):
        return gradient

    def after_update(self, w):
        (left,) = self.assigned
        left.assign(left * (1 - self.share))
        return self.state.target + left * (w - self.state.target)


@dataclass(frozen=True)
class Decay(QuantizedRetraining):
    """A way of retraining with a rule of its own."""

    share: float = 0.5
    changes_step = True

    def begin(self, hold, weights, sets):
        hold.set_rules(dict.fromkeys(sets, Decayed(self.share)))
        for name, each in sets.items():
            hold.rules[name].set_target(each.project(weights[name]))
            hold.states[name].own["left"].assign(1.0)
        return ()


def fitted(callback, epochs=4, *others):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, name="a"), keras.layers.Dense(2, name="b")])
    model.compile(keras.optimizers.SGD(0.05), "mse")
    x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
    model.fit(x, x[:, :2], epochs=epochs, shuffle=False, verbose=0, callbacks=[callback, *others])
    return [ops.convert_to_numpy(model.get_layer(name).kernel) for name in "ab"]


@pytest.mark.parametrize("constraint", [NonNegative(), keras.constraints.NonNeg()], ids=["a set", "a Keras constraint"])
def test_a_set_of_neither_zeros_nor_values(constraint):
    a, b = fitted(ka.ADMM(constraint))
    assert a.min() == b.min() == 0 and a.max() > 0


def test_a_set_of_values():
    assert all(np.array_equal(np.abs(w), np.ones_like(w)) for w in fitted(ka.ADMM(Signs(), retraining="snap")))


def test_a_set_of_zeros():
    a, b = fitted(ka.ADMM(FirstRows()))
    assert a[:2].all() and b[:2].all() and not a[2:].any() and not b[2:].any()


@keras.saving.register_keras_serializable("test_extending")
class Rows(Pattern):
    """A pruning pattern: so many of a kernel's neighbouring rows of inputs live or die together."""

    def __init__(self, height):
        self.height = height

    def view(self, shape, axes):
        *rest, inputs, outputs = shape
        split = (*rest, inputs // self.height, self.height, outputs)
        return View(tuple(shape), split, order=tuple(range(len(split))), pools=0, members=2)


def test_a_pruning_pattern():
    """Of a's two groups of two rows one stays, of b's three two; of a set that was saved and loaded again too."""
    a, b = fitted(ka.ADMMPrune(0.5, structure=Rows(2), allocation="uniform"))
    assert [w.reshape(-1, 2, w.shape[1]).any(axis=(1, 2)).sum() for w in (a, b)] == [1, 2]
    assert np.count_nonzero(a) == 12 and np.count_nonzero(b) == 8
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(Sparse(0.5, Rows(2))))
    np.testing.assert_array_equal(again(a), a)
    assert again.kept((8, 3)) == (2, 4)


def test_a_target():
    a, b = fitted(ka.ADMM(Larger()))
    assert np.count_nonzero(a) + np.count_nonzero(b) in (6 + 12, 24 + 3)


def test_a_penalty():
    """One step of plain SGD without any gradient: each weight moves by the rate, 0.05, towards its target, 0."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6)])
    model.compile(keras.optimizers.SGD(0.05), "mse")
    kernel, seen = model.layers[0].kernel, []
    before = ops.convert_to_numpy(kernel)
    look = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(ops.convert_to_numpy(kernel)))
    prune = ka.ADMM(Support(np.zeros((4, 6))), retrain_epochs=0, penalty=SignPenalty(rho=1.0))
    model.fit(np.zeros((8, 4)), np.zeros((8, 6)), epochs=1, verbose=0, callbacks=[prune, look])
    np.testing.assert_allclose(seen[0], before - 0.05 * np.sign(before), rtol=1e-6)


def test_a_way_of_retraining():
    a, _ = fitted(ka.ADMM(ka.constraints.Levels(3), retraining=AtOnce()))
    assert len(np.unique(np.abs(a))) <= 4


class Note(keras.callbacks.Callback):
    """The distinct values of a kernel after each epoch; ends the fit after one."""

    def __init__(self, last=None):
        super().__init__()
        self.last, self.distinct = last, []

    def on_epoch_end(self, epoch, logs=None):
        self.distinct.append(len(np.unique(np.round(np.abs(self.model.get_layer("a").kernel), 3))))
        if epoch == self.last:
            raise InterruptedError


def test_a_way_of_retraining_with_a_rule_of_its_own():
    """Of 2 epochs of retraining, each of one step, the first takes the weights nearer, the second to the values."""
    note = Note()
    how = {"retraining": Decay(0.999), "admm_epochs": 1, "retrain_epochs": 2}
    a, _ = fitted(ka.ADMM(ka.constraints.Levels(3), **how), 3, note)
    assert note.distinct[0] > 4 and note.distinct[-1] <= 4 and len(np.unique(np.abs(a))) <= 4


class Counted(StepRule):
    """A training step's rule with a variable of its own: it counts updates."""

    acts_after = True

    @property
    def own_variables(self):
        return {"count": ((), "int32")}

    @property
    def assigned(self):
        return (self.state.own["count"],)

    def gradient(self, gradient, w, scale):
        return gradient

    def after_update(self, w):
        (count,) = self.assigned
        count.assign(count + 1)
        return w


@dataclass(frozen=True, kw_only=True)
class Counting(Penalty):
    """A penalty whose rule has a variable of its own."""

    def rule(self):
        return Counted()


@pytest.mark.parametrize("in_fit, counts", [(True, ([1, 1, 1, 1], [0, 0, 1, 1])), (False, ([1, 2, 3, 4],) * 2)])
def test_a_penalty_whose_rule_has_variables_of_its_own(in_fit, counts):
    """As part of another rule, of layers that come one after the other; in steps compiled once it counts them all."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, name="a"), keras.layers.Dense(6, name="b")])
    model.compile(keras.optimizers.SGD(0.05), "mse")
    steps = [ka.Step(target={name: Sparse(0.5)}, admm_epochs=1, retrain_epochs=1) for name in "ab"]
    engine, seen = ka.Engine(model, ka.Plan(steps=steps, penalty=Counting(penalize_kept=False)), in_fit=in_fit), []
    engine.begin()
    while not engine.done:
        model.train_on_batch(np.ones((8, 4)), np.ones((8, 6)))
        states = engine.rule_states.values()
        seen.append([int(ops.convert_to_numpy(state.own.get("count", 0))) for state in states])
        engine.end_epoch()
    assert engine.finish()
    assert tuple(map(list, zip(*seen, strict=True))) == counts


class Unannounced(Decay):
    """A way of retraining that does not say that it needs a training step of its own."""

    changes_step = False


def test_a_rule_that_nothing_would_apply_is_refused():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, name="a")])
    step = ka.Step(target=ka.constraints.Levels(3), admm_epochs=1, retrain_epochs=1, retraining=Unannounced())
    engine = ka.Engine(model, ka.Plan(steps=[step]), optimizer=None)
    engine.begin()
    with pytest.raises(ValueError, match="what Decayed does to .*kernel is done by a Keras optimizer. Received: opt"):
        engine.end_epoch()
    engine.release()


@pytest.mark.filterwarnings("ignore:.*a fit that was interrupted:UserWarning")
@pytest.mark.parametrize("how", [{"penalty": SignPenalty(rho=0.1)}, {"retraining": Decay(0.5)}], ids=["pull", "decay"])
@pytest.mark.parametrize("last", [1, 4])
def test_rules_of_ones_own_go_on_in_a_run_that_is_resumed(how, last, tmp_path):
    """In ADMM epochs and in those of retraining, with their settings and variables."""

    def run(folder, *others):
        return fitted(ka.ADMM(ka.constraints.Levels(3), admm_epochs=3, backup_dir=folder, **how), 6, *others)

    whole = run(None)
    with pytest.raises(InterruptedError):
        run(tmp_path, Note(last))
    for a, b in zip(whole, run(tmp_path), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("missing", [Set, ka.Target, Penalty, QuantizedRetraining, StepRule])
def test_what_a_contract_asks_for_must_be_there(missing):
    with pytest.raises(TypeError, match="abstract"):
        type("Incomplete", (missing,), {})()


class Projection(keras.layers.Layer):
    """A layer kind: a product with a weight whose name says that it is no kernel."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1], 2), name="scale")

    def call(self, x):
        return x @ self.scale


def test_a_layer_kind(monkeypatch):
    """`purify` passes through it, MACs count it, and its kernel, which a barrier's name would hide, is one."""
    inner, last = keras.layers.Dense(3, name="inner"), keras.layers.Dense(1, name="last")
    model = keras.Sequential([keras.Input((5, 4)), inner, Projection(name="own"), last], name="m")
    own = model.layers[1]
    inner.set_weights([np.ones((4, 3)), np.ones(3)])
    own.set_weights([np.array([[1.0, 0], [0, 0], [0, 2]])])
    last.set_weights([np.array([[1.0], [0]]), np.zeros(1)])
    assert ka.purify(model) == {} and len(weights.kernels(model)) == 2
    kernel = ka.graph.Kernel("scale", inputs=0, outputs=1)
    row = ka.graph.Kind(
        kernels=(kernel,),
        uses=lambda layer, inputs, outputs: outputs[0] * outputs[1],
        channels=lambda layer, inputs, outputs, array: [ka.graph.Linear(kernel.view(array(layer.scale)))],
    )
    monkeypatch.setattr(kind, "ROWS", dict(kind.ROWS))  # for this test alone
    ka.graph.register(Projection, row)
    assert ka.purify(model) == {"m/inner/kernel": 8, "m/inner/bias": 2, "m/own/scale": 1}
    assert ops.convert_to_numpy(own.scale).tolist() == [[1, 0], [0, 0], [0, 0]]
    assert any(own.scale is v for v in weights.kernels(model))
    assert {row.layer: row.macs for row in ka.report(model).rows}["m/own"] == 5 * 6


class Doubled(keras.layers.Layer):
    """A layer that gives each channel twice, with a weight for each of them."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(2 * shape[-1],), name="scale", initializer="ones")

    def call(self, x):
        return ops.concatenate([x, x], axis=-1) * self.scale


def doubled(layer, call, widths):
    *places, channels = widths.axes(call.inputs[0])
    twice = None if channels is None else np.concatenate([channels, channels])
    widths.carry(layer.scale, 0, twice, graph.groups.WRITES)
    widths.give(call.outputs[0], [*places, twice])


def test_a_layer_kind_whose_channels_live_or_die_together(monkeypatch):
    inner, last = keras.layers.Dense(3, use_bias=False, name="inner"), keras.layers.Dense(1, name="last")
    model = keras.Sequential([keras.Input((5, 4)), inner, Doubled(name="own"), last])
    found = graph.groups.of(model)
    assert not found.groups and found.frozen == [
        ("own", "is of a class that has no rule for groups (see keras_admm.graph.register)")
    ]
    monkeypatch.setattr(kind, "ROWS", dict(kind.ROWS))  # for this test alone
    ka.graph.register(Doubled, ka.graph.Kind(groups=doubled))
    found = graph.groups.of(model)
    assert [group.name for group in found] == ["inner[0]", "inner[1]", "inner[2]"] and not found.frozen
    slices = [(s.variable.name, s.axis, s.indices.tolist(), s.role) for s in found.groups[1].slices]
    assert slices == [("kernel", 1, [1], "writes"), ("scale", 0, [1, 4], "writes"), ("kernel", 0, [1, 4], "reads")]
    assert found.parameters([True, False, True]) == 4 * 2 + 4 + 4 + 1


def test_a_rule_for_groups_that_does_not_fit_its_layer_says_so(monkeypatch):
    def wrong(layer, call, widths):
        widths.carry(layer.scale, 0, widths.axes(call.inputs[0])[-1], graph.groups.WRITES)

    model = keras.Sequential([keras.Input((5, 4)), keras.layers.Dense(3), Doubled(name="own")])
    monkeypatch.setattr(kind, "ROWS", dict(kind.ROWS))  # for this test alone
    ka.graph.register(Doubled, ka.graph.Kind(groups=wrong))
    with pytest.raises(
        ValueError, match="own: axis 0 of scale, of size 6, must have as many labels. Received: 3. Mend the"
    ):
        graph.groups.of(model)


class Within(Set):
    """A set with a setting that its config does not tell of."""

    def __init__(self, limit):
        self.limit = limit

    def __call__(self, x):
        return ops.clip(x, -self.limit, self.limit)


@dataclass
class Halves:
    """A target as a callable with settings, without a config."""

    share: float

    def __call__(self, arrays, fraction):
        return dict.fromkeys(arrays, keras.constraints.NonNeg())


@pytest.mark.parametrize("target, place", [(Within(1.0), "Within"), (Halves(0.5), "Halves")])
def test_what_cannot_be_compared_is_told_when_a_run_is_resumed(target, place):
    def run():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, name="a")])
        plan = ka.Plan(steps=[ka.Step(target=target, admm_epochs=1, retrain_epochs=1)])
        return ka.Engine(model, plan, optimizer=None)

    first, again = run(), run()
    first.begin()
    with pytest.warns(UserWarning, match=rf"\({place}\), of which only the class can be compared"):
        again.load_state_dict(first.state_dict())


def test_the_settings_of_a_way_of_retraining_are_its_config():
    class Later(AtOnce):
        def __init__(self, epochs):
            self.epochs = epochs

    assert Later(3).get_config() == {"epochs": 3}
    assert ka.retraining.Snap((0.5, 1.0)).get_config() == {"fractions": (0.5, 1.0)}


def write_header(model, path):
    """An exporter: the weights of a model as C arrays, and its layers in the order in which they compute."""
    names, tensors, lines = {}, {}, []
    for path_in_model, variable in weights.named(model).items():
        name, array = re.sub(r"\W", "_", path_in_model), weights.read(variable)
        values = ", ".join(map(repr, array.ravel().tolist()))
        lines.append(f"static const float {name}[{array.size}] = {{{values}}};  // {list(array.shape)}")
        names[id(variable)] = name
    for call in graph.calls.of(model, "it can be written as C"):
        for tensor in (*call.inputs, *call.outputs):
            tensors.setdefault(tensor, f"t{len(tensors)}")
        given, made = ([tensors[x] for x in each] for each in (call.inputs, call.outputs))
        arguments = ", ".join([*given, *(names[key] for key in call.variables), *made])
        lines.append(f"// {type(call.layer).__name__}({arguments});")
    path.write_text("\n".join(lines))


def test_an_exporter(tmp_path):
    """Models in the model are opened; a layer that is shared is in two places with the same weights."""
    x, shared = keras.Input((3,)), keras.layers.Dense(2, name="shared")
    inner = keras.Sequential([keras.Input((3,)), shared, keras.layers.ReLU()], name="inner")
    model = keras.Model(x, keras.layers.Add()([inner(x), shared(x)]))
    write_header(model, tmp_path / "model.h")
    text = (tmp_path / "model.h").read_text()
    found = re.findall(r"static const float (\w+)\[\d\] = {(.*)};  // \[(.*)\]", text)
    for (name, values, shape), variable in zip(found, model.variables, strict=True):
        assert name.endswith(variable.name) and shape == ", ".join(map(str, variable.shape))
        np.testing.assert_array_equal(np.array(values.split(", "), "float32"), weights.read(variable).ravel())
    kernel, bias = (name for name, _, _ in found)
    calls = [f"Dense(t0, {kernel}, {bias}, t1)", "ReLU(t1, t2)", f"Dense(t0, {kernel}, {bias}, t3)", "Add(t2, t3, t4)"]
    assert re.findall(r"// (\w+\(.*\));", text) == calls
    with pytest.raises(ValueError, match="must be built before it can be written as C"):
        write_header(keras.Sequential([keras.layers.Dense(2)]), tmp_path / "model.h")
