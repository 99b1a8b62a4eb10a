"""Names of variables and patterns: which pattern fits which variable, and which of several counts."""

import re
from fnmatch import fnmatchcase

WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def fits(pattern, name):
    """Whether a shell wildcard fits a variable's path, or one part of it between slashes; or is that very name."""
    return any(fnmatchcase(part, pattern) or part == pattern for part in (name, *name.split("/")))


def last_fitting(patterns, name, otherwise=None):
    """The value of a mapping `{pattern: value}` for a name: of several patterns that fit, the last one written counts.

    Example:

    >>> last_fitting({"*": 0.5, "head": 0.9}, "net/head/kernel")
    0.9
    """
    return next((value for pattern, value in reversed(patterns.items()) if fits(pattern, name)), otherwise)


def idle(patterns, names):
    """The patterns that fit none of the names."""
    return [pattern for pattern in patterns if not any(fits(pattern, name) for name in names)]


def words(name):
    """The words of a variable's own name, in small letters.

    Example:

    >>> words("upscale_kernel"), words("positionBias_2")
    (['upscale', 'kernel'], ['position', 'bias'])
    """
    return [word.lower() for word in WORD.findall(name)]
