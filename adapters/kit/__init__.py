"""What a backend is built of."""
