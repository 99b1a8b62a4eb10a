"""What identifies a run when it is resumed by another process: JSON of configs, and where two of them differ."""

import functools
import hashlib
import json
import sys
import types
import warnings
from collections.abc import Mapping, Set

import keras
import numpy as np

from keras_admm import attach
from keras_admm.errors import named_few
from keras_admm.plan import Plan, Step

LONG = 2000  # characters of JSON of one value, such as a mask, beyond which a hash stands for it
ORDER = "in order"  # of the patterns of a mapping: of several that fit, the last counts
UNKNOWN = "not compared"
NAMED = {"Layer", "Optimizer"}  # of Keras and tf_keras: their configs have names that a process gives
BUILT_IN = (type, types.BuiltinFunctionType, np.ufunc, type(np.sum))
PYTHON = "{}.{}".format(*sys.version_info)  # each has code of its own for the same functions


class Identity:
    """What a run is, for whoever resumes it. It is taken before anything is called that a plan brings.

    Args:
        name: str, name used in error messages.
        plan: the `keras_admm.plan.Plan`.
        variables: dict of names to the compressed variables.
    """

    def __init__(self, name, plan, variables):
        keys = attach.structural(variables)
        shapes = {keys[n]: list(v.shape) for n, v in variables.items()}
        self._name = name
        self._now = {"plan": described(plan, keys), "weights": shapes}

    @property
    def text(self):
        """The JSON that a state keeps as its `"plan"`."""
        return json.dumps(self._now)

    def check(self, state, epochs):
        """Raises the sentence that says why a state cannot be resumed by this run, of so many epochs or None."""
        differing = named_few(differences(self._now, json.loads(str(state["plan"]))))
        if differing:
            raise ValueError(
                f"{self._name}: a state can only be resumed by the run that saved it. Received: the state of another "
                f"plan or model: {differing}. Give a fresh backup_dir, or what the state was saved with."
            )
        if epochs is not None and epochs < int(state["epochs"]):
            raise ValueError(
                f"{self._name}: a run is resumed with at least the epochs that it was begun with. Received: {epochs}, "
                f"where it was begun with {int(state['epochs'])} and has passed {int(state['epoch'])}. Fit for as many "
                "again, or give a fresh backup_dir."
            )

    def say_unknown(self):
        """Warn of objects of which a state says too little to compare them."""
        places = named_few(unknown(self._now))
        if places:
            warnings.warn(
                f"{self._name}: a run is resumed with the plan that it was begun with. Received: {places}, of which "
                "only the class can be compared with what it was then. See to it that it is the same; a get_config() "
                "makes it known.",
                stacklevel=4,
            )


def described(thing, names=()):
    """What a plan, a constraint, a mapping, a callable or a number is, in JSON types, the same in every process.

    A callable is described by its code, its defaults, what it has closed over and what a `partial` gives it; not by
    what it reads from its module. Of objects without a config only the class is known: see `unknown`.

    Args:
        thing: what to describe.
        names: dict of the names of variables that may be keys of mappings, to names that every process gives them.
    """
    return _Description(dict(names)).of(thing)


class _Description:
    def __init__(self, names):
        self._names = names
        self._inside = []  # functions that are being described: they may hold themselves

    def of(self, thing):
        if thing is None or isinstance(thing, (bool, int, float, str)):
            return thing
        if isinstance(thing, np.generic):
            return thing.item()
        if isinstance(thing, np.ndarray):
            return thing.tolist() if thing.size * 20 < LONG else _hash(str(thing.shape).encode(), thing.tobytes())
        if isinstance(thing, Mapping):
            return self._mapping(thing)
        if isinstance(thing, (Plan, Step)):
            return {"class": type(thing).__qualname__, **self._items(thing.get_config())}
        if isinstance(thing, tuple) and hasattr(thing, "_asdict"):
            return {"class": type(thing).__qualname__, **self._items(thing._asdict())}
        if isinstance(thing, Set):
            return self._short(sorted((self.of(each) for each in thing), key=json.dumps))
        if isinstance(thing, (list, tuple)):
            return self._short([self.of(each) for each in thing])
        return self._callable(thing)

    def _mapping(self, thing):
        keys = [self._names.get(key, str(key)) for key in thing]
        return {ORDER: keys, **{key: self.of(value) for key, value in zip(keys, thing.values(), strict=True)}}

    def _items(self, thing):
        return {str(key): self.of(value) for key, value in thing.items()}

    def _callable(self, thing):
        if isinstance(thing, functools.partial):
            return {
                "partial": self.of(thing.func),
                "args": self.of(thing.args),
                "keywords": self._items(thing.keywords),
            }
        if isinstance(thing, types.MethodType):
            return {"method": self._function(thing.__func__), "of": self.of(thing.__self__)}
        if isinstance(thing, types.FunctionType):
            return self._function(thing)
        if isinstance(thing, BUILT_IN):
            return {"callable": thing.__name__}
        return self._object(thing)

    def _function(self, thing):
        if thing in self._inside:
            return {"callable": thing.__qualname__}
        self._inside.append(thing)
        closed = zip(thing.__code__.co_freevars, thing.__closure__ or (), strict=True)
        found = {
            "callable": thing.__qualname__,
            "code": {"python": PYTHON, **_hash(*_code(thing.__code__))},
            "defaults": self.of(thing.__defaults__ or ()),
            "keywords": self._items(thing.__kwdefaults__ or {}),
            "closure": {name: self._cell(cell) for name, cell in closed},
        }
        self._inside.pop()
        return found

    def _cell(self, cell):
        try:
            return self.of(cell.cell_contents)
        except ValueError:  # empty as yet
            return None

    def _object(self, thing):
        kind = type(thing)
        found = {"class": kind.__qualname__}
        inherited = getattr(kind, "get_config", None) is keras.constraints.Constraint.get_config
        if NAMED & {each.__name__ for each in kind.__mro__} or inherited and vars(thing):
            return {**found, UNKNOWN: True}
        try:
            return {**found, "config": self._items(thing.get_config())}
        except Exception:  # there is none, or of a constraint of others' one that is not written
            return {**found, UNKNOWN: True}

    def _short(self, value):
        text = json.dumps(value)
        return value if len(text) <= LONG else _hash(text.encode())


def _code(code):
    """The parts of a function's code that are the same in every process of one Python, as bytes."""
    yield from (code.co_code, repr(code.co_names).encode())
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            yield from _code(each)
        else:
            yield repr(sorted(map(repr, each)) if isinstance(each, frozenset) else each).encode()


def _hash(*parts):
    return {"sha256": hashlib.sha256(b"\0".join(parts)).hexdigest()}


def unknown(description, path=""):
    """The places in a description where two things of one class are not told apart, with their classes."""
    if isinstance(description, list):
        for i, each in enumerate(description):
            yield from unknown(each, f"{path}[{i}]")
    elif isinstance(description, dict) and UNKNOWN in description:
        yield f"{path} ({description['class']})"
    elif isinstance(description, dict):
        for key, each in description.items():
            yield from unknown(each, f"{path}.{key}" if path else key)


def differences(now, then, path=""):
    """Sentences' parts that say where two descriptions differ, `rho: 0.5 for 0.1`."""
    if isinstance(now, dict) and isinstance(then, dict):
        for key in [*now, *(k for k in then if k not in now)]:
            yield from differences(now.get(key), then.get(key), f"{path}.{key}" if path else key)
    elif isinstance(now, list) and isinstance(then, list) and len(now) == len(then):
        for i, pair in enumerate(zip(now, then, strict=True)):
            yield from differences(*pair, f"{path}[{i}]")
    elif now != then:
        yield f"{path}: {json.dumps(now)} where the state has {json.dumps(then)}"
