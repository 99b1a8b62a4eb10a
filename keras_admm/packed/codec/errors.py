"""`PackedFileError`, the one error that a packed file can cause."""


class PackedFileError(ValueError):
    """A packed file is damaged, cut off, foreign, or asks for more than its reader allows."""


def malformed(what):
    """The sentence for a file that is not as format.md describes it."""
    return PackedFileError(
        f"packed file: it must be whole, as it was written. Received: {what}. Fetch or save the file again."
    )
