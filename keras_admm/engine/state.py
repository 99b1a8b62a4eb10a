"""The state of a run as a flat dict of NumPy arrays: what its `Hold` and its sets are, and whether one can be read."""

import json
from collections.abc import Mapping

import keras
import numpy as np
from keras import ops

from keras_admm import attach, checks

# Of what a state holds; one of another format is refused.
FORMAT = 5
NEEDED = {"plan", "epoch", "epochs", "pending", "progress", "trains", "steps", "rules", "sets"}


def check(name, state):
    """Raises unless this is a state of a run, as this version of keras_admm writes them."""
    if not isinstance(state, Mapping) or "plan" not in state:
        must = "what `state_dict` returned"
        raise TypeError(checks.refused(name, "state", must, state, "Pass engine.state_dict() of the run."))
    given = int(state.get("format", 1))
    if given != FORMAT or not set(state) >= NEEDED:
        raise ValueError(
            f"{name}: a state must be of the format that this version of keras_admm writes, {FORMAT}. Received: one of "
            f"format {given}. Resume the run with the version that saved it, or give a fresh backup_dir."
        )


def of_sets(fixed_sets, keys):
    """The JSON of the sets of steps, `{step: {name: set}}`, by names that every process gives."""
    sets = {
        step: {keys[name]: keras.constraints.serialize(each) for name, each in these.items()}
        for step, these in fixed_sets.items()
    }
    return np.array(json.dumps(sets))


def sets_from(text, names):
    """What `of_sets` was given, from its JSON and a dict of the processes' own names."""
    return {
        int(step): {names[key]: keras.constraints.deserialize(config) for key, config in these.items()}
        for step, these in json.loads(str(text)).items()
    }


def of_hold(hold, keys):
    """The rules of a hold and all that moves them, a flat dict."""
    rules = {keys[name]: keras.saving.serialize_keras_object(rule) for name, rule in hold.rules.items()}
    state = {"rules": np.array(json.dumps(rules))}
    for name, its in hold.states.items():
        state |= {f"target/{keys[name]}": ops.convert_to_numpy(its.target)}
        state |= {f"rho/{keys[name]}": ops.convert_to_numpy(its.rho)}
        state |= {f"own/{own}/{keys[name]}": ops.convert_to_numpy(v) for own, v in its.own.items()}
    return state


def into_hold(hold, state, keys):
    """Have a hold go on from what `of_hold` returned."""
    saved = json.loads(str(state["rules"]))
    for name, its in hold.states.items():
        own = _own(state, keys[name])
        its.require({each: (value.shape, str(value.dtype)) for each, value in own.items()})
    hold.set_rules({name: _rule(saved[keys[name]]) for name in hold.rules})
    for name, its in hold.states.items():
        its.target.assign(state[f"target/{keys[name]}"])
        its.rho.assign(state[f"rho/{keys[name]}"])
        for own, value in _own(state, keys[name]).items():
            its.own[own].assign(value)


def _own(state, key):
    """The values of the variables of a rule's own, by their names."""
    parts = {each: each.split("/", 2) for each in state if each.startswith("own/")}
    return {own: state[each] for each, (_, own, of) in parts.items() if of == key}


def _rule(config):
    """A `StepRule` from its config: of whatever class there is in this process, registered with Keras or not."""
    with keras.saving.custom_object_scope({kind.__name__: kind for kind in _kinds(attach.StepRule)}):
        return keras.saving.deserialize_keras_object(config)


def _kinds(kind):
    """All subclasses of a class that there are."""
    for each in kind.__subclasses__():
        yield from (each, *_kinds(each))
