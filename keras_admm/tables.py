"""Tables as aligned text."""

import textwrap

WIDTH = 100  # characters of a line of what is printed


def aligned(lines, width=None):
    """Lines of cells as text in columns: the first to the left, numbers to the right.

    Args:
        lines: iterable of sequences of strings, as many in each.
        width: int, how many characters a line may have: where it would be longer, the names in the first column go on
            in the next line, broken after a slash where that can be. None: any number.

    Example:

    >>> print(aligned([["layer", "kept"], ["conv", "1,000"]]))
    layer   kept
    conv   1,000
    >>> print(aligned([["layer", "kept"], ["block/conv", "1,000"]], width=13))
    layer    kept
    block/  1,000
     conv
    """
    lines = list(lines)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    if width is not None:
        lines = list(_narrow(lines, max(width - sum(widths[1:]) - 2 * len(widths[1:]), 2)))
        widths[0] = max(len(line[0]) for line in lines)
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]).rstrip()
        for line in lines
    )


def _narrow(lines, most):
    """The same lines, and more for names of more than so many characters."""
    for name, *cells in lines:
        first, *more = _broken(name, most)
        yield [first, *cells]
        yield from ([f" {part}", *([""] * len(cells))] for part in more)


def _broken(name, most):
    """The parts of a name, each but the first with room for a blank before it."""
    room = most
    while len(name) > room:
        at = name.rfind("/", 0, room) + 1 or room
        yield name[:at]
        name, room = name[at:], most - 1
    yield name


def wrapped(text, width=WIDTH):
    """Text in lines of so many characters, broken between words."""
    return textwrap.fill(text, width, break_on_hyphens=False)
