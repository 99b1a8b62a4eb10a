"""Bytes read from the front, never past their end; and the numbers of few bytes that both sides use."""

import numpy as np

from .errors import malformed


class Source:
    """A reader of bytes in order.

    Args:
        data: bytes.
    """

    def __init__(self, data):
        self._data = memoryview(data)
        self._at = 0

    @property
    def left(self):
        """How many bytes are still unread."""
        return len(self._data) - self._at

    def take(self, size):
        """The next `size` bytes, as a view."""
        if size > self.left:
            raise malformed(f"{self.left} bytes where {size} are announced")
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, most):
        """The next varint, which must not exceed `most`."""
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
            if shift > 63:
                raise malformed("a number of more than nine bytes")
        if value > most:
            raise malformed(f"the number {value} where at most {most} can be")
        return value

    def array(self, dtype, count):
        """The next `count` little-endian numbers, copied."""
        dtype = np.dtype(dtype).newbyteorder("<")
        return np.frombuffer(self.take(count * dtype.itemsize), dtype).astype(dtype.newbyteorder("="))


def number(value):
    """A whole number as a varint: seven bits a byte, the lowest first, the top bit set on all but the last."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def little(array):
    """An array's bytes, little-endian."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
