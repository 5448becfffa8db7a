"""The backends, a folder each, loaded by openmem.registry; kit is what they are built of. The core imports neither."""
