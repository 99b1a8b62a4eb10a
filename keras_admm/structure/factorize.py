"""`factorize`: layers with low-rank kernels become two smaller ones each, in a plain Keras model."""

import contextlib
import math
from typing import NamedTuple

import keras

from keras_admm import checks, graph, hints, layerwise, weights
from keras_admm.constraints import LowRank, least_rank, spectrum
from keras_admm.names import unused
from keras_admm.structure.candidates import Candidate, candidates
from keras_admm.structure.difference import difference
from keras_admm.structure.low_rank_target import LowRankTarget

DIGITS = {"float16": 11, "bfloat16": 8}
DEFAULT = "spatial"
ROUNDING = 8  # times what rounding to the dtype can add to a kernel's norm is still of its rank


class Part(NamedTuple):
    """One layer that comes apart.

    Attributes:
        candidate: its `Candidate`.
        rank: int.
        error: float, the share of the kernel's norm that the rank leaves out.
        lost: float, the share of what the layer gave, squared, that it does not give any more on samples; None where
            there are none.
    """

    candidate: Candidate
    rank: int
    error: float
    lost: float | None = None

    def __str__(self):
        each, whole, layer = self.candidate.each, self.candidate.whole, self.candidate.split.layer
        cut = f", which cuts off {self.error:.2g} of its norm" if self.error > 1e-6 else ""
        cut = cut if self.lost is None else f", with {self.lost:.2g} of what it gave lost"
        full = self.candidate.split.full_rank
        return f"{layer.name}: rank {self.rank} of {full}, {whole:,} to {self.rank * each:,} MACs{cut}"


def factorize(
    model: keras.Model,
    rank: int | None = None,
    *,
    energy: float | None = None,
    budget: hints.Budget | None = None,
    data: hints.Data | None = None,
    num_samples: int = 512,
    correction: float = 1.0,
    scheme: hints.Scheme | None = None,
    layers: hints.Weights = None,
    exclude: hints.Weights = None,
    verbose: int = 1,
) -> keras.Model:
    """A smaller, faster model: each layer with a low-rank kernel becomes two layers in a row.

    A `k x k` convolution becomes one to `rank` filters and one of `1 x 1`, or one of `k x 1` and one of `1 x k`; a
    Dense or EinsumDense layer two of its kind; a transposed convolution one of `1 x 1` and a transposed one. The first
    has neither bias nor activation, and `_basis` behind its name, the second the layer's own, and its name. That is
    done where it saves MACs. The result is a plain Keras model whose layers can be trained on, pruned, quantized, saved
    and exported.

    By default each kernel has the rank that it has, as `keras_admm.ADMMLowRank` and `keras_admm.TRP` leave it, and the
    outputs are the same within `1e-4 * max(1, largest |output|)`, which is tried on random inputs. With `rank`,
    `energy` or `budget` the kernels are cut to that first, without any training: by one truncated SVD, or with `data`
    so that layers give most nearly what they gave, `argmin_W ||X W - X0 W0||^2` over kernels `W` of the rank, `X` what
    comes in to a layer of the smaller model on these samples, `X0` of the model as it is: in the scheme `"channel"` by
    the principal components of what layers give, in `"spatial"` by alternating least squares for the two factors; and
    the squares of what layers give, not of kernels, say which ranks `energy` and `budget` come to. With half of its
    MACs a ResNet-20 classifies 84.8% at once, where truncated SVD leaves 53.1%; in the scheme `"channel"` 80.4% and
    12.7%. Six epochs of training level the two: 86.0% (`examples/benchmarks/structured.py`).

    Args:
        model: a built Sequential or Functional model of Keras 3. It stays as it is.
        rank, energy, budget: see `keras_admm.ADMMLowRank`; None for the ranks that the kernels have.
        data: samples of the inputs, without labels, as in `keras_admm.prune_layerwise`. Kernels that it can do nothing
            for (of transposed convolutions) are cut by SVD, which is said.
        num_samples: int, how many of them are taken.
        correction: float in [0, 1], which share of what the layers in front of a layer have lost it makes up for. 1
            is best where nothing is trained any more. With 0 each layer is seen by itself, with what comes in to it in
            the model as it is: less accurate at once (82.9% in the place of 84.8%), and cheaper.
        scheme: `"spatial"`: a `k x k` convolution becomes one of `k x 1` and one of `1 x k`; `"channel"`: one to `rank`
            filters and one of `1 x 1`. None is that of the two which costs least for kernels of the ranks that they
            have, and `"spatial"`, which loses less, with `rank`, `energy` or `budget`.
        layers: which layers, as in `keras_admm.ADMMPrune`. Frozen ones are factorized too, and stay frozen.
        exclude: which to leave out, same forms as `layers`.
        verbose: 1 prints each layer's rank, MACs and what its rank cuts off, and why others stay as they are; 0
            nothing.

    Returns:
        A new model, which is not compiled.

    Raises:
        ValueError, TypeError: for a model that is not built, is subclassed or of tf_keras; for arguments that are out
            of range; where the outputs differ though nothing was cut off, with each layer's error.

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(6, name="dense")])
    >>> model.set_weights([np.outer(np.arange(8), np.ones(6)), np.zeros(6)])
    >>> small = factorize(model, verbose=0)
    >>> [(layer.name, tuple(layer.kernel.shape)) for layer in small.layers]
    [('dense_basis', (8, 1)), ('dense', (1, 6))]

    Reference: Xu et al., "TRP: Trained Rank Pruning for Efficient Deep Neural Networks", arXiv:2004.14566.
    """
    weights.check_keras_3("factorize", model, "Build it with Keras 3.")
    checks.integer("factorize", "num_samples", num_samples)
    checks.integer("factorize", "verbose", verbose, 0, 1, "Pass 0 to print nothing.")
    checks.choice("factorize", "scheme", scheme, (None, "channel", "spatial"))
    graph.calls.of(model, "its layers can be replaced")  # or a sentence that says why not
    chosen = weights.choose(model, layers, exclude, training=False)
    how = None if rank is energy is budget is None else {"rank": rank, "energy": energy, "budget": budget}
    _check_data(how, data)
    correction = layerwise.check_correction("factorize", correction)
    needed = data is not None and (rank is None or not correction)
    given = _given(model, chosen, data, num_samples, scheme) if needed else {}
    parts, refused = _parts(model, chosen, how, scheme, given)
    with _fitted(model, chosen, parts, data, given, num_samples, correction) as (fitted, notes):
        small = _rebuilt(model, {id(part.candidate.split.layer): part for part in parts.values()})
    _say(model, small, fitted, refused, notes, verbose)
    return small


def _check_data(how, data):
    if data is not None and how is None:
        must = "given beside `rank`, `energy` or `budget`, to which kernels are cut"
        raise ValueError(f"factorize: `data` must be {must}. Received: none of them. Add one, or leave data out.")


def _given(model, chosen, data, num_samples, scheme):
    """What the layers that come apart give, of each by the scheme that it comes apart in."""
    schemes = {name: each.split.scheme for name, each in candidates(model, chosen, scheme or DEFAULT)[0].items()}
    return layerwise.given("factorize", model, data, chosen, schemes, num_samples)


@contextlib.contextmanager
def _fitted(model, chosen, parts, data, given, num_samples, correction):
    """Within it the kernels that come apart are of their ranks, by what layers give on the data where there is some.

    Gives:
        The parts with what they lose, and `{name: reason}` of those that the data can do nothing for.
    """
    if data is None or not parts:
        yield parts, {}
        return
    sets = {name: LowRank(part.rank, scheme=part.candidate.split.scheme) for name, part in parts.items()}
    with layerwise.of_rank("factorize", model, data, chosen, sets, given, num_samples, correction) as report:
        lost = {row.name: row.error for row in report.rows}
        yield {name: part._replace(lost=lost.get(name)) for name, part in parts.items()}, report.skipped


def _parts(model, chosen, how, scheme, given):
    """What comes apart, `{name: Part}`, and why the rest does not, `{name: reason}`."""
    arrays = weights.views(chosen)
    if how is None:
        found, refused = _of_own_rank(model, chosen, arrays, ("channel", "spatial") if scheme is None else (scheme,))
    else:
        found, refused = _cut(model, chosen, arrays, how, scheme or DEFAULT, given)
    for name in [name for name, part in found.items() if not part.candidate.saves(part.rank)]:
        part = found.pop(name)
        refused[name] = f"rank {part.rank} of {part.candidate.split.full_rank} saves no MACs"
    return found, refused


def _of_own_rank(model, chosen, arrays, schemes):
    found = {}
    for scheme in schemes:
        those, refused = candidates(model, chosen, scheme)
        for name, candidate in those.items():
            part = _part(candidate, arrays[name], _own_rank(candidate, arrays[name]))
            best = found.setdefault(name, part)
            if part.rank * part.candidate.each < best.rank * best.candidate.each:
                found[name] = part
    return found, refused


def _cut(model, chosen, arrays, how, scheme, given):
    """To the ranks that a target has, by what layers give where that is known, else by the kernels themselves."""
    those, refused = candidates(model, chosen, scheme)
    taken = {name: chosen[name] for name in those}
    squares = {name: given[name].squares if name in given else spectrum(arrays[name], scheme) for name in taken}
    sets = LowRankTarget(**how, scheme=scheme, name="factorize").of(model, taken).of_spectra(squares, 1.0)
    return {name: _part(those[name], arrays[name], each.rank) for name, each in sets.items()}, refused


def _part(candidate, array, rank):
    squares = spectrum(array, candidate.split.scheme)
    return Part(candidate, rank, math.sqrt(squares[rank:].sum() / (squares.sum() or 1.0)))


def _own_rank(candidate, array):
    """The rank of a kernel but for the rounding to its dtype; 1 of one that is all zeros."""
    dtype = keras.backend.standardize_dtype(candidate.split.layer.kernel.dtype)
    rounding = ROUNDING * 2.0 ** -DIGITS.get(dtype, 24)
    return max(1, least_rank(spectrum(array, candidate.split.scheme), 1 - rounding**2))


def _rebuilt(model, parts):
    """The model with two layers in the place of each one that comes apart."""
    seconds, taken = {}, {layer.name for layer in graph.every_layer(model)}

    def layer_for(layer, again):
        if id(layer) not in parts:
            return again()
        part = parts[id(layer)]
        split, kernel = part.candidate.split, weights.read(layer.kernel)
        name = unused(f"{layer.name}_basis", taken)
        taken.add(name)
        first, second = split.first(part.rank, name), split.second(part.rank)
        kernels = split.factors(kernel, part.rank)
        bias = [weights.read(v) for v in layer.variables if v is not layer.kernel]
        seconds[id(layer)] = second, [kernels[1], *bias]
        return graph.Replacement(first, [kernels[0]])

    def call(layer, new, *args, **kwargs):
        outputs = new(*args, **kwargs)
        return seconds[id(layer)][0](outputs) if id(layer) in seconds else outputs

    small = graph.rebuild(model, layer_for, call=call, otherwise="name other layers with layers=")
    for second, arrays in seconds.values():
        for variable, array in zip(second.variables, arrays, strict=True):
            weights.write(variable, array)
    return _sequential(model, small)


def _sequential(model, small):
    """A Sequential model in the place of one, which `rebuild` has made a Functional one."""
    if not isinstance(model, keras.Sequential):
        return small
    return keras.Sequential(small.layers, name=model.name, trainable=model.trainable)


def _say(model, small, parts, refused, notes, verbose):
    exact = all(part.error <= 1e-6 for part in parts.values())
    differs, allowed = difference(model, small)
    lines = [f"  {part}" for part in parts.values()]
    if exact and not differs <= allowed:
        raise ValueError(
            f"factorize: the outputs must be the same within {allowed:.0e} of their largest. Received: a difference of "
            f"{differs:.1e} with {'; '.join(map(str, parts.values())) or 'no layer in two'}. Leave layers out with "
            "exclude=, and please report this model."
        )
    if verbose:
        whole = sum(part.candidate.whole for part in parts.values())
        left = sum(part.rank * part.candidate.each for part in parts.values())
        print(
            f"factorize: {len(parts)} of {len(parts) + len(refused)} layers in two, {whole:,} to {left:,} of their "
            f"MACs; outputs differ by {differs:.2g} of the largest at most"
        )
        lines += [f"  {name} by its weights alone: {reason}" for name, reason in notes.items()]
        lines += [f"  {name} stays: {reason}" for name, reason in refused.items()]
        print("\n".join(lines)) if lines else None
