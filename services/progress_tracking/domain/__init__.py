"""Progress tracking's rules: merging, outlines, what a learner's standing is.

Imports itself and the standard library only. It knows no HTTP, no JSON and no table.
"""
