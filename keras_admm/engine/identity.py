"""What identifies a run when it is resumed by another process: JSON of configs, and where two of them differ."""

import hashlib
import json
from collections.abc import Mapping

import numpy as np

LONG = 2000  # characters of JSON of one value, such as a mask, beyond which a hash stands for it


def described(thing):
    """What a constraint, a mapping, a callable or a number is, in JSON types, the same in every process.

    A callable is described by its qualified name alone, an object without a config by its class.
    """
    if thing is None or isinstance(thing, (bool, int, float, str)):
        return thing
    if isinstance(thing, np.ndarray):
        return _hashed(thing.tolist())
    if isinstance(thing, np.generic):
        return thing.item()
    if isinstance(thing, Mapping):
        return {str(key): described(value) for key, value in thing.items()}
    if isinstance(thing, tuple) and hasattr(thing, "_asdict"):
        return {"class": type(thing).__qualname__, **described(thing._asdict())}
    if isinstance(thing, (list, tuple)):
        return _hashed([described(each) for each in thing])
    return _of_object(thing)


def _of_object(thing):
    if hasattr(thing, "__qualname__"):
        return {"callable": thing.__qualname__}
    try:
        config = thing.get_config()
    except Exception:  # of a constraint of others': none, or one that is not written
        config = {}
    return {"class": type(thing).__qualname__, "config": described(config)}


def _hashed(value):
    text = json.dumps(value)
    return value if len(text) <= LONG else {"sha256": hashlib.sha256(text.encode()).hexdigest()}


def differences(now, then, path=""):
    """Sentences' parts that say where two descriptions differ, `rho: 0.5 for 0.1`."""
    if isinstance(now, dict) and isinstance(then, dict):
        for key in [*now, *(k for k in then if k not in now)]:
            yield from differences(now.get(key), then.get(key), f"{path}.{key}" if path else key)
    elif isinstance(now, list) and isinstance(then, list) and len(now) == len(then):
        for i, pair in enumerate(zip(now, then, strict=True)):
            yield from differences(*pair, f"{path}[{i}]")
    elif now != then:
        yield f"{path}: {json.dumps(now)} where the state has {json.dumps(then)}"


def named_few(items, most=3):
    """The first few of a list, as text, with how many more there are."""
    items = list(items)
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return "; ".join(items[:most]) + more
