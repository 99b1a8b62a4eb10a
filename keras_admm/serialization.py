"""Configs of Keras objects in which a layer that occurs twice is known to be one, and objects made of them."""

import contextlib
import copy
import functools
import random
import types
import warnings

import keras
from keras.src.backend.common import global_state
from keras.src.models.functional import Functional

from keras_admm.graph import every_layer

ID = "shared_object_id"  # Keras's own mark of an object that a config holds more than once
PLACE = "place"  # of a Functional model's config among others
SEEN, MADE = "shared_objects/id_to_config_map", "shared_objects/id_to_obj_map"


class _Seen(dict):
    """Keras's record of what it has serialized, as if it had met each of some objects before: it marks them all."""

    def __init__(self, ids):
        super().__init__()
        self._ids = set(ids)

    def __contains__(self, key):
        return key in self._ids

    def __getitem__(self, key):
        return {}

    def __setitem__(self, key, value):
        pass


def described(thing, layers):
    """The config of a layer or a model in which each of `layers`, wherever it occurs, has the mark `id(layer)`.

    Keras marks the second of two occurrences and then the first, of which a nested model has meanwhile made a copy.
    """
    with _set(SEEN, _Seen(map(id, layers))):
        return keras.saving.serialize_keras_object(thing)


def at_hand(layers):
    """Classes of the layers, and classes and functions of what they have, by name: registered or not."""
    found = {}
    for layer in layers:
        for each in (layer, *vars(layer).values()):
            named = each if isinstance(each, (types.FunctionType, type)) else type(each)
            if named.__module__ != "builtins" and not named.__module__.startswith("keras."):
                found[named.__name__] = named
    return found


def as_keras_reads(model):
    """The config of a graph of layers as Keras has to be given it to make one layer of what is one.

    Keras marks a layer that occurs twice only where it has not copied the first config by then, and takes the calls
    that a config counts for all calls of a layer.
    """
    config = numbered(described_alone(model))
    if not _marks(config):
        return type(model).get_config(model)
    made = {}
    outer = {"registered_name": "Functional", "config": config}
    places = list(_functionals(outer))
    for number, inner in enumerate(places):
        inner[PLACE] = number
    with one_object_each(made), warnings.catch_warnings(), same_random_numbers():
        warnings.simplefilter("ignore")
        cls = _Functional if isinstance(model, Functional) else type(model)
        own = {type(layer).__name__: type(layer) for layer in every_layer(model)}
        with keras.saving.custom_object_scope(own | {"Functional": _Functional}):
            cls.from_config(copy.deepcopy(config))
    for number, inner in enumerate(places):
        inner.pop(PLACE)
        if (PLACE, number) in made:
            inner.update(_all_later(inner, made[PLACE, number]))
    return config


def tell_keras(model):
    """Lets a model of tied weights describe itself as `as_keras_reads` does, in any file that Keras writes of it."""
    config = numbered(described_alone(model))
    if _marks(config):
        model.get_config = functools.partial(_config, model)


def _config(model):
    ours = isinstance(global_state.get_global_attribute(SEEN), _Seen)
    return type(model).get_config(model) if ours else as_keras_reads(model)


def described_alone(model):
    """The config of a model, without its class, with marks as in `described`."""
    with _set(SEEN, _Seen(map(id, every_layer(model)))):
        return type(model).get_config(model)


def _marks(config):
    found = []
    _walk(config, found.append)
    return found


def _functionals(thing):
    """Configs of Functional models, those inside first."""
    for each in thing.values() if isinstance(thing, dict) else thing if isinstance(thing, (list, tuple)) else ():
        yield from _functionals(each)
    if isinstance(thing, dict) and thing.get("registered_name") == "Functional" and "layers" in thing["config"]:
        yield thing["config"]


@contextlib.contextmanager
def same_random_numbers():
    """Keras draws the seeds of initializers from Python's generator: describing a model must not move it."""
    before = random.getstate()
    try:
        yield
    finally:
        random.setstate(before)


def numbered(config):
    """The config with marks on what occurs more than once alone: 1, 2 and so on, the same for each process."""
    counts = {}
    _walk(config, lambda mark: counts.update({mark: counts.get(mark, 0) + 1}) or mark)
    several = {mark: number for number, mark in enumerate((m for m, c in counts.items() if c > 1), 1)}
    return _walk(config, several.get)


@contextlib.contextmanager
def one_object_each(made):
    """A scope in which a config whose mark is in `made` becomes the object there, and others are added to it."""
    with _set(MADE, made), keras.saving.custom_object_scope({"Functional": _Functional}):
        yield


class _Functional:
    """In the place of Keras's class while a Functional model is made: its layers may have been called before.

    A config counts the calls of a layer in this model. Keras takes that for all of its calls, which is wrong where
    the layer is one of another model too.
    """

    @classmethod
    def from_config(cls, config):
        made, before = global_state.get_global_attribute(MADE), {}
        place = config.pop(PLACE, None)
        for entry in config["layers"]:
            layer = keras.saving.deserialize_keras_object(entry)
            made[entry.setdefault(ID, f"{len(made)} in order")] = layer
            before[entry["name"]] = layer
        # Not before all of them are made: models among them call their layers.
        before = {name: _calls(layer) for name, layer in before.items()}
        made[PLACE, place] = before
        return Functional.from_config(_all_later(config, before))


def _calls(layer):
    """How often a layer that was just made, or met again, has been called in other models."""
    if isinstance(layer, keras.layers.InputLayer):
        return 0
    return len(layer._inbound_nodes)


def _all_later(config, before):
    layers = [{**e, "inbound_nodes": _later(e["inbound_nodes"], before)} for e in config["layers"]]
    ends = {key: _later_ends(config[key], before) for key in ("input_layers", "output_layers")}
    return {**config, "layers": layers, **ends}


def _later(thing, before):
    """Inbound nodes whose tensors come from as many calls later."""
    if isinstance(thing, (list, tuple)):
        return [_later(each, before) for each in thing]
    if not isinstance(thing, dict):
        return thing
    if thing.get("class_name") == "__keras_tensor__":
        history = _later_ends(list(thing["config"]["keras_history"]), before)
        return {**thing, "config": {**thing["config"], "keras_history": history}}
    return {key: _later(value, before) for key, value in thing.items()}


def _later_ends(ends, before):
    if isinstance(ends, (list, tuple)) and len(ends) == 3 and isinstance(ends[0], str):
        return [ends[0], ends[1] + before[ends[0]], ends[2]]
    if isinstance(ends, dict):
        return {key: _later_ends(value, before) for key, value in ends.items()}
    return [_later_ends(each, before) for each in ends]


def _walk(config, change):
    if isinstance(config, (list, tuple)):
        return type(config)(_walk(each, change) for each in config)
    if not isinstance(config, dict):
        return config
    out = {key: _walk(value, change) for key, value in config.items() if key != ID}
    mark = change(config[ID]) if ID in config else None
    return out if mark is None else {**out, ID: mark}


@contextlib.contextmanager
def _set(name, value):
    before = global_state.get_global_attribute(name)
    global_state.set_global_attribute(name, value)
    try:
        yield
    finally:
        global_state.set_global_attribute(name, before)
