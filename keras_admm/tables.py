"""Tables as aligned text."""


def aligned(lines):
    """Lines of cells as text in columns: the first to the left, numbers to the right.

    Args:
        lines: iterable of sequences of strings, as many in each.

    Example:

    >>> print(aligned([["layer", "kept"], ["conv", "1,000"]]))
    layer   kept
    conv   1,000
    """
    lines = list(lines)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    )
