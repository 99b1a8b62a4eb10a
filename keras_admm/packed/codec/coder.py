"""Bits in and out of one range-coded stream, each by a probability that both sides learn.

Whoever uses a coder says the same to both: `bit(model, bit)` writes `bit` where the coder encodes, ignores it where
the coder decodes, and gives the bit back. So that what is written and how it is read is one text.
"""

import math
from collections import Counter

import constriction
import numpy as np

from .errors import malformed
from .probability import BitModel

BUDGET = 1 << 21  # steps in a file: what keeps a hostile one from taking minutes
MODELS = {}
COST = [0.0] + [-math.log2(k / 65536) for k in range(1, 65536)]


def _model(k):
    """A bit that is 1 with probability k / 65536, which constriction's 24 bits hold exactly."""
    if k not in MODELS:
        MODELS[k] = constriction.stream.model.Bernoulli(k / 65536, perfect=True)
    return MODELS[k]


class Coder:
    """What encoder and decoder share; abstract.

    Attributes:
        spent: bits, by what they were spent on: "data", "index" or "side".
        label: what is being coded now.
    """

    def __init__(self):
        self.spent = Counter()
        self.label = "side"
        self._models = {}
        self._left = BUDGET

    def afford(self, steps):
        """Refuses what will take more steps than are left, before anything is made for it."""
        if steps > self._left:
            raise malformed(f"more than {BUDGET} steps")

    def context(self, *key):
        """The model of a context, made when first met."""
        if key not in self._models:
            self._models[key] = BitModel()
        return self._models[key]

    def bit(self, model, bit=None):
        """One bit, by one model."""
        bit = self._code(model.p, bit)
        model.learn(bit)
        return bit

    def mixed(self, mixer, models, bit=None):
        """One bit, by several models."""
        bit = self._code(mixer.predict(models), bit)
        mixer.learn(bit)
        for model in models:
            model.learn(bit)
        return bit

    def tree(self, key, width, value=None):
        """A number of `width` bits, the highest first, each bit by the model of those before it."""
        node = 1
        for place in range(width - 1, -1, -1):
            node = 2 * node + self.bit(self.context(key, node), None if value is None else value >> place & 1)
        return node - (1 << width)

    def count(self, key, most, value=None):
        """A number from 0 to `most`, small ones shorter: its length, then its bits."""
        lengths = most.bit_length().bit_length()
        length = self.tree((key, "length"), lengths, None if value is None else value.bit_length())
        if length > most.bit_length():
            raise malformed("a count beyond what there is")
        if length < 2:
            return length
        rest = length - 1
        value = (1 << rest) + self.plain(rest, None if value is None else value - (1 << rest))
        if value > most:
            raise malformed("a count beyond what there is")
        return value

    def plain(self, width, value=None):
        """A number of `width` bits, all values alike."""
        numbers = None if value is None else np.array([value], np.uint64)
        return int(self.words(1, width, numbers)[0])

    def words(self, count, width, numbers=None):
        """`count` numbers of `width` bits, all values alike, as uint64: sixteen bits of each, then the next."""
        self.afford(count * -(-width // 16))
        out = np.zeros(count, np.uint64)
        for low in range(0, width, 16):
            bits = min(16, width - low)
            part = None
            if numbers is not None:
                part = (numbers >> np.uint64(low) & np.uint64((1 << bits) - 1)).astype(np.int32)
            self._spend(count, count * bits)
            out |= self._uniform(count, bits, part).astype(np.uint64) << np.uint64(low)
        return out

    def _code(self, p, bit):
        k = min(max(p >> 6, 1), 65535)
        bit = self._step(k, bit)
        self._spend(1, COST[k] if bit else COST[65536 - k])
        return bit

    def _spend(self, steps, bits):
        self.afford(steps)
        self._left -= steps
        self.spent[self.label] += bits


class Encoder(Coder):
    """Writes."""

    def __init__(self):
        super().__init__()
        self._stream = constriction.stream.queue.RangeEncoder()

    def bytes(self):
        """All that was written: of the byte strings that decode to it, the shortest, less the zeros at its end."""
        settled, (low, width) = self._stream.pos()
        words = self._stream.get_compressed().astype(">u4").tobytes()
        size = 4 * (settled + 2)
        sealed = int.from_bytes(words.ljust(size, b"\0"), "big")
        least = sealed - ((sealed - low) & (1 << 64) - 1)
        # Of all numbers from `least` on, `width` of them, the one with most zero bytes at its end.
        for zeros in range(64, -1, -8):
            rounded = -(-least >> zeros) << zeros
            if rounded < least + width:
                break
        return rounded.to_bytes(size, "big").rstrip(b"\0")

    def _step(self, k, bit):
        self._stream.encode(int(bit), _model(k))
        return int(bit)

    def _uniform(self, count, bits, part):
        self._stream.encode(part, constriction.stream.model.Uniform(1 << bits))
        return part


class Decoder(Coder):
    """Reads.

    Args:
        data: bytes that an `Encoder` wrote.
    """

    def __init__(self, data):
        super().__init__()
        padded = bytes(data) + bytes(8 + -len(data) % 4)
        self._stream = constriction.stream.queue.RangeDecoder(np.frombuffer(padded, ">u4").astype(np.uint32))

    def _step(self, k, bit):
        try:
            return int(self._stream.decode(_model(k)))
        except AssertionError as error:
            raise malformed("a stream that ends in impossible bits") from error

    def _uniform(self, count, bits, part):
        try:
            return self._stream.decode(constriction.stream.model.Uniform(1 << bits), count)
        except AssertionError as error:
            raise malformed("a stream that ends in impossible bits") from error
