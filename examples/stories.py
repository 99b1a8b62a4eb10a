"""A language model of 260,000 parameters that tells stories, as a Keras model: its weights, its tokenizer, its text.

The weights are Andrej Karpathy's (`stories260K.bin`, `tok512.bin` of tinyllamas, in the layout of llama2.c), the text
is of the validation set of TinyStories (Eldan and Li, arXiv:2305.07759): `tinystories_valid_excerpt.txt`. The network
is a small Llama: RMS norm, rotary positions, grouped-query attention, SwiGLU, embeddings that are read both ways.
"""

import struct
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from keras import layers, ops

EPSILON = 1e-5
PIECE = 400  # characters that are tokenized at once, each such piece a text of its own


class Sizes(NamedTuple):
    """The head of a file of weights."""

    dim: int
    hidden: int
    blocks: int
    heads: int
    key_value_heads: int
    vocabulary: int
    length: int


class RotaryAttention(layers.Layer):
    """Causal attention of queries, keys and values that are made already, each turned by its position.

    Args:
        heads, key_value_heads: ints; as many queries' heads share each head of keys and values.
    """

    def __init__(self, heads, key_value_heads, **kwargs):
        super().__init__(**kwargs)
        self.heads, self.key_value_heads = heads, key_value_heads

    def call(self, query, key, value):
        query, key = (turned(self._split(x, n)) for x, n in ((query, self.heads), (key, self.key_value_heads)))
        shared = self.heads // self.key_value_heads
        key, value = (ops.repeat(x, shared, axis=2) for x in (key, self._split(value, self.key_value_heads)))
        mixed = ops.dot_product_attention(query, key, value, is_causal=True)
        return ops.reshape(mixed, (-1, mixed.shape[1], self.heads * mixed.shape[3]))

    @staticmethod
    def _split(x, heads):
        return ops.reshape(x, (-1, x.shape[1], heads, x.shape[2] // heads))

    def get_config(self):
        return {**super().get_config(), "heads": self.heads, "key_value_heads": self.key_value_heads}


def turned(x):
    """Pairs of numbers `(batch, position, head, 2 * pairs)` turned by angles that grow with the position."""
    length, size = x.shape[1], x.shape[3]
    angles = np.arange(length)[:, None] / 10000 ** (np.arange(0, size, 2) / size)
    cosine, sine = (f(angles)[None, :, None].astype("float32") for f in (np.cos, np.sin))
    even, odd = x[..., 0::2], x[..., 1::2]
    both = ops.stack([even * cosine - odd * sine, even * sine + odd * cosine], axis=-1)
    return ops.reshape(both, (-1, length, x.shape[2], size))


def network(sizes, length):
    """The network for texts of so many tokens; it gives the logits of each next one."""

    def dense(name, units, activation=None):
        return layers.Dense(units, activation, use_bias=False, name=name)

    def norm(name):
        return layers.RMSNormalization(epsilon=EPSILON, name=name)

    tokens = keras.Input((length,), dtype="int32")
    embedding = layers.ReversibleEmbedding(sizes.vocabulary, sizes.dim, name="embedding")
    narrow = sizes.dim // sizes.heads * sizes.key_value_heads
    x = embedding(tokens)
    for i in range(sizes.blocks):
        y = norm(f"block{i}_attention_norm")(x)
        read = [dense(f"block{i}_{name}", n)(y) for name, n in (("q", sizes.dim), ("k", narrow), ("v", narrow))]
        y = RotaryAttention(sizes.heads, sizes.key_value_heads, name=f"block{i}_attention")(*read)
        x = layers.Add()([x, dense(f"block{i}_o", sizes.dim)(y)])
        y = norm(f"block{i}_feedforward_norm")(x)
        y = [dense(f"block{i}_gate", sizes.hidden, "silu")(y), dense(f"block{i}_up", sizes.hidden)(y)]
        x = layers.Add()([x, dense(f"block{i}_down", sizes.dim)(layers.Multiply()(y))])
    return keras.Model(tokens, embedding(norm("norm")(x), reverse=True), name="stories")


def read(folder):
    """The `Sizes` and the weights of the file, a dict of arrays of blocks, kernels as Keras has them."""
    content = (Path(folder) / "stories260K.bin").read_bytes()
    head = struct.unpack("7i", content[:28])
    sizes = Sizes(*head[:5], abs(head[5]), head[6])
    n, dim, narrow = sizes.blocks, sizes.dim, sizes.dim // sizes.heads * sizes.key_value_heads
    shapes = {"embedding": (sizes.vocabulary, dim), "attention_norm": (n, dim), "q": (n, dim, dim)}
    shapes |= {"k": (n, narrow, dim), "v": (n, narrow, dim), "o": (n, dim, dim), "feedforward_norm": (n, dim)}
    shapes |= {"gate": (n, sizes.hidden, dim), "down": (n, dim, sizes.hidden), "up": (n, sizes.hidden, dim)}
    shapes["norm"] = (dim,)
    found, place = {}, 28
    for name, shape in shapes.items():
        array = np.frombuffer(content, "<f4", count=int(np.prod(shape)), offset=place).reshape(shape)
        found[name] = array.transpose(0, 2, 1) if array.ndim == 3 else array
        place += 4 * array.size
    return sizes, found


def given(folder, length):
    """The network with the weights that are in the folder."""
    sizes, arrays = read(folder)
    model = network(sizes, length)
    for layer in (layer for layer in model.layers if layer.weights):
        block, _, name = layer.name.rpartition("_") if layer.name.startswith("block") else ("", "", layer.name)
        if layer.name.endswith("_norm"):
            block, name = layer.name.split("_", 1)
        array = arrays[name]
        layer.set_weights([array[int(block.removeprefix("block"))] if block else array])
    return model


def logits_in_numpy(folder, tokens):
    """What the network gives, worked out from the file without Keras."""
    sizes, arrays = read(folder)
    x = arrays["embedding"][tokens]
    for i in range(sizes.blocks):
        w = {name: array[i] for name, array in arrays.items()}
        y = _normed(x, w["attention_norm"])
        x = x + _attention(y @ w["q"], y @ w["k"], y @ w["v"], sizes) @ w["o"]
        y = _normed(x, w["feedforward_norm"])
        gate = y @ w["gate"]
        x = x + (gate / (1 + np.exp(-gate)) * (y @ w["up"])) @ w["down"]
    return _normed(x, arrays["norm"]) @ arrays["embedding"].T


def _normed(x, scale):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + EPSILON) * scale


def _attention(query, key, value, sizes):
    count, length, dim = query.shape
    size, mixed = dim // sizes.heads, []
    angles = np.arange(length)[:, None] / 10000 ** (np.arange(0, size, 2) / size)
    turn = np.exp(1j * angles)
    for head in range(sizes.heads):
        other = head * sizes.key_value_heads // sizes.heads
        q = (query[..., head * size : (head + 1) * size].reshape(count, length, -1, 2) @ [1, 1j]) * turn
        k = (key[..., other * size : (other + 1) * size].reshape(count, length, -1, 2) @ [1, 1j]) * turn
        scores = np.real(q @ k.conj().transpose(0, 2, 1)) / np.sqrt(size)
        scores = np.where(np.tril(np.ones((length, length), bool)), scores, -np.inf)
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        mixed.append(shares @ value[..., other * size : (other + 1) * size])
    return np.concatenate(mixed, axis=-1)


def windows(folder, length):
    """The text in tokens, `(windows, length)`; each piece of it begins with the token that a story begins with."""
    words, scores = vocabulary(folder)
    text = (Path(folder) / "tinystories_valid_excerpt.txt").read_text()
    pieces = (text[start : start + PIECE] for start in range(0, len(text), PIECE))
    tokens = [token for piece in pieces for token in [1, *encoded(piece, words, scores)]]
    count = len(tokens) // length
    return np.array(tokens[: count * length], "int32").reshape(count, length)


def vocabulary(folder):
    """The bytes of each token, and the scores by which pairs of them are joined."""
    content = (Path(folder) / "tok512.bin").read_bytes()
    words, scores, place = [], [], 4
    while place < len(content):
        score, size = struct.unpack("<fi", content[place : place + 8])
        words.append(content[place + 8 : place + 8 + size])
        scores.append(score)
        place += 8 + size
    return words, scores


def encoded(text, words, scores):
    """The tokens of a text: of its characters, then the pair with the best score becomes one until none is left."""
    numbers = {word: i for i, word in reversed(list(enumerate(words)))}
    tokens = []
    for character in f" {text}":
        known = numbers.get(character.encode())
        tokens += [byte + 3 for byte in character.encode()] if known is None else [known]
    while True:
        pairs = zip(tokens, tokens[1:], strict=False)
        joined = (numbers.get(words[a] + words[b]) for a, b in pairs)
        found = [(scores[new], -i, new) for i, new in enumerate(joined) if new is not None]
        if not found:
            return tokens
        _, place, new = max(found)
        tokens[-place : 2 - place] = [new]
