"""The backends: one file each, loaded through openmem.registry. The core never imports from here."""
