"""The machine: files that may be a stranger's, locks on folders, threads, memory used again.

Nothing here knows of products or pools.
"""
