"""Validators of arguments: one for each kind of value, and one sentence for all of them.

Each returns the value, as a plain Python one where that is what it means, or raises TypeError for what is of another
kind and ValueError for what is out of range: what is expected, what was received, what to do.
"""

import inspect
import math
import os
import sys

import numpy as np

LONGEST = 255  # bytes of the name of a file, on every file system in use
SHOWN = 120  # characters of a value in a sentence


def refused(name, argument, must, value, remedy):
    """The sentence of a wrong argument.

    Args:
        name: str, the class or function that the user called.
        argument: str, the argument's name.
        must: str, what it must be.
        value: what it is.
        remedy: str, a whole sentence.

    Example:

    >>> refused("ADMM", "rho", "a number >= 0", -1, "Start with 1e-3.")
    'ADMM: `rho` must be a number >= 0. Received: rho=-1. Start with 1e-3.'
    """
    return f"{name}: `{argument}` must be {must}. Received: {argument}={shown(value)}. {remedy}"


def shown(value):
    """A value as error messages show it: short, and never an error itself."""
    try:
        text = repr(value)
    except Exception:  # of an object whose own repr fails
        text = f"an object of {type(value).__name__}"
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def with_settings(thing, settings):
    """What the `repr` of an object says: its class, and its settings but for those that are None."""
    told = (f"{name}={value!r}" for name, value in settings.items() if value is not None)
    return f"{type(thing).__name__}({', '.join(told)})"


def boolean(name, argument, value):
    """True or False, of Python or of NumPy."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(refused(name, argument, "True or False", value, "Pass one of these."))
    return bool(value)


def integer(name, argument, value, least=1, most=None, remedy=None):
    """A whole number from `least` to `most`."""
    remedy = remedy or f"Pass an int such as {max(least, 1)}."
    must = f"an integer >= {least}" if most is None else f"an integer from {least} to {most:,}"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(refused(name, argument, must, value, remedy))
    if value < least or most is not None and value > most:
        raise ValueError(refused(name, argument, must, value, remedy))
    return int(value)


IN_RANGE = "Pass a number in this range."


def number(name, argument, value, least, must, remedy=IN_RANGE):
    """A real number that is finite as a float, `value >= least`, which `must` says in words."""
    return _within(name, argument, value, (least, sys.float_info.max), must, remedy)


def share(name, argument, value, must, remedy=IN_RANGE):
    """A share, `0 <= value < 1`, which `must` says in words."""
    return _within(name, argument, value, (0, math.nextafter(1, 0)), must, remedy)


def _within(name, argument, value, ends, must, remedy):
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(refused(name, argument, must, value, remedy))
    if not ends[0] <= value <= ends[1]:  # nor is NaN
        raise ValueError(refused(name, argument, must, value, remedy))
    return float(value)


def choice(name, argument, value, choices):
    """One of a few strings, or None where that is one of them."""
    if not (value is None or isinstance(value, str)) or value not in choices:
        must = f"one of {', '.join(map(repr, choices))}"
        raise ValueError(refused(name, argument, must, value, "Choose one of these."))
    return value


def text(name, argument, value):
    """A string that is not empty."""
    if not isinstance(value, str) or not value:
        raise TypeError(refused(name, argument, "a str", value, "Pass a name."))
    return value


def path(name, argument, value):
    """The path of a file or a folder: a str or a path object that a file system can hold."""
    must = "the path of a file or a folder, a str or a pathlib.Path"
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(refused(name, argument, must, value, "Pass for example 'model.kadmm'."))
    given = os.fspath(value)
    if not isinstance(given, str) or not given or "\0" in given:
        raise ValueError(refused(name, argument, must, value, "Pass for example 'model.kadmm'."))
    names = [len(os.fsencode(part)) for part in given.split(os.sep)]
    if max(names) > LONGEST or sum(names) + len(names) > LONGEST * 15:
        raise ValueError(refused(name, argument, f"{must}, no name in it above {LONGEST} bytes", value, "Shorten it."))
    return value


def array(name, argument, value, must="an array of numbers"):
    """What NumPy makes an array of numbers or booleans of, as that array."""
    try:
        made = np.asarray(value)
    except Exception:  # rows of several lengths; objects that do not know what they are
        made = np.empty((), object)
    if not (np.issubdtype(made.dtype, np.number) or made.dtype == bool) or np.iscomplexobj(made):
        raise TypeError(refused(name, argument, must, value, "Pass a NumPy array or a list of numbers."))
    return made


def arrays(name, argument, value, must):
    """An array, or a list or dict of arrays, one at least."""
    if isinstance(value, (list, tuple, dict)) and len(value):
        for each in value.values() if isinstance(value, dict) else value:
            arrays(name, argument, each, must) if isinstance(each, (list, tuple, dict)) else array(
                name, argument, each, must
            )
        return value
    array(name, argument, value, must)
    if not is_array(value):
        raise TypeError(refused(name, argument, must, value, "Pass a NumPy array or a list of numbers."))
    return value


def is_array(value):
    """Whether it is an array: those of NumPy, TensorFlow, JAX, torch and pandas have no class in common."""
    return hasattr(value, "shape")


def takes(name, argument, value, count, must):
    """A function that can be called with so many arguments, as far as its signature tells."""
    if not callable(value) or isinstance(value, type):
        raise TypeError(refused(name, argument, must, value, "Pass such a function."))
    try:
        inspect.signature(value).bind(*[None] * count)
    except TypeError:
        raise TypeError(refused(name, argument, must, value, f"Give it {count} parameters.")) from None
    except ValueError:  # built in, without a signature
        pass
    return value
