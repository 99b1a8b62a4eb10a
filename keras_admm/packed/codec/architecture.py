"""A model's description, as Keras gives it, without what can be said from the rest of it, and back.

`short` leaves out of Sequential and Functional models of standard layers: the defaults, names that Keras would give by
itself, the chain from each layer to the next, and shapes that follow from the input's. Whatever does not come back
the same from `long` stays as it is. A short model or layer is a list (or a name), one that stays is a dict.
"""

import copy
import re

from .defaults import DEFAULTS, FLOAT32
from .errors import malformed

MODULES = {"Sequential": ("keras", None), "Functional": ("keras.src.models.functional", "Functional")}
TENSOR, MARK = "__keras_tensor__", "@"
ABSENT = "-"


def short(described):
    """A description by Keras (`serialize_keras_object`), made short where it can be.

    Args:
        described: dict of JSON.

    Returns:
        A list, or the same dict where there is nothing standard about it.
    """
    plain = _plain(described)
    if plain is None:
        return described
    name, config = plain["class_name"], plain["config"]
    layers, counts, before = [], {}, None
    for layer in config["layers"]:
        layers.append(_short_layer(layer, counts, before, name))
        before = _name(layer)
    ends = [config["input_layers"], config["output_layers"]] if name == "Functional" else []
    out = [name, config["name"], layers, *ends]
    if ends == [[_name(layer), 0, 0] for layer in (config["layers"][0], config["layers"][-1])]:
        out = out[:3]
    return out if long(out) == plain else described


def long(shortened):
    """The description that was made short.

    Raises:
        PackedFileError: for what `short` never makes.
    """
    if isinstance(shortened, dict):
        return shortened
    try:
        return copy.deepcopy(_long(*shortened))  # Keras takes apart what it is given, the defaults with it
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise malformed(f"an architecture that describes no model ({type(error).__name__}: {error})") from error


def _plain(described):
    """A Sequential or Functional model without what follows from the rest; None for anything else."""
    name = described.get("class_name")
    if MODULES.get(name) != (described.get("module"), described.get("registered_name")):
        return None
    config = described["config"]
    if not config.get("layers") or config["layers"][0]["class_name"] != "InputLayer":
        return None
    layers = [_plain_layer(layer) for layer in config["layers"]]
    return _model(name, {**config, "layers": layers})


def _plain_layer(layer):
    inner = _plain(layer)
    if inner is not None:
        layer = {**inner, **{key: layer[key] for key in ("name", "inbound_nodes") if key in layer}}
    elif _standard(layer):
        layer = {key: value for key, value in layer.items() if key != "build_config"}
    if "inbound_nodes" in layer:
        layer = {**layer, "inbound_nodes": _walk(layer["inbound_nodes"], _bare)}
    return layer


def _model(name, config):
    module, registered = MODULES[name]
    return {"module": module, "class_name": name, "config": config, "registered_name": registered}


def _standard(layer):
    return layer["module"] == "keras.layers" and layer["class_name"] in DEFAULTS and not layer["registered_name"]


def _bare(thing):
    """A tensor's place without its shape, which follows."""
    if isinstance(thing, dict) and thing.get("class_name") == TENSOR:
        return _tensor(thing["config"]["keras_history"])
    return None


def _tensor(history):
    """A tensor by its place; Keras asks for a shape and a dtype too, and does not look at them."""
    return {"class_name": TENSOR, "config": {"shape": [], "dtype": "float32", "keras_history": history}}


def _walk(thing, change):
    """A copy of nested lists and dicts, with whatever `change` has an answer for replaced by it."""
    changed = change(thing)
    if changed is not None:
        return changed
    if isinstance(thing, dict):
        return {key: _walk(value, change) for key, value in thing.items()}
    return [_walk(value, change) for value in thing] if isinstance(thing, list) else thing


def _short_layer(layer, counts, before, model):
    guess = _guess(layer["class_name"], counts)
    if "layers" in layer["config"]:
        out = short({key: value for key, value in layer.items() if key not in ("name", "inbound_nodes")})
        if isinstance(out, dict):
            return layer
        # A model among layers is never mistaken for a layer: its second entry is a name.
        out = [*out, *[None] * (5 - len(out))]
    elif _standard(layer):
        out = [layer["class_name"], _less(layer, guess)]
    else:
        return layer
    if model == "Functional" and layer["inbound_nodes"] != _nodes(before):
        out.append(_walk(layer["inbound_nodes"], _marked))
    return out if out[1:] != [{}] else out[0]


def _less(layer, guess):
    """A layer's configuration less the defaults."""
    defaults, config = {**DEFAULTS[layer["class_name"]], "name": guess}, layer["config"]
    out = {key: value for key, value in config.items() if key not in defaults or not _same(defaults[key], value)}
    absent = [key for key in defaults if key not in config]
    return {**out, ABSENT: absent} if absent else out


def _same(a, b):
    return a == b and type(a) is type(b)


def _guess(name, counts):
    """The name that Keras gives to the next layer of a class."""
    counts[name] = counts.get(name, 0) + 1
    snake = re.sub("([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", re.sub(r"\W+", "", name)))
    return snake.lower() + (f"_{counts[name] - 1}" if counts[name] > 1 else "")


def _name(layer):
    """A layer's name; where its own configuration leaves it out, a Functional model tells it, a Sequential one not."""
    return layer["config"].get("name", layer.get("name"))


def _nodes(before):
    """The call of a layer on what the layer before it gave."""
    if before is None:
        return []
    return [{"args": [_tensor([before, 0, 0])], "kwargs": {}}]


def _marked(thing):
    bare = _bare(thing)
    if bare is None:
        return None
    history = bare["config"]["keras_history"]
    return {MARK: history[0] if history[1:] == [0, 0] else history}


def _unmarked(thing):
    if not (isinstance(thing, dict) and list(thing) == [MARK]):
        return None
    history = thing[MARK] if isinstance(thing[MARK], list) else [thing[MARK], 0, 0]
    return _tensor(history)


def _long(model, name, layers, first=None, last=None):
    counts, before, out = {}, None, []
    for layer in layers:
        out.append(_long_layer(layer, counts, before, model))
        before = _name(out[-1])
    names = [_name(layer) for layer in out]
    config = {"name": name, "trainable": True, "layers": out}
    if model == "Sequential":
        config |= {"dtype": FLOAT32, "build_input_shape": out[0]["config"]["batch_shape"]}
    else:
        config |= {"input_layers": first or [names[0], 0, 0], "output_layers": last or [names[-1], 0, 0]}
    return _model(model, config)


def _long_layer(layer, counts, before, model):
    if isinstance(layer, dict):
        _guess(layer["class_name"], counts)
        return layer
    layer = [layer, {}] if isinstance(layer, str) else layer
    guess = _guess(layer[0], counts)
    nested = layer[0] in MODULES
    out = _long(*layer[:5]) if nested else _filled(*layer[:2], guess)
    if model == "Functional":
        nodes = layer[5:] if nested else layer[2:]
        out |= {
            "name": out["config"]["name"],
            "inbound_nodes": _walk(nodes[0], _unmarked) if nodes else _nodes(before),
        }
    return out


def _filled(name, given, guess):
    absent = given.get(ABSENT, [])
    config = {**DEFAULTS[name], "name": guess, **given}
    config = {key: value for key, value in config.items() if key not in absent and key != ABSENT}
    return {"module": "keras.layers", "class_name": name, "config": config, "registered_name": None}
