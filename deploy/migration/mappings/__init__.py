"""Mappings: what each monolith's table becomes."""
