"""The indexes of `keyword`, and why they are these.

Five partial indexes share the rows that a bare name means (``first``), each row in one of them: numbers, short texts
that are no times, times, long texts, and the rest (truth values and undefined values). All end in `serial`, so that a
set of serials is read from the index alone. A text may be longer than what a B-tree holds: HISTORY is one row. A key
qualified by an HDU is found through them where it is also what the bare name means, else through ``keyword_later``.
One product's value of one keyword is a step down the primary key (serial, key, hdu, occurrence).

Measured on two cores, PostgreSQL 18, warm, as a client sees it, with 100,000 products: 10,000 of 200 keywords and
90,000 of 10, 2.9 million rows. Three conditions on keywords, leaving 1 %, 50 % and 20 %, 105 products together:

==================================================================  ===========  ==================
form, as SQL text                                                   text drives  range drives
==================================================================  ===========  ==================
``serial IN (SELECT …)`` for each, left to the planner              6 ms         128 to 156 ms
``EXISTS`` for two of them                                          6 ms         61 to 80 ms
``= ANY (ARRAY (SELECT … INTERSECT SELECT …))``                     8 ms         11 to 21 ms
scalar subqueries on what the most selective one leaves             3 ms         3 ms
==================================================================  ===========  ==================

With what SQLAlchemy takes to write the statement, and the counting that finds the most selective one, a select takes
10 to 16 ms, and 8 to 13 ms without counting; three conditions that all leave 20 to 50 % take 30 to 40 ms for some
thousand products. With 500,000 versions, four fifths of them no heads (4.9 million rows): 33 to 40 ms, and 40 to
74 ms without counting. Condition on one keyword that leaves 100 of 100,000: 2 to 3 ms.

Sizes at 2.9 million rows: the table 210 MB, primary key 95 MB, numbers 52 MB, texts 57 MB, later 8 MB, others below
1 MB; made in 2.7 s. ``CREATE STATISTICS`` on (key, number) was left out: nothing is left to estimates any more (see
`miripool.index.compile`).
"""

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
