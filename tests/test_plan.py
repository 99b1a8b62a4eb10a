"""Epochs laid out by hand."""

import keras
import numpy as np
import pytest

from keras_admm.constraints import Axes, Sparse
from keras_admm.plan import Plan, PruningTarget, Step, as_target, sets_of


def letters(lengths, epochs):
    plan = Plan(steps=[Step(target=Sparse(0.5), admm_epochs=a, retrain_epochs=r) for a, r in lengths])
    return "".join(f"{m.step}{m.phase[0]}" for m in plan.timeline("Test", epochs))


@pytest.mark.parametrize(
    "lengths, epochs, expected",
    [
        ([(None, None)], 2, "0a0r"),
        ([(None, None)], 5, "0a0a0a0r0r"),
        ([(None, 0)], 3, "0a0a0a"),
        ([(1, None)], 3, "0a0r0r"),
        ([(1, 1)], 4, "0a0r0r0r"),
        ([(1, 1)], None, "0a0r"),
        ([(None, None), (None, None)], 5, "0a0a0r1a1r"),
        ([(2, 1), (None, None)], 5, "0a0a0r1a1r"),
        ([(1, 0), (1, 2)], None, "0a1a1r1r"),
        ([(0.75, None)], 8, "0a0a0a0a0a0a0r0r"),
        ([(0.75, None)], 3, "0a0a0r"),
        ([(0.75, 2)], 4, "0a0a0r0r"),
        ([(0.75, None)] * 2, 8, "0a0a0a0r1a1a1a1r"),
        ([(None, None)] * 2, 6, "0a0a0r0r1a1r"),
    ],
)
def test_timelines(lengths, epochs, expected):
    assert letters(lengths, epochs) == expected


@pytest.mark.parametrize(
    "lengths, epochs, sentence",
    [
        ([(None, None), (None, None)], 3, r"need at least 4 epochs .*Received: epochs=3. Fit for more"),
        ([(3, None)], 3, r"need at least 4 epochs .*Received: epochs=3. Fit for more"),
        ([(3, 1)], 3, r"need at least 4 epochs .*Received: epochs=3. Fit for more"),
        ([(3, None)], None, "must be known. Received: .*None in a custom training loop. Give both"),
    ],
)
def test_epochs_that_do_not_suffice_get_a_sentence(lengths, epochs, sentence):
    with pytest.raises(ValueError, match=sentence):
        letters(lengths, epochs)


def test_a_target_is_one_set_or_sets_by_name_or_made():
    one, other = Sparse(0.5), Sparse(0.25)
    arrays = {"a": None, "b": None}

    def sets(target):
        return Step(target=target).target.sets(arrays, 0.5)

    assert sets(one) == sets({"a": one, "b": one}) == {"a": one, "b": one}
    assert sets({"*": one, "b": other}) == {"a": one, "b": other}
    with pytest.raises(ValueError, match=r"Received: \['c'\], which fit none of \['a', 'b'\]"):
        sets({"a": one, "c": one})
    made = sets(lambda arrays, fraction: {n: Sparse(fraction) for n in arrays})
    assert [each.sparsity for each in made.values()] == [0.5, 0.5]


@pytest.mark.parametrize(
    "returned, error, sentence",
    [
        ([], TypeError, "a dict of names to constraints"),
        ({}, ValueError, "Received: none"),
        ({"c": Sparse(0.5)}, ValueError, r"some of \['a'\]. Received: \['c'\]"),
        ({"a": 0.5}, ValueError, r"Received: \['a'\]"),
        ({"a": None}, ValueError, r"Received: \['a'\]"),
    ],
)
def test_what_a_target_returns_is_checked(returned, error, sentence):
    with pytest.raises(error, match=sentence):
        sets_of("me", as_target("me", lambda arrays, fraction: returned), {"a": None}, 0.0)


def test_a_budget_of_blocks_is_counted_in_blocks():
    """Norms by hand: of the blocks of 2 inputs, a's are 5, 1 and b's 13, 0, 0, 2; three of the six stay."""
    arrays = {"a": np.array([[3, 0], [4, 1]]), "b": np.array([[5, 0, 0, 0], [12, 0, 0, 2]])}
    sets = PruningTarget(0.5, structure="block(1,2)").sets(arrays, 1.0)
    assert sets["a"](arrays["a"]).tolist() == [[3, 0], [4, 0]]
    assert sets["b"](arrays["b"]).tolist() == [[5, 0, 0, 0], [12, 0, 0, 2]]


@pytest.mark.parametrize("unit", [1, 1e-38, 1e38])
@pytest.mark.parametrize("how", ["global", "uniform", "erk", "lamp"])
def test_a_budget_of_blocks_counts_partial_ones(how, unit):
    """9 blocks in each, all smaller than 2x4: a quarter of them stays, however divided."""
    rng = np.random.default_rng(0)
    arrays = {"a": rng.uniform(-1, 1, (3, 3, 2, 2)), "b": rng.uniform(-1, 1, (9, 2, 1))}
    arrays = {name: (unit * array).astype("float32") for name, array in arrays.items()}
    sets = PruningTarget(0.75, allocation=how, structure="block(2,4)").sets(arrays, 1.0)
    kept = [np.count_nonzero(sets[n](w).reshape(-1, *w.shape[-2:]).any(axis=(1, 2))) for n, w in arrays.items()]
    assert sum(kept) == round(0.25 * 18) if how != "uniform" else kept == [2, 2]


def test_slices_are_divided_by_kernel_unless_told():
    """Of filters of unlike sizes a half in each kernel; blocks, of one size, by one threshold."""
    arrays = {"a": np.arange(1.0, 9).reshape(2, 4), "b": 100 * np.arange(1.0, 13).reshape(6, 2)}

    def kept(structure, **how):
        sets = PruningTarget(0.5, structure=structure, **how).sets(arrays, 1.0)
        return [s.living(s(arrays[n].astype("float32"))) for n, s in sets.items()]

    assert kept("filter") == [2, 1]
    assert kept("row") == [2, 1] and kept("column") == [1, 3]
    assert kept("filter", allocation="global") == [1, 2]
    assert kept("block(1,2)") == [1, 4]


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ({"sparsity": 0.5, "structure": "2:4"}, "PruningTarget: exactly one of .*Received: sparsity=0.5, structure="),
        ({"sparsity": None}, "PruningTarget: exactly one of .*Received: sparsity=None, structure='element'"),
        ({"structure": "2:4", "allocation": "erk"}, "'2:4' says what each kernel keeps.*allocation='erk'.*Leave these"),
        ({"structure": "2:4", "path": "cubic"}, "'2:4' says what each kernel keeps.*path='cubic'"),
        ({"structure": "2:4", "min_keep": 2}, "'2:4' says what each kernel keeps.*min_keep=2"),
    ],
)
def test_a_structure_or_a_sparsity_gives_the_target(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        PruningTarget(**arguments)


def test_a_target_leaves_out_what_a_structure_does_not_fit():
    layers = keras.layers.Conv1D(4, 2, name="a"), keras.layers.Dense(3, name="b"), keras.layers.Dense(4, name="c")
    layers += (keras.layers.Conv1DTranspose(3, 2, name="d"),)
    model = keras.Sequential([keras.Input((5, 3)), *layers])
    variables = {layer.name: layer.kernel for layer in layers}
    for target in (PruningTarget(structure="2:4"), as_target("me", Sparse(structure="2:4"))):
        told = target.of(model, variables)
        assert list(told.misfits) == ["a", "c"] and "that 4 divides" in told.misfits["a"]
        sets = sets_of("me", told, {n: np.ones(v.shape, "float32") for n, v in variables.items()}, 1.0)
        assert list(sets) == ["b", "d"] and sets["d"].axes == Axes((-1,), (-2,))
        assert np.count_nonzero(sets["d"](np.ones((2, 3, 4), "float32"))[..., :2]) == 12
        assert not target.misfits
    steps = [Step(target=Sparse(structure="2:4"))]
    assert list(Plan(steps=steps).of(model, variables).left_out(variables)) == ["a", "c"]
    assert not Plan(steps=[*steps, Step(target=Sparse(0.5))]).of(model, variables).left_out(variables)


def test_what_has_no_blocks_is_named():
    with pytest.raises(ValueError, match=r"head/bias: structure='block\(1,4\)' .*Exclude it"):
        PruningTarget(0.5, structure="block(1,4)").sets({"head/bias": np.ones(3)}, 0.0)
