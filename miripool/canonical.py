"""Canonical JSON and digests of bytes: one content, one text, one name."""

from __future__ import annotations

import json
from typing import Any

import xxhash

__all__ = ["canonical_json", "digest_bytes"]


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
