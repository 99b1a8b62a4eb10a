"""The way through a model that finds its groups."""

import keras
from keras import tree

from keras_admm import weights
from keras_admm.graph import calls as graph_calls
from keras_admm.graph.groups import operations
from keras_admm.graph.groups.collection import collected
from keras_admm.graph.groups.group import WRITES
from keras_admm.graph.groups.result import Term
from keras_admm.graph.groups.widths import Widths
from keras_admm.graph.kind import groups_of, is_changed, is_layer_class, uses_of


def of(model, layers=None, exclude=None):
    """Finds the channels of a model that live or die together: coupled groups for structured pruning.

    What is added, multiplied or otherwise joined place by place is one group; what a layer concatenates, flattens or
    splits is followed. A group's slices are kernels, biases, gammas and betas, such that a group whose slices that
    write are zero has channels that are exactly zero on their way, up to the first activation that makes another
    constant of zero. What the model takes and gives never shrinks, nor do channels of which others would change when
    they leave (those that layer normalization or a softmax goes over), nor what a layer without a rule takes.

    Args:
        model: a built Sequential or Functional model.
        layers: which kernels may be made smaller, same forms as in `ka.ADMM`: a group leaves only if all kernels that
            write it are chosen. Kernels that read it shrink with it, chosen or not.
        exclude: which may not, same forms.

    Returns:
        `Groups`.

    Raises:
        TypeError: for something else than a model.
        ValueError: for a model that is not built, or has no graph.

    The labels that channels carry, united where they meet, follow NVIDIA's Model Optimizer; what "together" means,
    Chen et al., "Only Train Once", arXiv:2107.07467 (zero-invariant groups) and Fang et al., "DepGraph",
    arXiv:2301.12900.

    Example: what is added is one group, of two kernels, which the last layer reads.

    >>> import keras
    >>> x = keras.Input((3,))
    >>> a = keras.layers.Dense(2, use_bias=False, name="a")(x)
    >>> b = keras.layers.Dense(2, use_bias=False, name="b")(x)
    >>> model = keras.Model(x, keras.layers.Dense(1, name="c")(keras.layers.Add()([a, b])))
    >>> found = of(model)
    >>> print(found.groups[0].name, *found.groups[0].slices, sep="\\n")
    a[0]
    Slice(a/kernel, axis=1, indices=[0], 'writes')
    Slice(b/kernel, axis=1, indices=[0], 'writes')
    Slice(c/kernel, axis=0, indices=[0], 'reads')
    >>> found
    Groups({'a': 2}, frozen=[], uncounted=[])
    >>> found.macs(), found.macs([True, False]), found.parameters([True, False])
    (14, 7, 8)
    """
    weights.check_model("graph.groups.of", model)
    calls = graph_calls.of(model, "its groups can be found")
    terms = []
    widths = Widths(lambda call, widths: _follow(call, widths, terms))
    for call in calls:
        widths.layer = call.layer
        _follow(call, widths, terms)
    widths.layer = None
    for x in tree.flatten(calls.outputs):
        for labels in widths.axes(x):
            widths.freeze(labels, None)
    _leave_out(model, layers, exclude, widths)
    terms, unknown = _known(terms, weights.kernels(model))
    return collected(model, calls, widths, terms, unknown)


def _follow(call, widths, terms):
    """Asks the rule of a call's layer."""
    layer = call.layer
    rule = groups_of(layer) if is_layer_class(type(layer)) else operations.rule_of(layer)
    why = _why_unknown(rule, call)
    if why:
        _freeze(call, why, widths)
    else:
        rule(layer, call, widths)
    _count(call, terms, widths.times)


def _count(call, terms, times):
    """Takes down what a call costs; of a model that a layer holds, what its calls do."""
    uses = uses_of(call.layer)
    if uses is not None:
        ends = call.reads()[0], call.outputs[0]
        terms.append(Term(call.layer, uses, ends, weights.kernels(call.layer), times))
    elif graph_calls.has_graph(call.layer):
        for inner in graph_calls.of(call.layer, "its MACs can be counted"):
            _count(inner, terms, times)


def _known(terms, kernels):
    """The terms that can be told for given sizes, and the ids of the kernels that have another, or none."""
    untold = {id(kernel) for term in terms if not term.is_known() for kernel in term.kernels}
    known = [term for term in terms if untold.isdisjoint(map(id, term.kernels))]
    return known, {id(kernel) for kernel in kernels} - {id(kernel) for term in known for kernel in term.kernels}


def _why_unknown(rule, call):
    if rule is None:
        return "is of a class that has no rule for groups (see keras_admm.graph.register)"
    if is_changed(call.layer):
        return "is quantized, has factors of LoRA, or a `call` of its own"
    if any(isinstance(x, keras.Variable) for x in tree.flatten((call.args, call.kwargs))):
        return "takes a weight as it is, outside of the layer that has it"
    # A rule from outside of this package may know what becomes of constants.
    unknown = rule.__module__.startswith(__package__) and rule not in operations.TAKE_CONSTANTS
    return "takes a constant along with them, which cannot shrink" if unknown and call.constants() else ""


def _freeze(call, why, widths):
    """What is not known is left as it is."""
    for x in call.reads():
        for labels in widths.axes(x):
            widths.freeze(labels, why)
    for variable in call.variables.values():
        for axis in range(len(variable.shape)):
            widths.carry(variable, axis, None, WRITES)
    if any(len(variable.shape) > 1 for variable in call.variables.values()):
        widths.note(why)


def _leave_out(model, layers, exclude, widths):
    if layers is None and exclude is None:
        return
    chosen = {id(v) for v in weights.select(model, layers, exclude, training=False).values()}
    kernels = {id(v) for v in weights.kernels(model)} - chosen
    for (key, axis), labels in widths.carried.items():
        if key in kernels and WRITES in widths.roles[key, axis]:
            widths.freeze(labels, None)
