"""What a backend is built of: base classes, rules of change, exact search, audit entries, folders, HTTP."""
