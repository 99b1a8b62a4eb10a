"""Which cases of a table run in the gate, and which only when all are asked for."""

import itertools

import keras
import pytest

HERE = keras.backend.backend() == "tensorflow"
# For `compile`, where the law is not about compiled steps: TensorFlow takes longer to trace one than to do the few
# steps of a test without.
EAGERLY = {"run_eagerly": HERE}


def rows(gate, *tables):
    """All combinations of the tables' keys as parameters; those that `gate` says no to are marked `nightly`."""
    return [
        pytest.param(*row, id="-".join(map(name, row)), marks=() if gate(*row) else pytest.mark.nightly)
        for row in itertools.product(*tables)
    ]


def name(key):
    return "-".join(map(str, key)) if isinstance(key, tuple) else str(key)


def some(table, *elsewhere):
    """All keys of a table on the TensorFlow backend; on the others those named, and the rest of them nightly."""
    return rows(lambda key: HERE or key in elsewhere, table)
