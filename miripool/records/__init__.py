"""Records: what versions, tracks, lineages, events and pools look like as plain data, whatever shows them."""
