"""Sky: positions, regions and footprints, and which part of the sky an exposure's header says it saw."""
