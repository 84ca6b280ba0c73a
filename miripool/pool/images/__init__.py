"""Pictures of a version: its frames, figures of them, two versions compared, and a small picture for notebooks."""
