"""miripool."""
