"""Channels of a whole model pruned to a budget: which groups stay, and that they are zero on their way."""

import keras
import numpy as np
import pytest
from keras import layers
from structured_models import chain, residual, squeeze_excite

import keras_admm as ka
from keras_admm import weights
from keras_admm.callbacks.projections import left
from keras_admm.graph import groups as graph_groups
from keras_admm.plan import Budget
from keras_admm.structure import StructureTarget
from keras_admm.structure.branches import branches
from keras_admm.structure.choice import Choice
from keras_admm.structure.costs import Costs
from keras_admm.structure.places import Energies

X = np.random.default_rng(0).normal(size=(32, 12, 12, 3)).astype("float32")


def sequential(*those, shape=(4,)):
    return keras.Sequential([keras.Input(shape), *those], name="m")


def fit(model, callback, epochs=2):
    keras.utils.set_random_seed(0)
    model.compile("sgd", "mse")
    x = X[:, : model.input_shape[1], : model.input_shape[2]] if len(model.input_shape) == 4 else X[:, 0, :4, 0]
    y = np.zeros((32, *model.output_shape[1:]), "float32")
    model.fit(x, y, epochs=epochs, batch_size=16, verbose=0, callbacks=[callback])
    return callback.engine.plan.steps[0].target


def pruned(model, **kwargs):
    """The target that a model was pruned by in two epochs."""
    return fit(model, ka.ADMMPrune(structure="channel", admm_epochs=1, verbose=0, **kwargs))


def dead(target):
    """Which groups are zero wherever they are written."""
    slices = [group.of("writes") for group in target.groups]
    return np.array(
        [all(not np.take(weights.read(s.variable), s.indices, s.axis).any() for s in each) for each in slices]
    )


COSTS = {"macs": "macs", "params": "parameters", "bytes": "bytes"}


@pytest.mark.parametrize("make", [chain, residual])
@pytest.mark.parametrize("unit, share", [("macs", 0.5), ("params", 0.4), ("bytes", 0.6)])
def test_a_budget_is_met_and_never_exceeded(make, unit, share):
    target = pruned(make(), budget={unit: share})
    cost = getattr(target.groups, COSTS[unit])
    alive, limit = ~dead(target), share * cost()
    assert cost(alive) <= limit
    # And no more would: of these models one channel is up to a tenth.
    assert all(cost(alive | (np.arange(len(alive)) == i)) > limit for i in np.flatnonzero(~alive))


@pytest.mark.every_backend
def test_pruned_channels_leave_with_exactly_the_macs_that_were_promised():
    model = squeeze_excite()
    target = pruned(model, budget={"macs": 0.5})
    small = ka.shrink(model)  # compares the outputs
    assert graph_groups.of(small).macs() == target.groups.macs(~dead(target))


def test_a_share_of_channels():
    target = pruned(residual(), sparsity=0.5)
    assert dead(target).sum() == len(target.groups) / 2


def blocks():
    """A network of residual blocks of which the second adds next to nothing."""

    def conv(x, name, scale=1.0):
        x = layers.Conv2D(8, 3, padding="same", use_bias=False, name=name)(x)
        return layers.BatchNormalization(gamma_initializer=keras.initializers.Constant(scale))(x)

    x = keras.Input((12, 12, 3))
    y = conv(x, "stem")
    for i, scale in enumerate([1.0, 1e-3, 1.0]):
        z = conv(layers.ReLU()(conv(y, f"first{i}")), f"second{i}", scale)
        y = layers.ReLU()(layers.Add()([y, z]))
    return keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling2D()(y)))


def test_the_branches_of_a_model_are_found():
    groups = graph_groups.of(blocks())
    inner = [{groups.groups[i].family for i in np.flatnonzero(each.groups)} for each in branches(groups)]
    assert inner == [{"first0"}, {"first1"}, {"first2"}]
    assert all(each.ends.sum() == 8 for each in branches(groups))


@pytest.mark.parametrize("make, count", [(chain, 0), (residual, 2), (squeeze_excite, 1)])
def test_only_what_the_signal_can_pass_by_is_a_branch(make, count):
    assert len(branches(graph_groups.of(make()))) == count


@pytest.mark.parametrize("how", [{"budget": {"macs": 0.6}}, {"strength": 1.5}])
def test_a_block_that_adds_little_leaves_as_a_whole(how):
    model = blocks()
    target = fit(model, ka.ADMMAdaptive(**how, admm_epochs=1, verbose=0))
    small = ka.shrink(model)
    names = [layer.name for layer in small.layers]
    assert "second1" not in names and {"first0", "second0", "first2", "second2"} <= set(names)
    assert graph_groups.of(small).macs() <= target.groups.macs() * 0.7


def wide():
    return sequential(
        layers.Conv2D(32, 3),
        layers.Conv2D(64, 3),
        layers.Flatten(),
        layers.Dense(100),
        layers.Dense(3),
        shape=(8, 8, 3),
    )


@pytest.mark.parametrize("amount", [0.9, 0.5, 0.2, 0.05, 100_000])
@pytest.mark.parametrize("unit", ["macs", "params", "bytes"])
def test_a_budget_is_met_within_a_percent_where_channels_are_that_small(unit, amount):
    model = wide()
    target = StructureTarget(Budget(unit, amount)).of(model, weights.select(model))
    arrays = weights.views(target.wants)
    cost = getattr(target.groups, COSTS[unit])
    limit = amount if isinstance(amount, int) else amount * cost()
    assert 0.99 * limit <= cost(target.alive(arrays)) <= limit


def test_a_path_goes_from_the_whole_model_to_the_budget():
    model = wide()
    target = StructureTarget(Budget("macs", 0.25), path="geometric").of(model, weights.select(model))
    arrays = weights.views(target.wants)
    left = [target.groups.macs(target.alive(arrays, f)) / target.groups.macs() for f in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(left, [1.0, 0.5, 0.25], rtol=0.01)


def test_what_is_worth_most_for_its_cost_stays():
    """Of a dense layer of 4 inputs each unit costs 4 + 1 MACs; one of each family must stay."""
    model = sequential(layers.Dense(4, use_bias=False), layers.Dense(1, use_bias=False))
    costs, families = Costs(graph_groups.of(model), "macs"), np.zeros(4, int)

    def stay(limit, values=(1, 4, 2, 3), **kwargs):
        alive = Choice(costs, lambda alive: np.array(values, float), families, **kwargs).within(limit)
        return None if alive is None else alive.astype(int).tolist()

    assert stay(10) == [0, 1, 0, 1]
    assert stay(9) == [0, 1, 0, 0]
    assert stay(20) == [1, 1, 1, 1]
    assert stay(4) is stay(9, min_keep=2) is None
    assert stay(10, values=(np.inf, 4, 2, 3)) == [1, 1, 0, 0]


def test_gains_are_shares_of_what_stays():
    """Two inputs by three outputs, of groups (0, 1) and (2, 2, none)."""
    energies = Energies(3, [(np.array([[1.0, 1, 2], [1, 0, 3]]), {0: np.array([0, 1]), 1: np.array([2, 2, -1])})])
    np.testing.assert_allclose(energies.gains(np.array([True, True, True])), [6 / 16, 10 / 16, 3 / 16])
    np.testing.assert_allclose(energies.gains(np.array([True, False, True])), [1, 10 / 6, 2 / 6])


def test_moving_means_without_a_gamma_are_zero_too():
    x = keras.Input((12, 12, 3))
    y = layers.BatchNormalization(scale=False)(layers.Conv2D(8, 3, use_bias=False)(x))
    model = keras.Model(x, layers.Dense(2)(layers.GlobalAveragePooling2D()(layers.ReLU()(y))))
    model.layers[2].moving_mean.assign(np.arange(1.0, 9.0))
    target = pruned(model, budget={"macs": 0.5})
    assert dead(target).sum() == 4
    assert ka.shrink(model).layers[1].filters == 4


def frozen_norm():
    model = residual()
    model.layers[3].trainable = False
    return model


def normalized():
    return sequential(layers.Dense(6), layers.LayerNormalization(), layers.Dense(6), layers.Dense(2))


@pytest.mark.parametrize(
    "make, said",
    [(normalized, "layer_normalization.*normalizes over them"), (frozen_norm, "gamma is not trained")],
)
def test_what_stays_is_said(make, said):
    with pytest.warns(UserWarning, match=said):
        target = pruned(make(), budget={"params": 0.8})
    assert dead(target).any()


class Unknown(layers.Layer):
    """Nobody knows how often it uses its kernel."""

    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], 3))

    def call(self, x):
        return x @ self.w


@pytest.mark.parametrize("unit, told", [("macs", True), ("params", False)])
def test_a_budget_says_which_layers_it_does_not_count(unit, told):
    model = sequential(layers.Dense(6), layers.Dense(6), Unknown(name="own"), layers.Dense(2))
    with pytest.warns(UserWarning) as seen:
        pruned(model, budget={unit: 0.8})
    assert any("Received: own without" in str(each.message) for each in seen) == told


def test_macs_left_are_told_of_frozen_layers_too_and_of_all_or_none():
    model = sequential(layers.Dense(6), layers.Dense(2))
    model.layers[1].trainable = False
    assert left(model) | {"bytes": 0} == {"macs": 4 * 6 + 6 * 2, "params": 4 * 6, "bytes": 0}
    assert "macs" not in left(sequential(layers.Dense(6), Unknown()))


def test_a_report_says_what_is_left_and_what_cannot_leave():
    model = normalized()
    with pytest.warns(UserWarning, match="normalizes over them"):
        pruned(model, budget={"params": 0.8})
    note = ka.report(model, structure="channel").note
    assert "Left of channels that are zeroed as one: dense_" in note and " of 6" in note
    assert "Channels that never leave: layer_normalization" in note


def test_the_steps_of_a_chain_tell_what_they_leave(capsys):
    model = chain()
    channels = ka.ADMMPrune(structure="channel", budget={"macs": 0.5}).plan.steps[0].target
    callback = ka.ADMM([channels, ka.constraints.Sparse(0.8), ka.constraints.Levels(4)], verbose=1)
    target = fit(model, callback, epochs=6)
    first, second, third = callback.projections
    assert first["macs"] <= target.groups.macs() / 2 < first["macs"] * 1.1
    assert second["params"] < first["params"] and third["bytes"] < second["bytes"] < first["bytes"]
    assert f"leaves {first['macs']:,} of {target.groups.macs():,} MACs" in capsys.readouterr().out
    assert graph_groups.of(ka.shrink(model)).macs() <= target.groups.macs() / 2


NO_CHANNELS = [layers.Dense(2)], "channels of some layer must be free to leave. Received: m, where none are"
TOO_SMALL = [layers.Dense(4), layers.Dense(2)], "a budget must leave 1 channel"


@pytest.mark.parametrize("those, said", [NO_CHANNELS, TOO_SMALL])
def test_what_cannot_be_met_is_said_before_training(those, said):
    model = sequential(*[type(each).from_config(each.get_config()) for each in those])
    before = [weights.read(v) for v in model.weights]
    with pytest.raises(ValueError, match=said):
        pruned(model, budget={"macs": 0.01})
    assert all((a == weights.read(v)).all() for a, v in zip(before, model.weights, strict=True))


def test_a_choice_of_layers_is_heard():
    model = sequential(layers.Dense(4, name="a"), layers.Dense(4, name="b"), layers.Dense(2, name="c"))
    target = pruned(model, budget={"params": 0.8}, layers="b")
    assert {group.family for group, gone in zip(target.groups, dead(target), strict=True) if gone} == {"b"}


def test_a_budget_that_the_model_is_within_prunes_nothing():
    assert not dead(pruned(chain(), budget={"params": 10**9})).any()


def test_a_model_of_tf_keras_is_pruned_by_channels_too():
    tf_keras = pytest.importorskip("tf_keras")
    dense = tf_keras.layers.Dense
    model = tf_keras.Sequential([tf_keras.Input((4,)), dense(8), dense(2)])
    target = pruned(model, budget={"macs": 0.5})
    assert dead(target).sum() == 4
