"""From pool to pool: copies, and packs in one file."""
