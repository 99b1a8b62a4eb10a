"""The architecture's text: JSON, deflated after a dictionary of words that such texts are made of."""

import json
import zlib

from .errors import PackedFileError, malformed
from .words import WORDS

LEAST = 1 << 19  # bytes of text that any reader takes
PARSED = 32  # bytes of memory that a byte of text can take: "[],[],[]" does


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
    """What was deflated, if it takes at most `most` bytes of memory, or little."""
    most = max(int(most) // PARSED, LEAST)
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
