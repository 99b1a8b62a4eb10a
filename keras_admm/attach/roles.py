"""Names of a model's and its optimizers' variables that are the same in every process: by structure and by role."""

import re

from keras_admm import weights
from keras_admm.attach import keras_optimizer, tf_keras_optimizer

# What Keras puts behind a name that it has given before: it counts the layers of a process, not those of a model.
AUTOMATIC = re.compile(r"_\d+(?=[/_]|$)")


def structural(names):
    """A dict of names to names without automatic numbers; of those that are then the same, by their order."""
    seen, found = {}, {}
    for name in names:
        plain = AUTOMATIC.sub("", name)
        seen[plain] = seen.get(plain, 0) + 1
        found[name] = plain if seen[plain] == 1 else f"{plain}#{seen[plain]}"
    return found


def variables_by_role(model, optimizers):
    """What a resumed run must find as it was, `{name: variable}`: the model's variables, and its optimizers' own.

    Args:
        model: a built model.
        optimizers: list of built optimizers. Their variables are named by what they are of which model variable.
    """
    named = weights.named(model)
    by_structure = structural(named)
    found = {f"model/{by_structure[name]}": variable for name, variable in named.items()}
    for i, optimizer in enumerate(optimizers):
        variables = optimizer.variables() if callable(optimizer.variables) else optimizer.variables
        ours = [v for v in variables if not weights.path(v).split("/")[-1].startswith("admm_")]
        roles = [_role(weights.path(v), by_structure) for v in ours]
        for role, variable in zip(_numbered(roles), ours, strict=True):
            found[f"optimizer/{i}/{role}"] = variable
    return found


def built_for(model, optimizers):
    """The names of the variables that each optimizer was built for, in order: a list of lists of names by structure."""
    named = weights.named(model)
    keys = structural(named)
    names = {id(variable): keys[name] for name, variable in named.items()}
    return [[names[id(v)] for v in _library(model).built_for(o, named.values())] for o in optimizers]


def build_optimizers(model, optimizers, names):
    """Build the optimizers that are not yet, as those of a `train_step` in its first step, for such names."""
    named = weights.named(model)
    variables = {key: named[name] for name, key in structural(named).items()}
    before = built_for(model, optimizers)
    for optimizer, already, wanted in zip(optimizers, before, names, strict=False):
        if wanted and not already and all(name in variables for name in wanted):
            _library(model).build(optimizer, model, [variables[name] for name in wanted])


def _library(model):
    return tf_keras_optimizer if weights.is_tf_keras(model) else keras_optimizer


def _role(path, by_structure):
    """`adam_1/net_dense_1_kernel_momentum` -> `adam/*_momentum of net/dense/kernel`."""
    flat = path.replace("/", "_")
    owners = [name for name in by_structure if name.replace("/", "_") in flat]
    if not owners:
        return AUTOMATIC.sub("", path)
    owner = max(owners, key=len)
    role = AUTOMATIC.sub("", flat.replace(owner.replace("/", "_"), "*"))
    return f"{role} of {by_structure[owner]}"


def _numbered(roles):
    seen = {}
    for role in roles:
        seen[role] = seen.get(role, 0) + 1
        yield role if seen[role] == 1 else f"{role}#{seen[role]}"
