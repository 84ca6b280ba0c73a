"""Canonical JSON and digests of bytes: one content, one text, one name."""

from __future__ import annotations

import json
import math
from typing import Any

import xxhash

__all__ = ["canonical_json", "digest_bytes", "json_value"]


def canonical_json(content: Any) -> bytes:
    """Write JSON in the one form that is hashed: keys sorted, no blanks, UTF-8, no NaN.

    Parameters
    ----------
    content : JSON-able object
        Dictionaries with text keys, lists, text, numbers, booleans, None.

    Returns
    -------
    bytes
        The text.

    Raises
    ------
    ValueError
        For NaN and infinities, which JSON does not have.
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "surrogatepass")


def json_value(value: Any) -> Any:
    """Give a scalar as valid JSON can hold it; null is left to what is missing.

    Parameters
    ----------
    value : object
        A number, text, truth value or None.

    Returns
    -------
    object
        ``"NaN"``, ``"inf"`` or ``"-inf"`` for such floats, text for complex numbers; the value itself otherwise.
    """
    if isinstance(value, complex):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else str(value)
    return value


def digest_bytes(data: bytes | bytearray | memoryview) -> str:
    """Digest some bytes. It detects accidents, not tampering.

    Parameters
    ----------
    data : bytes-like
        What to digest.

    Returns
    -------
    str
        xxh3_128, 32 hexadecimal digits.
    """
    return xxhash.xxh3_128_hexdigest(data)
