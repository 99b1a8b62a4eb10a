"""The report of a written .tflite file: its tensors, zeros and bytes, and how far its outputs are from the model's."""

from typing import NamedTuple

from keras_admm.export.tflite.flatbuffer import Tensor
from keras_admm.export.tflite.kernels import Kernel
from keras_admm.tables import aligned


class LiteRTReport(NamedTuple):
    """What `litert` wrote; printing it gives aligned tables.

    Attributes:
        path: of the file.
        quantize: the scheme: `"float32"`, `"learned"`, or the argument as it was given.
        bytes: of the file.
        gzip_bytes: of the file compressed by gzip at its highest level.
        difference: the largest absolute difference between an output of the file and the model's.
        scale: the largest absolute output of the model on the same data.
        relative: `difference` over the scale, the largest over the outputs.
        tolerance: what `relative` was allowed to be.
        samples: on how many samples.
        sizes: bytes of the forms that were tried, `"dense"` and `"sparse"`.
        sparse: a sentence: whether the zeros are left out of the file, and why.
        tensors: a `Tensor` for each stored tensor.
        kernels: a `Kernel` for each operation with weights.
        note: what was done to the model to convert it, in a sentence, or nothing.
    """

    path: str
    quantize: str
    bytes: int
    gzip_bytes: int
    difference: float
    scale: float
    relative: float
    tolerance: float
    samples: int
    sizes: dict
    sparse: str
    tensors: tuple
    kernels: tuple
    note: str = ""

    @property
    def weights(self):
        """The tensors of rank 2 and more in the operations with weights, which is what is compressed."""
        named = {k.weights for k in self.kernels}
        return tuple(t for t in self.tensors if t.name in named)

    def to_dict(self):
        """All of it in dicts, lists, numbers and strings, for JSON."""
        plain = {**self._asdict(), "sizes": dict(self.sizes)}
        return {**plain, "tensors": [_plain(t) for t in self.tensors], "kernels": [_plain(k) for k in self.kernels]}

    @classmethod
    def from_dict(cls, plain):
        """The report that `to_dict` gave."""
        rows = {"tensors": Tensor, "kernels": Kernel}
        made = {
            key: tuple(kind(**{**row, "shape": tuple(row["shape"])}) for row in plain[key])
            for key, kind in rows.items()
        }
        return cls(**{**plain, **made})

    def __str__(self):
        return "\n\n".join([self._file(), aligned(self._stored()), self._runs()])

    def _file(self):
        lines = [
            f"{self.path}: {self.quantize}, {self.bytes:,} bytes, {self.gzip_bytes:,} by gzip",
            f"outputs on {self.samples} samples: at most {self.difference:.3g} from the model's, whose largest is "
            f"{self.scale:.3g} (relative {self.relative:.2g}, tolerance {self.tolerance:g})",
            f"zeros: {self.sparse}",
        ]
        return "\n".join([*lines, *([self.note] if self.note else [])])

    def _stored(self):
        yield "tensor", "operation", "shape", "type", "zeros", "share", "distinct", "per channel", "bytes"
        for t in self.tensors:
            share = f"{t.zeros / t.size:.4f}" if t.size else "-"
            counts = (f"{t.zeros:,}", share, f"{t.distinct:,}", f"{t.distinct_per_channel:,}", f"{t.bytes:,}")
            yield _short(t.name), t.op, "x".join(map(str, t.shape)), t.type, *counts

    def _runs(self):
        reasons = list(dict.fromkeys(why for k in self.kernels for why in (k.why_here, k.why_arm)))
        cells = [("sparse kernel for", "operation", "zeros", "here", "ARM")]
        for k in self.kernels:
            verdicts = [
                f"{'yes' if runs else 'no'} [{reasons.index(why) + 1}]"
                for runs, why in ((k.here, k.why_here), (k.arm, k.why_arm))
            ]
            cells.append((_short(k.weights), k.op, f"{k.sparsity:.4f}", *verdicts))
        return "\n".join([aligned(cells), *(f"[{i}] {why}" for i, why in enumerate(reasons, 1))])


def _plain(row):
    return {**row._asdict(), "shape": list(row.shape)}


def _short(name, width=40):
    name = name.split(";")[0]
    return name if len(name) <= width else "..." + name[3 - width :]
