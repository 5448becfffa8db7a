"""What the words of the protocol mean: pure functions over requests and records, without I/O."""
