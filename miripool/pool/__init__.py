"""What one does with a pool: saving, tags, contexts, references, selecting, lineage, differences, export."""
