"""The message of another library's error, in one line that is never empty."""

import re

# Keras hands an error up with each config on the way before it, and the last config after it.
WRAPPED = re.compile(r".*Exception encountered: | ?Full object config: .*| identifier: \{.*")


def reason(error, limit=300):
    """The message of an error as part of a sentence.

    Args:
        error: an exception; where its message is empty, those that caused it are asked, its class at last.
        limit: the largest number of characters. Configs that Keras has put around the message are left out.

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
        said = cut(" ".join(str(each).split()))
        if said.strip(" .:'\""):
            return said[:limit]
        each = each.__cause__ or each.__context__
    return f"{type(error).__name__} without a message"


def cut(said):
    """A message in one line without the configs that Keras puts around it."""
    return WRAPPED.sub("", said).rstrip()


def named_few(items, most=3):
    """The first few of a list, as text, with how many more there are."""
    items = list(items)
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return "; ".join(items[:most]) + more
