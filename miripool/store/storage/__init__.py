"""Where a pool's bytes are: one module for each kind of place."""
