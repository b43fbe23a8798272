"""Courses from Open edX: reads an OLX export and brings it in by the public authoring APIs."""
