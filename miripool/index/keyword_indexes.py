"""The indexes of `keyword`."""

from __future__ import annotations

__all__ = ["KEYWORD_INDEXES", "LONG_TEXT"]

LONG_TEXT = 500
"""Bytes beyond which a text has no place in an index: PostgreSQL's B-tree refuses rows above 2704 bytes."""

KEYWORD_INDEXES: tuple[str, ...] = (
    "CREATE INDEX keyword_number ON keyword (key, number, serial) WHERE first AND number IS NOT NULL",
    "CREATE INDEX keyword_text ON keyword (key, text, serial)"
    f" WHERE first AND time IS NULL AND octet_length(text) <= {LONG_TEXT}",
    "CREATE INDEX keyword_time ON keyword (key, time, serial) INCLUDE (text)"
    f" WHERE first AND time IS NOT NULL AND octet_length(text) <= {LONG_TEXT}",
    f"CREATE INDEX keyword_long ON keyword (key, serial) WHERE first AND octet_length(text) > {LONG_TEXT}",
    "CREATE INDEX keyword_other ON keyword (key, flag, serial) WHERE first AND number IS NULL AND text IS NULL",
    "CREATE INDEX keyword_later ON keyword (key, hdu_name, serial) WHERE NOT first",
)
"""Statements, names without a schema."""
