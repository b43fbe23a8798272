"""Events that are made once more, from the public API of whoever owns the data."""
