"""The architecture's text: JSON, deflated after a dictionary of words that such texts are made of."""

import json
import zlib

from .errors import PackedFileError, malformed
from .words import WORDS

MOST = 1 << 28


def deflate(thing):
    """JSON of anything, compressed."""
    text = json.dumps(thing, separators=(",", ":"), ensure_ascii=False).encode()
    best = None
    for strategy in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FIXED):
        compressor = zlib.compressobj(9, zlib.DEFLATED, -15, 9, strategy, WORDS)
        packed = compressor.compress(text) + compressor.flush()
        best = packed if best is None or len(packed) < len(best) else best
    return best


def inflate(data, most):
    """What was deflated, of at most `most` bytes of text."""
    most = min(most, MOST)
    decompressor = zlib.decompressobj(-15, WORDS)
    try:
        text = decompressor.decompress(data, most + 1)
    except zlib.error as error:
        raise malformed(f"an architecture that cannot be inflated ({error})") from error
    if len(text) > most:
        raise PackedFileError(
            f"packed file: its architecture must be of at most {most} bytes. Received: a longer one. "
            "Raise max_bytes if you trust the file."
        )
    if not decompressor.eof or decompressor.unused_data:
        raise malformed("an architecture that is cut off, or has something behind it")
    return _parsed(text)


def _parsed(text):
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise malformed(f"an architecture that is no JSON ({type(error).__name__})") from error
