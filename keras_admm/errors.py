"""What an error message of another library says, in one line that is never empty."""


def reason(error, limit=300):
    """The message of an error as part of a sentence.

    Args:
        error: an exception; where its message is empty, those that caused it are asked, its class at last.
        limit: the largest number of characters.

    Returns:
        A str of one line, never empty.

    Example:

    >>> reason(ValueError("no\\n  such axis"))
    'no such axis'
    >>> reason(RuntimeError())
    'RuntimeError without a message'
    """
    each, seen = error, set()
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        said = " ".join(str(each).split())
        if said.strip(" .:'\""):
            return said[:limit]
        each = each.__cause__ or each.__context__
    return f"{type(error).__name__} without a message"
