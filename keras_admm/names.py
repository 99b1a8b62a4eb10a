"""Patterns for names of variables: which pattern fits which variable, and which of several counts."""

import itertools
import re
from fnmatch import fnmatchcase

WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def fitting(pattern, names):
    """Those of the names that a pattern fits: a shell wildcard, for a whole path or one part of it between slashes.

    What is written just as a name, or as a part of one, fits that alone, though its brackets could be a wildcard.

    Example:

    >>> fitting("w[0]", ["net/w0", "net/w[0]"]), fitting("w[0]", ["net/w0"]), fitting("w*", ["net/w0", "net/b"])
    (['net/w[0]'], ['net/w0'], ['net/w0'])
    """
    exact = [name for name in names if pattern in _parts(name)]
    return exact or [name for name in names if any(fnmatchcase(part, pattern) for part in _parts(name))]


def last_fitting(patterns, names):
    """A dict of the names that patterns of a mapping `{pattern: value}` fit to values: the last one written counts.

    Example:

    >>> last_fitting({"*": 0.5, "head": 0.9}, ["net/body/kernel", "net/head/kernel"])
    {'net/body/kernel': 0.5, 'net/head/kernel': 0.9}
    """
    found = {name: value for pattern, value in patterns.items() for name in fitting(pattern, names)}
    return {name: found[name] for name in names if name in found}


def idle(patterns, names):
    """The patterns that fit none of the names."""
    return [pattern for pattern in patterns if not fitting(pattern, names)]


def unused(name, taken):
    """The name, with the first number from 2 on behind it that makes it another where it is taken.

    Example:

    >>> unused("d", {"c"}), unused("d", {"d", "d_2"})
    ('d', 'd_3')
    """
    several = (f"{name}_{number}" for number in itertools.count(2))
    return next(each for each in itertools.chain([name], several) if each not in taken)


def _parts(name):
    return name, *name.split("/")


def words(name):
    """The words of a variable's own name, in small letters.

    Example:

    >>> words("upscale_kernel"), words("positionBias_2")
    (['upscale', 'kernel'], ['position', 'bias'])
    """
    return [word.lower() for word in WORD.findall(name)]
