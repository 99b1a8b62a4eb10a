"""What signatures say: every argument, its type, and the same in every callback; and what names mean."""

import importlib
import inspect
import pkgutil
from inspect import ismodule

import keras
import pytest
from test_checks import TABLE

import keras_admm as ka

RUNS = [ka.ADMMPrune, ka.ADMMQuantize, ka.ADMMCluster, ka.ADMMLowRank, ka.ADMMAdaptive]
FIRST = {ka.ADMMPrune: 0.5, ka.ADMMQuantize: 4, ka.ADMMCluster: 4, ka.ADMMLowRank: 1, ka.ADMMAdaptive: {"macs": 0.5}}


def parameters(thing):
    return {p.name: p for p in inspect.signature(thing).parameters.values() if p.name != "self"}


SHARED = {name: p for name, p in parameters(ka.ADMM).items() if name != "constraints"}
# What the recipe says where it is None, and low rank, which is retrained in its factors.
BY_RECIPE = {"update_every": None, "penalty": None}
DEFAULTS = dict.fromkeys((ka.ADMMPrune, ka.ADMMAdaptive), BY_RECIPE) | {
    ka.ADMMLowRank: {"update_every": "auto", "penalty": None, "retrain_epochs": 0}
}


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__)
def test_every_callback_has_the_arguments_of_admm(run):
    own = parameters(run)
    assert [name for name in own if name in SHARED] == list(SHARED)
    defaults = {name: p.default for name, p in SHARED.items()} | DEFAULTS.get(run, {})
    assert {name: own[name].default for name in SHARED} == defaults
    assert not [p for p in own.values() if p.kind is p.VAR_KEYWORD]


GIVEN = {
    "layers": "head",
    "exclude": "head",
    "biases": True,
    "learning_rate": {"admm": 0.1},
    "optimizer": keras.optimizers.SGD(),
    "backup_dir": "folder",
    "state": "host",
    "log_layers": True,
    "verbose": 0,
}


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__)
def test_every_argument_arrives(run):
    made = run(FIRST[run], **GIVEN)
    assert {name: getattr(made, name) for name in GIVEN} == GIVEN
    snap, pull = ka.retraining.Snap(), ka.penalties.GradientPenalty(rho=0.5)
    made = run(FIRST[run], admm_epochs=3, retrain_epochs=2, retraining=snap, update_every=7, penalty=pull)
    step = made.plan.steps[0]
    assert (step.admm_epochs, step.retrain_epochs, step.retraining) == (3, 2, snap)
    assert (made.plan.update_every, made.plan.penalty) == (7, pull)


@pytest.mark.parametrize("run", [ka.ADMM, *RUNS, ka.OLMP, ka.TRP], ids=lambda run: run.__name__)
def test_a_typo_names_the_class_and_the_nearest_argument(run):
    with pytest.raises(TypeError, match=rf"^{run.__name__}: .* Received: verbos. Did you mean verbose\?"):
        run(0.5, verbos=1)


def made_by_us(thing):
    return inspect.isroutine(thing) and thing.__module__.startswith("keras_admm")


def own(thing):
    """What a class says of itself and no class above it does: those that override take their types from there."""
    for name, member in vars(thing).items():
        function = member.fget if isinstance(member, property) else member
        function = function.__func__ if isinstance(function, classmethod) else function
        above = [name in vars(base) for base in thing.__mro__[1:]]
        public = name in ("__init__", "__call__") or not name.startswith("_")
        if made_by_us(function) and public and (name == "__init__" or not any(above)):
            yield function


def unsaid(thing):
    """What has no type of a function, or of what is public in a class."""
    for function in own(thing) if inspect.isclass(thing) else [thing]:
        signature = inspect.signature(function)
        names = [
            p.name for p in signature.parameters.values() if p.annotation is p.empty and p.name not in ("self", "cls")
        ]
        if signature.return_annotation is signature.empty and function.__name__ != "__init__":
            names.append("return")
        yield from (f"{function.__qualname__}: {name}" for name in names)


ABSTRACT = [ka.constraints.Set, ka.constraints.Pattern, ka.penalties.Penalty, ka.retraining.Retraining]
ABSTRACT += [ka.layerwise.Method, ka.allocation.MeasuredAllocation, ka.search.Search]
PUBLIC = [getattr(ka, name) for name in ka.__all__] + [make for make, _, _ in TABLE.values()] + ABSTRACT
PUBLIC = [thing for thing in PUBLIC if inspect.isclass(thing) or made_by_us(thing)]


@pytest.mark.parametrize("thing", dict.fromkeys(PUBLIC), ids=lambda thing: f"{thing.__module__}.{thing.__name__}")
def test_every_public_argument_says_its_type(thing):
    assert not list(unsaid(thing))


def test_what_says_no_type_is_found():
    def function(a: int, b) -> None: ...

    class Thing:
        def __init__(self, a): ...

        def method(self): ...

    assert list(unsaid(function)) == [f"{function.__qualname__}: b"]
    Thing.__init__.__module__ = Thing.method.__module__ = "keras_admm"
    assert [each.rpartition(".")[2] for each in unsaid(Thing)] == ["__init__: a", "method: return"]


@pytest.mark.parametrize("name", ["keras_admm", *(f"keras_admm.{n}" for n in ka.__all__ if ismodule(getattr(ka, n)))])
def test_no_function_hides_a_room_of_its_name(name):
    package = importlib.import_module(name)
    inner = [m.name for m in pkgutil.iter_modules(getattr(package, "__path__", [])) if m.name != "__main__"]
    assert all(ismodule(importlib.import_module(f"{name}.{each}")) for each in inner)
    assert [each for each in inner if not ismodule(getattr(package, each))] == []
