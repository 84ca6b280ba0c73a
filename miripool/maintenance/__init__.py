"""Looking after a pool: verify, repair, free what nothing refers to."""
