"""The process of progress tracking that learns courses' outlines from the catalog's events."""
