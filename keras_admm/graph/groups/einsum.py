"""Rules for groups by the letters of an equation: `EinsumDense`, `keras.ops.einsum`, and products of matrices."""

from keras_admm.graph.groups.activations import applied
from keras_admm.graph.groups.group import READS, WRITES

SUMMED = "sums over them alone"


def letters(equation, ranks):
    """The axes of an einsum's operands and of its result as lists of letters, dots spelled out as numbers.

    Args:
        equation: str such as `"...a,ab->...b"`. Without an arrow, as in NumPy, the letters that occur once go on, in
            the order of the alphabet.
        ranks: the number of axes of each operand.

    Example:

    >>> letters("...a,ab->...b", [3, 2])
    ([[0, 1, 'a'], ['a', 'b']], [0, 1, 'b'])
    """
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    if not arrow:
        once = sorted(letter for letter in inputs if letter.isalpha() and inputs.count(letter) == 1)
        output = "".join(["..." if "..." in inputs else "", *once])
    operands, dots = [], 0
    for text, rank in zip(inputs.split(","), ranks, strict=True):
        count = rank - len(text.replace("...", ""))
        dots = max(dots, count if "..." in text else 0)
        operands.append((text, count))
    spelled = [_spelled(text, range(dots - count, dots)) for text, count in operands]
    return spelled, _spelled(output, range(dots))


def _spelled(text, numbers):
    before, dots, after = text.partition("...")
    return [*before, *(numbers if dots else ()), *after]


def einsum_dense(layer, call, widths):
    """A letter of the input that goes on is a place, one that does not is read; another of the kernel is written."""
    (x,) = call.reads()
    (given, kernel), out = letters(layer.equation, [len(x.shape), len(layer.kernel.shape)])
    labels = dict(zip(given, widths.axes(x), strict=True))
    for letter in given:
        if letter not in kernel and letter not in out:
            widths.freeze(labels[letter], SUMMED)
    for axis, letter in enumerate(kernel):
        if letter in out:
            new = labels[letter] if letter in given else widths.new(layer.kernel.shape[axis])
            labels[letter] = widths.carry(layer.kernel, axis, new, WRITES)
        else:
            widths.carry(layer.kernel, axis, labels.get(letter), READS)
    axes = [labels.get(letter) for letter in out]
    if layer.bias is not None:
        _biased(layer.bias, axes, widths)
    widths.give(call.outputs[0], applied(layer.activation, axes, widths))


def _biased(bias, axes, widths):
    """A bias leaves with the channels; where it has no axis for them it makes zero another value."""
    missing = len(axes) - len(bias.shape)
    for axis, labels in enumerate(axes):
        if labels is not None and axis >= missing and bias.shape[axis - missing] == len(labels):
            axes[axis] = widths.carry(bias, axis - missing, labels, WRITES)
        else:
            widths.freeze(labels, "adds a bias along them")


def einsum(layer, call, widths):
    operands = list(call.args)
    given, out = letters(layer.subscripts, [len(x.shape) for x in operands])
    product(operands, given, out, call, widths)


def product(operands, given, out, call, widths):
    """A sum of products of tensors: the same letter of two lives or dies together.

    Args:
        operands: list of `Tensor`.
        given, out: lists of letters, of each operand and of the result.
        call: the `Call`.
        widths: the `Widths`.
    """
    labels = {}
    for letter in dict.fromkeys(letter for each in given for letter in each):
        found = [
            (size, axis)
            for x, own in zip(operands, given, strict=True)
            for each, size, axis in zip(own, x.shape, widths.axes(x), strict=True)
            if each == letter
        ]
        wide = [axis for size, axis in found if size != 1] or [found[0][1]]
        labels[letter] = widths.unite(*wide)
        if letter not in out and len(wide) < 2:
            widths.freeze(labels[letter], SUMMED)
    widths.give(call.outputs[0], [labels.get(letter) for letter in out])


def matmul(layer, call, widths):
    """The last axis of the first with the last but one of the second; those before are joined."""
    operands = list(call.args)
    ranks = [len(x.shape) for x in operands]
    if min(ranks) < 2:
        for x in operands:
            for labels in widths.axes(x):
                widths.freeze(labels, "multiplies with a vector")
        return
    product(operands, *letters("...ik,...kj->...ij", ranks), call, widths)
