"""``python -m miripool``: the command line."""

from .cli import main

main()
