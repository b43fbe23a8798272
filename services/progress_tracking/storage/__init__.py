"""Where progress is kept. Only this package knows tables, keys and rows."""
