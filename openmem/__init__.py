"""openmem."""
